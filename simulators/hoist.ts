import { approach, type Group, type Put, type Scene, type Unit } from './machinery.ts'

export interface HoistDamage {
  /** Bearings and gears, 0 to 1. */
  bearing(): number
  brake(): number
}

/** Winch, gearbox and brake of any crane, with the wind around it and the counters of its work. */
export function hoist(unit: Unit, damaged: HoistDamage, hours: { startHours: number; pace: number }) {
  const { build, noise } = unit
  const vibrationFactor = build.factor(0.07)
  const frictionK = build.between(20, 26)
  const driftMm = build.between(0.6, 1.2)
  const breeze = build.between(2.5, 4.5)
  const gustPhase = build.between(0, 6)

  let gearC = unit.warm ? 42 : 24
  let hoistHours = hours.startHours
  let liftCycles = Math.round(hours.startHours * hours.pace)
  let was = 'off'
  let heldDue = false
  /** Load on the hook when vibration was last measured: in bursts, while hoisting. */
  let burst = unit.warm ? 0.5 : undefined

  const lifting = (scene: Scene) => scene.activity.kind === 'lifting'

  function step(seconds: number, scene: Scene, working: boolean) {
    const { kind, effort } = scene.activity
    // Friction in worn bearings turns more of the power into heat.
    const duty = lifting(scene) ? 0.9 + 0.7 * effort : working ? 0.35 : 0
    const rise = duty * frictionK * (1 + 0.7 * damaged.bearing())
    gearC = approach(gearC, scene.ambientC + rise, seconds, 3000)
    if (lifting(scene)) {
      hoistHours += seconds / 3600
      burst = effort
    }
    if (was === 'holding' && kind !== 'holding') {
      heldDue = true
      liftCycles++
    }
    was = kind
  }

  /** Broadband rises last, the envelope first: early damage is short impacts. */
  const vibration = (hookLoad: number) => {
    const load = 0.75 + 0.4 * hookLoad
    const worn = damaged.bearing()
    return {
      rms: 1.7 * load * vibrationFactor * (1 + 4.6 * worn) + 0.03 * noise.normal(),
      env: 0.75 * load * vibrationFactor * (1 + 11 * Math.sqrt(worn)) + 0.01 * noise.normal(),
      // Single impacts stand out at first and drown in each other late.
      kurtosis: 3.1 + (worn < 0.5 ? 9.6 * worn : 4.8 - 7.6 * (worn - 0.5)) + 0.05 * noise.normal(),
    }
  }

  function wind({ atMs }: Scene): number {
    const minutes = atMs / 60_000
    const slow = 1.2 * Math.sin(minutes / 47 + gustPhase) + 0.6 * Math.sin(minutes / 3.1)
    return Math.max(0, breeze + slow + 0.4 * noise.normal())
  }

  const groups: Group[] = [
    {
      everySeconds: 1,
      read(put, scene) {
        put('wind_speed_m_s', wind(scene), 1)
        if (!heldDue) return
        heldDue = false
        put('brake_hold_drift_mm_min', (driftMm + 59 * damaged.brake()) * (1 + 0.04 * noise.normal()), 1)
      },
    },
    { everySeconds: 30, read: (put) => put('hoist_gearbox_temp_c', gearC + noise.normal() * 0.3, 1) },
    {
      everySeconds: 60,
      read(put) {
        put('lift_cycles', liftCycles)
        put('hoist_hours_h', hoistHours, 2)
        put('overload_events', 0)
      },
    },
    {
      everySeconds: 300,
      read(put) {
        if (burst === undefined) return
        const { rms, env, kurtosis } = vibration(burst)
        put('hoist_gearbox_vib_mm_s', rms, 2)
        put('hoist_gearbox_vib_env_g', env, 2)
        put('hoist_gearbox_vib_kurtosis', kurtosis, 2)
      },
    },
  ]

  return {
    step,
    groups,
    heartbeat(put: Put, scene: Scene) {
      put('wind_speed_m_s', wind(scene), 1)
      put('hoist_hours_h', hoistHours, 2)
    },
  }
}
