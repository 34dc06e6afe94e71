import { dieselEngine } from './diesel-engine.ts'
import { hoist } from './hoist.ts'
import { hydraulics } from './hydraulics.ts'
import { along, clamp, type Group, type Machinery, type Scene, telematics, type Unit } from './machinery.ts'

const ropeWork = ['lifting', 'holding', 'luffing', 'slewing']

/** A mobile crane on outriggers, or a crawler crane without them. */
export function crane(unit: Unit, type: 'mobile_crane' | 'crawler_crane'): Machinery {
  const { build, noise, damage } = unit
  const mobile = type === 'mobile_crane'
  const ratedT = mobile ? 18 : 40 // at the radius that this site works at
  const engine = dieselEngine(unit, {
    ratedKw: mobile ? 190 : 240,
    nominalRpm: 1400,
    nominalLoad: 0.3,
    tankLitres: 400,
  })
  const oil = hydraulics(
    unit,
    { capacityKjK: 900, coolerKwK: 0.8, passiveKwK: 0.2, pumps: 2, pumpMaxFlowLMin: mobile ? 260 : 320 },
    { pumpWear: () => 0, cooler: () => 0.45 * damage('EN-01'), filter: () => 0 },
  )
  const winch = hoist(
    unit,
    { bearing: () => damage('MC-01'), brake: () => damage('MC-02') },
    { startHours: unit.startHours * 0.3, pace: 26 },
  )
  const sendPosition = telematics(unit)
  const boomM = mobile ? build.between(30, 42) : build.between(40, 54)
  const pilotBar = 35 + build.between(-1, 1.5)
  const releaseBar = 32 + build.between(-1.5, 2)
  const slewBar = 85 * build.factor(0.05)
  const hoistFactor = build.factor(0.04)
  const level = build.between(0.1, 0.25)
  const emptyT = build.between(0.4, 0.6)
  const weightKn = 620 * build.factor(0.03)

  let engineHours = unit.startHours
  let idleHours = engineHours * 0.5
  let height = 0.3
  let slew = 0.3
  let luff = 0.5

  const kindOf = (scene: Scene) => scene.activity.kind
  const working = (scene: Scene) => ropeWork.includes(kindOf(scene)) || kindOf(scene) === 'idle'
  const loadT = (scene: Scene) => emptyT + scene.activity.effort * ratedT
  const boomDeg = () => 45 + 30 * luff

  /** Pressure at the hoist motor: rope pull over efficiency. */
  function hoistBar(scene: Scene): number {
    if (kindOf(scene) !== 'lifting') return 0
    return (45 + (190 * loadT(scene)) / ratedT / 0.85 / 1.1) * hoistFactor
  }

  function mainBar(scene: Scene): number {
    const kind = kindOf(scene)
    if (kind === 'lifting') return hoistBar(scene) + 18
    if (kind === 'slewing') return slewBar + 25
    if (kind === 'luffing') return 130 + 60 * scene.activity.effort
    return kind === 'rigging' ? 90 : 24
  }

  function hydraulicLoad(scene: Scene) {
    const kind = kindOf(scene)
    if (kind === 'off' || kind === 'transit') return undefined
    const moves = ['lifting', 'slewing', 'luffing', 'rigging'].includes(kind)
    const flowLMin = moves ? (mobile ? 150 : 180) : 45
    const pressureBar = mainBar(scene)
    return { pressureBar, flowLMin, lossKw: moves ? (0.28 * pressureBar * flowLMin * 2) / 600 + 4 : 5 }
  }

  function demand(scene: Scene) {
    const { kind, effort } = scene.activity
    if (kind === 'off') return undefined
    if (kind === 'transit') return { rpm: 1300 + 200 * effort, powerKw: mobile ? 110 * effort + 30 : 60 }
    const load = hydraulicLoad(scene)
    const kw = load ? (load.pressureBar * load.flowLMin * 2) / 600 / 0.85 : 0
    return { rpm: kind === 'idle' || kind === 'holding' ? 850 : 1450, powerKw: kw + 12 }
  }

  const own: Group[] = [
    {
      everySeconds: 1,
      read(put, scene) {
        put('main_pressure_bar', mainBar(scene) + noise.normal() * 1.5, 1)
        put('pilot_pressure_bar', pilotBar + noise.normal() * 0.2, 1)
        if (!working(scene)) return
        const kind = kindOf(scene)
        const radians = (boomDeg() * Math.PI) / 180
        const radiusM = boomM * Math.cos(radians)
        const swing = kind === 'lifting' ? 0.01 : 0.003 // the load moves on its rope
        const tonnes = loadT(scene) * (1 + swing * noise.normal())
        put('load_t', tonnes, 2)
        // The chart allows less the farther out the hook is.
        put('load_moment_pct', clamp((100 * tonnes) / ratedT, 0, 120) * (0.92 + 0.1 * (1 - luff)), 1)
        put('radius_m', radiusM, 2)
        put('boom_length_m', boomM, 2)
        put('boom_angle_deg', boomDeg(), 2)
        put('hook_height_m', 0.9 * height * boomM * Math.sin(radians), 1)
        put('slew_angle_deg', 360 * slew, 1)
        put('slew_speed_rpm', kind === 'slewing' ? 1.2 + 0.05 * noise.normal() : 0, 2)
        put('hoist_pressure_bar', Math.max(0, hoistBar(scene) * (1 + 0.015 * noise.normal())), 1)
        put('slew_pressure_bar', kind === 'slewing' ? slewBar * (1 + 0.02 * noise.normal()) : 0, 1)
        // With the brake on, its release line has no pressure.
        if (kind === 'lifting') put('brake_release_pressure_bar', releaseBar + noise.normal() * 0.3, 1)
        if (!mobile) return
        put('level_deg', level + noise.normal() * 0.02, 2)
        for (let leg = 1; leg <= 4; leg++) {
          const lean =
            1 + 0.35 * Math.cos(2 * Math.PI * slew + (leg * Math.PI) / 2) * (0.4 + 0.6 * scene.activity.effort)
          put(`outrigger_force_kn_${leg}`, ((weightKn + tonnes * 9.81) / 4) * lean + noise.normal())
        }
      },
    },
    {
      everySeconds: 60,
      read(put, scene) {
        put('engine_hours_h', engineHours, 2)
        put('idle_hours_h', idleHours, 2)
        sendPosition(put, scene)
      },
    },
  ]

  return {
    groups: [...engine.groups, ...oil.groups, ...winch.groups, ...own],
    running: (activity) => activity.kind !== 'off',
    outputPace: () => 1,
    mode: (scene) => (kindOf(scene) === 'off' ? undefined : kindOf(scene)),
    step(seconds, scene) {
      engine.step(seconds, demand(scene), scene)
      oil.step(seconds, hydraulicLoad(scene), scene)
      winch.step(seconds, scene, working(scene))
      const kind = kindOf(scene)
      if (kind === 'lifting') height = along(scene)
      if (kind === 'slewing') slew = along(scene)
      if (kind === 'luffing') luff = along(scene)
      if (kind === 'off') return
      engineHours += seconds / 3600
      if (kind === 'idle' || kind === 'holding') idleHours += seconds / 3600
    },
    heartbeat(put, scene) {
      engine.heartbeat(put)
      put('engine_hours_h', engineHours, 2)
      sendPosition(put, scene)
    },
  }
}
