import { hoist } from './hoist.ts'
import { along, approach, type Group, type Machinery, type Scene, telematics, type Unit } from './machinery.ts'

const ratedT = 8 // at the radius where this site works
const jibM = 60
const hoistRatedA = 68
const slewRatedA = 16
const trolleyRatedA = 11

/** An electric tower crane with a frequency converter at its hoist. */
export function towerCrane(unit: Unit): Machinery {
  const { build, noise, damage } = unit
  const winch = hoist(
    unit,
    { bearing: () => 0, brake: () => damage('TC-04') },
    { startHours: unit.startHours, pace: 24 },
  )
  const sendPosition = telematics(unit)
  const mastM = build.between(60, 110)
  const currentFactor = build.factor(0.03)
  const windingRiseK = build.between(108, 118)
  const heatsinkRiseK = build.between(52, 58)
  const supplyV = 386 * build.factor(0.005)
  const unbalancePct = build.between(0.4, 0.9)
  const motorVibration = build.factor(0.07)
  const tilt = build.between(0.6, 1.2)
  const emptyT = build.between(0.25, 0.35)

  let windingC = unit.warm ? 65 : 24
  let heatsinkC = unit.warm ? 42 : 24
  let brakeC = unit.warm ? 50 : 24
  let bearingC = unit.warm ? 45 : 24
  let powerOnHours = unit.startHours * 3.2
  /** Load on the hook when vibration was last measured: in bursts, while hoisting. */
  let burst = unit.warm ? 0.5 : undefined
  let height = 0.3
  let slew = 0.3
  let trolley = 0.5

  const kindOf = (scene: Scene) => scene.activity.kind
  /** Share of the rated hoisting power at this moment. */
  const pull = (scene: Scene) => (kindOf(scene) === 'lifting' ? 0.3 + 0.62 * scene.activity.effort : 0)
  const hoistA = (scene: Scene) => hoistRatedA * pull(scene) * currentFactor

  const own: Group[] = [
    {
      everySeconds: 1,
      read(put, scene) {
        const kind = kindOf(scene)
        const radiusM = 8 + 40 * trolley
        put('slew_angle_deg', 360 * slew, 1)
        put('radius_m', radiusM, 2)
        put('trolley_position_m', radiusM, 2)
        put('hook_height_m', height * mastM, 1)
        const tonnes =
          (emptyT + scene.activity.effort * ratedT) * (1 + (kind === 'lifting' ? 0.01 : 0.003) * noise.normal())
        put('load_t', tonnes, 2)
        put('load_moment_pct', (100 * tonnes) / (ratedT + emptyT), 1)
        put('boom_length_m', jibM)
        put('boom_angle_deg', 0)
        put('slew_speed_rpm', kind === 'slewing' ? 0.6 + 0.02 * noise.normal() : 0, 2)
        put('hoist_current_a', Math.max(0, hoistA(scene) * (1 + 0.015 * noise.normal())), 1)
        put('slew_current_a', kind === 'slewing' ? slewRatedA * 0.55 * (1 + 0.02 * noise.normal()) : 0, 1)
        put('trolley_current_a', kind === 'luffing' ? trolleyRatedA * 0.55 * (1 + 0.02 * noise.normal()) : 0, 1)
      },
    },
    {
      everySeconds: 5,
      read(put, scene) {
        const sag = damage('TC-10')
        const start = pull(scene) * 6 + (pull(scene) > 0 ? (0.5 + 0.5 * pull(scene)) * 0.15 * supplyV * sag : 0)
        put('supply_voltage_v', supplyV - start + noise.normal() * 0.8, 1)
        put('voltage_unbalance_pct', unbalancePct + 2.8 * sag + noise.normal() * 0.05, 2)
      },
    },
    {
      everySeconds: 10,
      read(put) {
        put('motor_winding_temp_c', windingC + noise.normal() * 0.4, 1)
        put('vfd_heatsink_temp_c', heatsinkC + noise.normal() * 0.3, 1)
        put('brake_temp_c', brakeC + noise.normal() * 0.4, 1)
        put('mast_tilt_mm_m', tilt + 0.25 * Math.sin(2 * Math.PI * slew) + noise.normal() * 0.03, 2)
      },
    },
    {
      everySeconds: 30,
      read: (put) => put('motor_bearing_temp_c', bearingC + noise.normal() * 0.3, 1),
    },
    {
      everySeconds: 60,
      read(put, scene) {
        put('power_on_hours_h', powerOnHours, 2)
        sendPosition(put, scene)
      },
    },
    {
      everySeconds: 300,
      read(put) {
        if (burst === undefined) return
        const worn = damage('TC-01')
        const load = (0.75 + 0.4 * burst) * motorVibration
        put('motor_vib_rms_mm_s', 1.7 * load * (1 + 4.6 * worn) + 0.03 * noise.normal(), 2)
        // The envelope leads: early damage is short impacts.
        put('motor_vib_env_g', 0.75 * load * (1 + 11 * Math.sqrt(worn)), 2)
      },
    },
  ]

  return {
    groups: [...winch.groups, ...own],
    running: (activity) => activity.kind !== 'weathervane' && activity.kind !== 'off',
    outputPace: () => 1,
    mode: (scene) => (kindOf(scene) === 'off' ? undefined : kindOf(scene)),
    step(seconds, scene) {
      const kind = kindOf(scene)
      const working = kind !== 'weathervane' && kind !== 'off'
      winch.step(seconds, scene, working)
      const power = pull(scene)
      // Copper losses go with the square of the current; what has aged in the winding or its fan adds to them.
      const losses = (power * currentFactor) ** 2 * 1.5 + (working ? 0.35 : 0)
      const rise = windingRiseK * losses * (1 + 0.85 * damage('TC-02'))
      // A worn bearing heats itself and the winding beside it.
      const bearingRise = 14 * (working ? 1 : 0.1) + 20 * damage('TC-01') * (working ? 1 : 0)
      bearingC = approach(bearingC, scene.ambientC + bearingRise, seconds, 1500)
      windingC = approach(windingC, scene.ambientC + rise, seconds, 1800)
      const converter = heatsinkRiseK * (0.3 + 1.1 * power) * (working ? 1 : 0.2) * (1 + 1.3 * damage('TC-03'))
      heatsinkC = approach(heatsinkC, scene.ambientC + converter, seconds, 600)
      // A lining that drags and slips heats the drum at every stop.
      const stops = working ? 26 + 30 * scene.activity.effort : 0
      brakeC = approach(brakeC, scene.ambientC + stops * (1 + 1.8 * damage('TC-04')), seconds, 1500)
      if (working) powerOnHours += seconds / 3600
      if (kind === 'lifting') {
        height = along(scene)
        burst = scene.activity.effort
      }
      if (kind === 'slewing') slew = along(scene)
      if (kind === 'luffing') trolley = along(scene)
      if (kind === 'weathervane') slew = 0.3 + 0.15 * Math.sin(scene.atMs / 9e5)
    },
    heartbeat(put, scene) {
      sendPosition(put, scene)
      put('slew_angle_deg', 360 * slew, 1)
      put('mast_tilt_mm_m', tilt + noise.normal() * 0.03, 2)
      winch.heartbeat(put, scene)
    },
  }
}
