import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { type FaultCode, type FaultPlan, faults, type MachineType, machineTypes } from '../../simulators/faults.ts'
import { machineModel, type SimulatedSet } from '../../simulators/machine-model.ts'
import type { NamedRule, Profile } from '../../src/catalogue/catalogue.ts'
import { loadCatalogue } from '../../src/catalogue/load.ts'
import { highest, level, lowest, type SignalValue } from '../../src/reading.ts'

const catalogue = loadCatalogue(fileURLToPath(new URL('../../catalogue', import.meta.url)))
const models = {
  boom_pump: 'bp-52',
  mobile_crane: 'mc-60',
  crawler_crane: 'cc-150',
  tower_crane: 'tc-6015',
  excavator: 'ex-22',
}
const startAt = Date.UTC(2026, 2, 2, 1)
const hourMs = 3_600_000

/** What a rule compares at this instant; undefined where it needs a history, which these tests do not keep. */
function compared(profile: Profile, rule: NamedRule, set: SimulatedSet, known: Map<string, SignalValue>) {
  const value = set.signals[rule.signal]
  if (value === undefined) return undefined
  const edge = rule.direction === 'high' ? highest(value) : lowest(value)
  const { measure } = rule
  if (!measure) return edge
  const { ratedFraction, difference, ...other } = measure
  if (Object.keys(other).length > 0) return undefined
  if (ratedFraction) return edge / (profile.parameters.get(ratedFraction) ?? Number.NaN)
  const subtrahend = difference && known.get(difference)
  return subtrahend === undefined || subtrahend === '' ? undefined : edge - level(subtrahend)
}

function meant(rule: NamedRule, mode: string, known: Map<string, SignalValue>): boolean {
  if (rule.modes && !rule.modes.includes(mode)) return false
  return (rule.when ?? []).every(({ signal, above, below, equals, orUnknown }) => {
    const value = known.get(signal)
    if (value === undefined) return orUnknown === true
    const now = level(value)
    return (above === undefined || now > above) && (below === undefined || now < below) && (equals ?? now) === now
  })
}

interface Breach {
  readonly rule: string
  readonly failureMode: string | undefined
  readonly level: 'warn' | 'critical'
  /** Damage when it happened for the first time. */
  readonly d: number
}

/** Every limit that is crossed, without waiting for any delay. */
function breaches(options: {
  type: MachineType
  seed: number
  hours: number
  everySeconds: number
  fault?: FaultPlan
}) {
  const { type, seed, hours, everySeconds, fault } = options
  const profile = catalogue.profile(type, models[type])
  const machine = machineModel({ type, seed, startAt, fault, reportEverySeconds: everySeconds })
  const known = new Map<string, SignalValue>()
  const found = new Map<string, Breach>()
  const strange = new Set<string>()
  for (const set of machine.advance(startAt + hours * hourMs)) {
    if (!profile.modes.has(set.mode)) strange.add(`mode ${set.mode}`)
    for (const [name, value] of Object.entries(set.signals)) {
      known.set(name, value)
      const [low, high] = profile.signals.get(name)?.plausible ?? [Number.NaN, Number.NaN]
      if (!(lowest(value) >= low && highest(value) <= high)) strange.add(`${name} ${JSON.stringify(value)}`)
    }
    for (const rule of profile.rules.values()) {
      const value = compared(profile, rule, set, known)
      if (value === undefined || !meant(rule, set.mode, known)) continue
      for (const side of ['warn', 'critical'] as const) {
        const limit = rule[side]?.limit
        const over = limit !== undefined && (rule.direction === 'high' ? value > limit : value < limit)
        const key = `${rule.id} ${side}`
        if (!over || found.has(key)) continue
        found.set(key, { rule: rule.id, failureMode: rule.failureMode, level: side, d: machine.label().d })
      }
    }
  }
  return { found: [...found.values()], strange: [...strange] }
}

for (const type of machineTypes)
  test(`three days of a healthy ${type} cross no limit, and every signal is known to the catalogue and plausible`, () => {
    for (const seed of [1, 2, 3])
      expect(breaches({ type, seed, hours: 72, everySeconds: 10 })).toEqual({ found: [], strange: [] })
  })

/** What gives a fault away, by the signal's own limits. */
const signs: readonly { code: FaultCode; type: MachineType; rules: readonly string[] }[] = [
  { code: 'EN-01', type: 'excavator', rules: ['coolant_temp_c critical'] },
  { code: 'EN-01', type: 'boom_pump', rules: ['coolant_temp_c critical'] },
  { code: 'EN-01', type: 'mobile_crane', rules: ['coolant_temp_c critical'] },
  { code: 'EN-03', type: 'excavator', rules: ['engine_oil_pressure_kpa warn', 'engine_oil_pressure_kpa critical'] },
  { code: 'EN-03', type: 'crawler_crane', rules: ['engine_oil_pressure_kpa critical'] },
  { code: 'EN-04', type: 'boom_pump', rules: ['air_filter_dp_kpa critical'] },
  { code: 'EN-04', type: 'mobile_crane', rules: ['air_filter_dp_kpa critical'] },
  { code: 'EN-08', type: 'excavator', rules: ['battery_voltage_v critical'] },
  { code: 'CP-01', type: 'boom_pump', rules: ['case_drain_flow_l_min critical', 'pump_vib_rms_mm_s warn'] },
  {
    code: 'CP-02',
    type: 'boom_pump',
    rules: ['accumulator_pressure_bar critical', 's_valve_shift_time_ms critical'],
  },
  { code: 'CP-05', type: 'boom_pump', rules: ['hyd_oil_temp_c warn', 'hyd_oil_temp_c critical'] },
  { code: 'CP-06', type: 'boom_pump', rules: ['return_filter_dp_bar critical', 'oil_particles_iso4406_4um warn'] },
  { code: 'CP-12', type: 'boom_pump', rules: ['agitator_pressure_bar warn', 'agitator_reversals_h critical'] },
  {
    code: 'MC-01',
    type: 'mobile_crane',
    rules: ['hoist_gearbox_vib_env_g critical', 'hoist_gearbox_vib_mm_s critical'],
  },
  { code: 'MC-02', type: 'crawler_crane', rules: ['brake_hold_drift_mm_min critical'] },
  { code: 'TC-01', type: 'tower_crane', rules: ['motor_vib_env_g critical', 'motor_vib_rms_mm_s critical'] },
  { code: 'TC-02', type: 'tower_crane', rules: ['motor_winding_temp_c warn'] },
  { code: 'TC-03', type: 'tower_crane', rules: ['vfd_heatsink_temp_c warn'] },
  { code: 'TC-04', type: 'tower_crane', rules: ['brake_hold_drift_mm_min critical'] },
  { code: 'TC-10', type: 'tower_crane', rules: ['voltage_unbalance_pct warn'] },
  { code: 'EX-01', type: 'excavator', rules: ['case_drain_flow_l_min critical'] },
  { code: 'EX-02', type: 'excavator', rules: ['swing_gearbox_temp_c warn', 'swing_time_180_s critical'] },
  { code: 'EX-05', type: 'excavator', rules: ['hyd_oil_temp_c critical', 'oil_cooler_dt_k warn'] },
]

for (const { code, type, rules } of signs)
  test(`${code} of a ${type} crosses its limits, none before it has begun, none that speak of another cause`, () => {
    const fault = { code, onsetHours: 4, lifeHours: 30 }
    const { found, strange } = breaches({ type, seed: 5, hours: 24 * 6, everySeconds: 10, fault })
    expect(strange).toEqual([])
    expect(found.map(({ rule, level }) => `${rule.split('.')[0]} ${level}`)).toEqual(expect.arrayContaining([...rules]))
    for (const breach of found) expect(breach.d, `${breach.rule} at the onset`).toBeGreaterThan(0.02)
    const elsewhere = found.filter((breach) => breach.failureMode && breach.failureMode !== code)
    expect(elsewhere.map(({ rule, failureMode }) => `${rule} → ${failureMode}`)).toEqual([])
  })

test('every failure mode that can be injected is known to the catalogue of the types that have it', () => {
  for (const [code, { types }] of Object.entries(faults))
    for (const type of types) expect([...catalogue.profile(type).failureModes.keys()]).toContain(code)
})
