import { dieselEngine } from './diesel-engine.ts'
import { hydraulics } from './hydraulics.ts'
import { approach, type Group, type Machinery, type Scene, telematics, type Unit } from './machinery.ts'

const pumpMaxFlowLMin = 220
const reliefBar = 350

/** The work cycle: share of its time, pressures of both pumps and of the swing as a share of relief at full effort. */
const cycle = [
  { mode: 'digging', share: 0.36, pump1: 0.74, pump2: 0.7, swing: 0 },
  { mode: 'loaded_swing', share: 0.28, pump1: 0.52, pump2: 0.46, swing: 210 },
  { mode: 'dumping', share: 0.15, pump1: 0.34, pump2: 0.3, swing: 0 },
  { mode: 'return_swing', share: 0.21, pump1: 0.4, pump2: 0.36, swing: 180 },
] as const

/** What other work asks of the pumps, the same way. */
const steady: Record<string, { pump1: number; pump2: number; travel: number }> = {
  travelling: { pump1: 0.6, pump2: 0.6, travel: 190 },
  levelling: { pump1: 0.46, pump2: 0.42, travel: 0 },
  breaking: { pump1: 0.56, pump2: 0.3, travel: 0 },
  lifting: { pump1: 0.5, pump2: 0.34, travel: 0 },
}

const idling = { pump1: 0.085, pump2: 0.083, travel: 0 }

/** A crawler excavator of 20 to 25 t. */
export function excavator(unit: Unit): Machinery {
  const { build, noise, damage } = unit
  const engine = dieselEngine(unit, { ratedKw: 125, nominalRpm: 1800, nominalLoad: 0.5, tankLitres: 380 })
  const oil = hydraulics(
    unit,
    { capacityKjK: 700, coolerKwK: 0.8, passiveKwK: 0.14, pumps: 2, pumpMaxFlowLMin },
    {
      pumpWear: () => damage('EX-01'),
      cooler: () => Math.max(damage('EX-05'), 0.45 * damage('EN-01')),
      filter: () => 0,
    },
  )
  const sendPosition = telematics(unit)
  const operatorSeconds = 18.5 * build.factor(0.05)
  const pressureFactor = build.factor(0.03)
  const pilotBar = 32 + build.between(-0.5, 0.8)
  const swingSeconds = 4.3 + build.between(-0.15, 0.15)
  const driftMm = build.between(7, 11)
  const slope = { pitch: build.between(-4, 4), roll: build.between(-3, 3) }
  const bearingG = 0.1 * build.factor(0.08)

  let engineHours = unit.startHours
  let idleHours = engineHours * 0.34
  let breakerHours = engineHours * 0.04
  let swingGearC = unit.warm ? 50 : 24
  let driveC = [unit.warm ? 45 : 24, unit.warm ? 45 : 24]
  let lastCycle = -1
  let testDue = false
  let was = unit.warm ? 'digging' : 'off'

  const cycleSeconds = () => operatorSeconds * (1 + 0.25 * damage('EX-01')) * (1 + 0.1 * damage('EX-02'))
  const elapsed = (scene: Scene) => (scene.atMs - scene.activity.startMs) / 1000

  function phase(scene: Scene): (typeof cycle)[number] {
    let at = (elapsed(scene) % cycleSeconds()) / cycleSeconds()
    for (const part of cycle) {
      at -= part.share
      if (at < 0) return part
    }
    return cycle[0]
  }

  /** Pressures at this instant, bar. */
  function pressures(scene: Scene) {
    const { kind, effort } = scene.activity
    if (kind === 'idle') return { pump1: 30, pump2: 29, swing: 0, travel: 0 }
    const part = kind === 'digging' ? { ...phase(scene), travel: 0 } : { swing: 0, ...(steady[kind] ?? idling) }
    const strength = (0.75 + 0.35 * effort) * reliefBar * pressureFactor
    return {
      pump1: part.pump1 * strength,
      pump2: part.pump2 * strength,
      swing: part.swing * pressureFactor,
      travel: part.travel * (0.8 + 0.4 * effort),
    }
  }

  /** Mean over a work cycle, which is what heats the oil and loads the engine. */
  function meanBar(scene: Scene): number {
    const { kind, effort } = scene.activity
    const mean = kind === 'digging' ? cycle.reduce((sum, part) => sum + part.share * (part.pump1 + part.pump2), 0) : 0
    const other = steady[kind]
    const share = kind === 'digging' ? mean / 2 : other ? (other.pump1 + other.pump2) / 2 : 0.085
    return share * (0.75 + 0.35 * effort) * reliefBar * pressureFactor
  }

  function hydraulicLoad(scene: Scene) {
    const { kind, effort } = scene.activity
    if (kind === 'off') return undefined
    const pressureBar = meanBar(scene)
    if (kind === 'idle') return { pressureBar, flowLMin: 40, lossKw: 2.5 }
    const flowLMin = pumpMaxFlowLMin * (0.55 + 0.25 * effort)
    const hammer = kind === 'breaking' ? 1.2 : 1
    return { pressureBar, flowLMin, lossKw: (0.22 * hammer * pressureBar * flowLMin * 2) / 600 }
  }

  function demand(scene: Scene) {
    const { kind, effort } = scene.activity
    if (kind === 'off') return undefined
    if (kind === 'idle') return { rpm: 900, powerKw: 13 }
    const load = hydraulicLoad(scene)
    const hydraulicKw = load ? ((load.flowLMin * 2 + oil.extraLeak()) * load.pressureBar) / 600 : 0
    return { rpm: 1700 + 150 * effort, powerKw: hydraulicKw / 0.85 + 8 }
  }

  const own: Group[] = [
    {
      everySeconds: 1,
      read(put, scene) {
        const now = pressures(scene)
        put('pump1_pressure_bar', now.pump1 * (1 + 0.015 * noise.normal()), 1)
        put('pump2_pressure_bar', now.pump2 * (1 + 0.015 * noise.normal()), 1)
        put('swing_pressure_bar', now.swing * (1 + 0.01 * noise.normal()), 1)
        put('travel_pressure_bar_1', now.travel * (1 + 0.01 * noise.normal()), 1)
        put('travel_pressure_bar_2', now.travel * (1 + 0.01 * noise.normal()), 1)
        put('pitch_deg', slope.pitch + noise.normal() * 0.3, 1)
        put('roll_deg', slope.roll + noise.normal() * 0.3, 1)
        const finished = scene.activity.kind === 'digging' ? Math.floor(elapsed(scene) / cycleSeconds()) : -1
        if (finished > 0 && finished !== lastCycle)
          put('cycle_time_s', cycleSeconds() * (1 + 0.015 * noise.normal()), 1)
        lastCycle = finished
        if (!testDue) return
        testDue = false
        const seconds = swingSeconds * (1 + 0.44 * damage('EX-02'))
        put('swing_time_180_s', seconds + noise.normal() * 0.03, 2)
        put('swing_5turns_s', seconds * 6.35 + noise.normal() * 0.15, 2)
        put('boom_drift_mm_5min', driftMm + noise.normal() * 0.7, 1)
      },
    },
    { everySeconds: 5, read: (put) => put('pilot_pressure_bar', pilotBar + noise.normal() * 0.2, 1) },
    {
      everySeconds: 10,
      read(put) {
        put('fan_speed_rpm', 900 + 700 * oil.fan() + noise.normal() * 5)
        put('oil_cooler_dt_k', Math.max(0, oil.coolerDt() + noise.normal() * 0.1), 1)
      },
    },
    {
      everySeconds: 60,
      read(put, scene) {
        put('swing_gearbox_temp_c', swingGearC + noise.normal() * 0.3, 1)
        driveC.forEach((drive, index) => {
          put(`final_drive_temp_c_${index + 1}`, drive + noise.normal() * 0.3, 1)
        })
        put('engine_hours_h', engineHours, 2)
        put('idle_hours_h', idleHours, 2)
        sendPosition(put, scene)
      },
    },
    {
      everySeconds: 600,
      read(put, scene) {
        const g = scene.activity.kind === 'idle' ? 0.01 : bearingG
        put('slew_bearing_vib_g', g * (1 + 0.04 * noise.normal()), 3)
      },
    },
  ]

  return {
    groups: [...engine.groups, ...oil.groups, ...own],
    running: (activity) => activity.kind !== 'off',
    outputPace: () => 1,
    mode(scene) {
      const { kind } = scene.activity
      if (kind === 'off') return undefined
      return kind === 'digging' ? phase(scene).mode : kind
    },
    step(seconds, scene) {
      const { kind, effort } = scene.activity
      engine.step(seconds, demand(scene), scene)
      oil.step(seconds, hydraulicLoad(scene), scene)
      const swinging = kind === 'digging' ? effort : 0
      // A worn gearbox turns more of its power into heat.
      const swingRise = 12 + 40 * swinging * (1 + 0.95 * damage('EX-02')) + 12 * damage('EX-02')
      swingGearC = approach(swingGearC, scene.ambientC + (kind === 'off' ? 0 : swingRise), seconds, 2400)
      const travelling = kind === 'travelling' ? 60 * effort : 14
      driveC = driveC.map((drive) => approach(drive, scene.ambientC + (kind === 'off' ? 0 : travelling), seconds, 2400))
      // The operator tries swing and boom after each start.
      if (was === 'off' && kind !== 'off') testDue = true
      was = kind
      if (kind === 'off') return
      engineHours += seconds / 3600
      if (kind === 'idle') idleHours += seconds / 3600
      if (kind === 'breaking') breakerHours += seconds / 3600
    },
    changing(put, scene) {
      const { kind } = scene.activity
      put('work_mode', kind === 'breaking' ? 3 : kind === 'lifting' ? 2 : 0)
      put('breaker_hours_h', breakerHours, 1)
      put('auto_idle', kind === 'idle' ? 1 : 0)
    },
    heartbeat(put, scene) {
      engine.heartbeat(put)
      put('engine_hours_h', engineHours, 2)
      sendPosition(put, scene)
    },
  }
}
