import { dieselEngine } from './diesel-engine.ts'
import { hydraulics } from './hydraulics.ts'
import { along, approach, clamp, type Group, type Machinery, type Scene, telematics, type Unit } from './machinery.ts'

const strokeM3 = 0.0867 // Ø 230 mm × 2100 mm
const areaRatio = 2.9 // concrete piston to hydraulic piston
const oilPerStrokeL = (strokeM3 * 1000) / areaRatio
const reliefBar = 340
const accumulatorL = 20
const prechargeBar = 95
const shiftL = 1.7 // oil that one shift of the S-valve takes
const frictionBar = 112 // pressure that the S-valve needs to move at all
const usualM3PerHour = 26

/** Working resistance of the concrete in the line, bar: a start value, a share that rises with output, the height. */
function concretePressure(m3PerHour: number, heightM: number): number {
  return 15 + 0.45 * m3PerHour + 0.235 * heightM
}

/** A truck-mounted concrete pump with a boom. */
export function boomPump(unit: Unit): Machinery {
  const { build, noise, damage } = unit
  const engine = dieselEngine(unit, { ratedKw: 275, nominalRpm: 1600, nominalLoad: 0.45, tankLitres: 400 })
  const oil = hydraulics(
    unit,
    { capacityKjK: 1000, coolerKwK: 1, passiveKwK: 0.15, pumps: 2, pumpMaxFlowLMin: 380 },
    {
      pumpWear: () => damage('CP-01'),
      cooler: () => Math.max(damage('CP-05'), 0.45 * damage('EN-01')),
      filter: () => damage('CP-06'),
    },
  )
  const sendPosition = telematics(unit)
  const mixFactor = build.between(0.94, 1.06)
  const fillFactor = build.between(0.78, 0.86)
  const heightM = build.between(18, 38)
  const boomFactor = build.factor(0.05)
  const agitatorFactor = build.factor(0.06)
  const legBar = [1, 2, 3, 4].map(() => build.between(150, 190))
  const tiltDeg = build.between(0.2, 0.7)
  const shiftMs = 250 * build.factor(0.05)
  const lubeEverySeconds = build.between(400, 600)
  const linkPct = build.between(88, 97)

  let ptoHours = unit.startHours
  let engineHours = unit.startHours * 1.55 + build.between(0, 30)
  let idleHours = engineHours * 0.32
  let pumpedM3 = unit.startHours * 24
  let strokes = pumpedM3 / (strokeM3 * 0.82)
  let waterC = 26
  let lubeSeconds = 0
  let lubePeakBar = 0

  const kindOf = (scene: Scene) => scene.activity.kind
  const commandPerMin = (scene: Scene) => (kindOf(scene) === 'pumping' ? 9 + 12 * scene.activity.effort : 0)
  const strokesPerMin = (scene: Scene) => {
    if (kindOf(scene) !== 'pumping') return kindOf(scene) === 'reverse' ? 8 : 0
    return Math.max(4, commandPerMin(scene) - oil.extraLeak() / oilPerStrokeL)
  }
  /** Strokes lose concrete through the gap between plate and ring. */
  const fill = () => fillFactor / (1 + 0.13 * damage('CP-03'))

  function mainBar(scene: Scene): number {
    const rate = strokesPerMin(scene)
    if (kindOf(scene) === 'transit') return 0
    if (rate === 0) return 26 + 40 * (kindOf(scene) === 'setup' || kindOf(scene) === 'folding' ? 1 : 0)
    const m3PerHour = 60 * rate * strokeM3 * fillFactor
    return clamp(concretePressure(m3PerHour, heightM) * mixFactor * areaRatio + 15, 26, reliefBar)
  }

  function demand(scene: Scene) {
    const { kind, effort } = scene.activity
    if (kind === 'off') return undefined
    if (kind === 'transit') return { rpm: 1350 + 300 * effort, powerKw: 60 + 120 * effort }
    if (kind === 'standby') return { rpm: 850, powerKw: 24 }
    if (kind === 'pumping' || kind === 'reverse') {
      const hydraulicKw = (mainBar(scene) * oilPerStrokeL * strokesPerMin(scene)) / 600
      return { rpm: 1500 + 200 * effort, powerKw: hydraulicKw / 0.85 + 15 }
    }
    return { rpm: 1200, powerKw: 45 }
  }

  function hydraulicLoad(scene: Scene) {
    const { kind } = scene.activity
    if (kind === 'off' || kind === 'transit') return undefined
    const flowLMin = strokesPerMin(scene) * oilPerStrokeL
    const pressureBar = mainBar(scene)
    if (flowLMin === 0) return { pressureBar, flowLMin: 30, lossKw: kind === 'standby' ? 5 : 12 }
    return { pressureBar, flowLMin: flowLMin / 2, lossKw: (0.25 * pressureBar * flowLMin) / 600 }
  }

  /** Accumulator before and after a shift: isothermal gas, from which the shift takes its oil. */
  function shift() {
    const high = 190
    const gasL = (accumulatorL * prechargeBar * (1 - 0.74 * damage('CP-02'))) / high
    const low = (high * gasL) / (gasL + shiftL)
    const need = frictionBar * (1 + 0.1 * damage('CP-03'))
    const healthyLow = (high * 10) / (10 + shiftL)
    const ms = shiftMs * Math.sqrt((healthyLow - frictionBar) / Math.max(3, low - need))
    return { high, low, ms }
  }

  const moving = (scene: Scene) => {
    const { kind, startMs } = scene.activity
    const seconds = ((scene.atMs - startMs) / 1000) % 90
    if (kind === 'setup' || kind === 'folding') return seconds < 60
    return kind === 'pumping' && seconds < 15
  }
  const unfolded = (scene: Scene) => !['off', 'transit', 'cleaning'].includes(kindOf(scene))

  const own: Group[] = [
    {
      everySeconds: 1,
      read(put, scene) {
        if (!unfolded(scene)) return
        const reach = along(scene)
        put('boom_pressure_bar', (205 + 45 * reach) * boomFactor + noise.normal() * 3)
        for (let section = 1; section <= 6; section++) {
          put(`boom_angle_deg_${section}`, 12 + 70 * Math.abs(Math.sin(section + 2 * reach)) + noise.normal() * 0.05, 1)
        }
        put('slew_angle_deg', 360 * reach - 180, 1)
        put('slew_pressure_bar', moving(scene) ? 95 * boomFactor + noise.normal() * 2 : 0)
      },
    },
    {
      everySeconds: 5,
      read(put, scene) {
        const kind = kindOf(scene)
        const rate = strokesPerMin(scene)
        put('stroke_rate_min', kind === 'pumping' ? Math.max(0, rate + noise.normal() * 0.1) : 0, 1)
        put('stroke_rate_command_min', commandPerMin(scene), 1)
        if (kind === 'transit') return
        const bar = mainBar(scene) + noise.normal() * 2
        const flat = { min: bar - 2, mean: bar, max: bar + 2, n: 5 }
        // At each end of a stroke the pressure falls to that of idling and overshoots.
        put(
          'main_pressure_bar',
          rate > 0 ? { min: 33 + noise.normal(), mean: bar * 0.95, max: bar * 1.12, n: 5 } : flat,
          1,
        )
        if (kind === 'pumping') {
          const concrete = ((bar - 15) / areaRatio) * (1 - 0.15 * damage('CP-03'))
          put('concrete_pressure_bar', { min: concrete * 0.2, mean: concrete * 0.95, max: concrete * 1.1, n: 5 }, 1)
        }
        legBar.forEach((leg, index) => {
          if (!unfolded(scene)) return
          const side = 1 + 0.03 * Math.sin(2 * Math.PI * along(scene) + (index * Math.PI) / 2)
          put(`outrigger_pressure_bar_${index + 1}`, leg * side + noise.normal() * 0.5, 1)
        })
        put('tilt_deg', tiltDeg + noise.normal() * 0.02, 2)
        const stir = kind === 'pumping' ? 62 : 30
        const jam = 1 + 1.6 * damage('CP-12')
        put('agitator_pressure_bar', Math.min(160, stir * agitatorFactor * jam + noise.normal() * 2), 1)
        put('agitator_reversals_h', Math.round((kind === 'pumping' ? 3 : 1) * (1 + 13 * damage('CP-12') ** 2)))
      },
    },
    {
      everySeconds: 10,
      read(put, scene) {
        const rate = strokesPerMin(scene)
        if (kindOf(scene) === 'transit') return
        put('boom_tip_accel_g', (rate > 0 ? 0.06 + 0.004 * rate : 0.01) * (1 + 0.05 * noise.normal()), 3)
        const { high, low, ms } = shift()
        const still = high + noise.normal()
        if (rate === 0) {
          put('accumulator_pressure_bar', { min: still - 1, mean: still, max: still + 1, n: 10 }, 1)
          return
        }
        const n = Math.max(1, Math.round(rate / 6))
        put('accumulator_pressure_bar', { min: low + noise.normal(), mean: (still + low) / 2, max: still, n: 10 }, 1)
        const mean = ms * (1 + 0.015 * noise.normal())
        put('s_valve_shift_time_ms', { min: mean * 0.95, mean, max: mean * 1.06, n }, 0)
      },
    },
    {
      everySeconds: 60,
      read(put, scene) {
        put('stroke_count', Math.floor(strokes))
        put('pumped_volume_m3', pumpedM3, 2)
        put('engine_hours_h', engineHours, 2)
        put('idle_hours_h', idleHours, 2)
        put('pto_hours_h', ptoHours, 2)
        sendPosition(put, scene)
        if (kindOf(scene) === 'transit') return
        put('water_box_temp_c', waterC + noise.normal() * 0.3, 1)
        put('water_box_turbidity_ntu', 90 + 8 * noise.normal(), 0)
        // The peak since the last minute, so that slow reporting does not lose it.
        put('lube_pressure_bar', { min: 4, mean: 4 + lubePeakBar / 30, max: 4 + lubePeakBar, n: 60 }, 1)
        put('lube_cycles_h', 3600 / lubeEverySeconds, 1)
        lubePeakBar = 0
      },
    },
  ]

  return {
    groups: [...engine.groups, ...oil.groups, ...own],
    running: (activity) => activity.kind !== 'off',
    outputPace: (scene) => (strokesPerMin(scene) * 60 * strokeM3 * fill()) / usualM3PerHour,
    mode: (scene) => (kindOf(scene) === 'off' ? undefined : kindOf(scene)),
    step(seconds, scene) {
      engine.step(seconds, demand(scene), scene)
      oil.step(seconds, hydraulicLoad(scene), scene)
      const hours = seconds / 3600
      const kind = kindOf(scene)
      const pumping = kind === 'pumping'
      waterC = approach(waterC, scene.ambientC + (pumping ? 17 : 4), seconds, 1200)
      if (kind === 'off') return
      engineHours += hours
      if (kind === 'standby') idleHours += hours
      if (kind !== 'transit') {
        ptoHours += hours
        lubeSeconds += seconds
      }
      if (pumping) {
        strokes += (strokesPerMin(scene) * seconds) / 60
        pumpedM3 += (strokesPerMin(scene) * seconds * strokeM3 * fill()) / 60
      }
      if (lubeSeconds < lubeEverySeconds) return
      lubeSeconds %= lubeEverySeconds
      lubePeakBar = 120 + noise.normal() * 8
    },
    changing(put, scene) {
      put('pto_engaged', kindOf(scene) === 'transit' || kindOf(scene) === 'off' ? 0 : 1)
      if (unfolded(scene))
        put('remote_link_quality_pct', Math.round((linkPct + 4 * Math.sin(12 * along(scene))) / 5) * 5)
    },
    heartbeat(put, scene) {
      engine.heartbeat(put)
      put('engine_hours_h', engineHours, 2)
      put('pto_hours_h', ptoHours, 2)
      sendPosition(put, scene)
    },
  }
}
