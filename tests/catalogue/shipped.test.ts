import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Profile } from '../../src/catalogue/catalogue.ts'
import { loadCatalogue } from '../../src/catalogue/load.ts'
import { ruleSeverity } from '../../src/catalogue/rules.ts'
import type { Condition, Measure } from '../../src/catalogue/schema.ts'
import { machinePicture } from '../../src/features/machine-picture.ts'
import { projectRoot } from '../../src/root.ts'

const catalogue = loadCatalogue(join(projectRoot, 'catalogue'))

function typeOf(id: string): Profile {
  const profile = catalogue.types.get(id)
  if (!profile) throw new Error(`no type ${id}`)
  return profile
}

const ENGINE_DRIVEN = ['generic', 'boom_pump', 'mobile_crane', 'crawler_crane', 'excavator']
const HYDRAULIC = ENGINE_DRIVEN.slice(1)
const HYDRAULIC_CRANES = ['mobile_crane', 'crawler_crane']
const CRANES = [...HYDRAULIC_CRANES, 'tower_crane']
const TYPES = [...ENGINE_DRIVEN, 'tower_crane']

test('five types and the generic one, each with a model but the generic one', () => {
  expect([...catalogue.types.keys()].sort()).toEqual([...TYPES].sort())
  expect(new Set([...catalogue.models.values()].map(({ type }) => type))).toEqual(
    new Set(TYPES.filter((type) => type !== 'generic')),
  )
})

/** A level: limit and on-delay in seconds; null: there is none. */
type Level = readonly [limit: number, onDelaySeconds: number] | null
interface Limit {
  readonly types: readonly string[]
  readonly rule: string
  readonly direction: 'high' | 'low'
  readonly warn: Level
  readonly critical: Level
  readonly deadband: number
  readonly inclusive?: boolean
  readonly measure?: Measure
  readonly modes?: readonly string[]
  readonly when?: readonly Condition[]
  readonly failureMode?: string
}

const running: Condition = { signal: 'engine_speed_rpm', above: 500 }
const notOff: Condition = { ...running, orUnknown: true }
const warmOil: Condition = { signal: 'hyd_oil_temp_c', above: 45 }
const engineMap: Measure = {
  baselinePercent: true,
  like: [
    { signal: 'engine_speed_rpm', band: 100 },
    { signal: 'engine_load_pct', band: 20 },
  ],
}
const rated = (parameter: string): Measure => ({ ratedFraction: parameter })
const high = (
  types: readonly string[],
  rule: string,
  warn: Level,
  critical: Level,
  deadband: number,
  more: Partial<Limit> = {},
): Limit => ({
  types,
  rule,
  direction: 'high',
  warn,
  critical,
  deadband,
  ...more,
})
const low = (...[types, rule, warn, critical, deadband, more]: Parameters<typeof high>): Limit => ({
  ...high(types, rule, warn, critical, deadband, more),
  direction: 'low',
})
const BP = ['boom_pump']
const EX = ['excavator']
const TC = ['tower_crane']
const MC = ['mobile_crane']
const pumping = ['pumping']
const pumpingAndReverse = ['pumping', 'reverse']
const working = ['lifting', 'slewing', 'holding', 'luffing']
const changeOver2min: Measure = { stat: 'mean', windowSeconds: 120, baselinePercent: true }
const changeWithinLift: Measure = { stat: 'mean', windowSeconds: 10, restart: true, baselinePercent: true }

const limits: Limit[] = [
  // common to engine-driven machines
  high(ENGINE_DRIVEN, 'engine_speed_rpm.high', [2300, 5], [2500, 2], 50),
  high(ENGINE_DRIVEN, 'engine_load_pct.high', [95, 600], null, 3),
  high(ENGINE_DRIVEN, 'coolant_temp_c.high', [100, 30], [105, 10], 3, { when: [notOff], failureMode: 'EN-01' }),
  low(ENGINE_DRIVEN, 'coolant_level_pct.low', [60, 60], [40, 30], 3, { when: [notOff], failureMode: 'EN-02' }),
  low(ENGINE_DRIVEN, 'engine_oil_pressure_kpa.low_at_speed', [200, 5], null, 15, {
    when: [{ signal: 'engine_speed_rpm', above: 1400 }],
    failureMode: 'EN-03',
  }),
  low(ENGINE_DRIVEN, 'engine_oil_pressure_kpa.low', null, [100, 3], 15, { when: [running], failureMode: 'EN-03' }),
  high(ENGINE_DRIVEN, 'engine_oil_temp_c.high', [120, 60], [130, 30], 3, { when: [notOff] }),
  low(ENGINE_DRIVEN, 'boost_pressure_kpa.below_map', [-20, 300], [-35, 300], 3, {
    measure: engineMap,
    when: [running],
    failureMode: 'EN-05',
  }),
  high(ENGINE_DRIVEN, 'air_filter_dp_kpa.high', [5, 60], [6.2, 60], 0.2, { failureMode: 'EN-04' }),
  high(ENGINE_DRIVEN, 'fuel_rate_l_h.above_model', [20, 3600], null, 3, {
    measure: engineMap,
    when: [running],
    failureMode: 'EN-06',
  }),
  low(ENGINE_DRIVEN, 'fuel_level_pct.low', [15, 60], [5, 60], 3),
  low(ENGINE_DRIVEN, 'def_level_pct.low', [15, 60], [5, 60], 3),
  low(ENGINE_DRIVEN, 'battery_voltage_v.low', [25.5, 60], [24, 30], 0.3, { when: [running], failureMode: 'EN-08' }),
  high(ENGINE_DRIVEN, 'battery_voltage_v.high', [29.5, 60], [30.5, 30], 0.3, { when: [running], failureMode: 'EN-08' }),
  high(ENGINE_DRIVEN, 'dpf_soot_pct.high', [100, 60], [120, 60], 3, { failureMode: 'EN-07' }),
  high(['generic', 'mobile_crane', 'crawler_crane', 'excavator'], 'hyd_oil_temp_c.high', [85, 60], [95, 30], 3),
  high(BP, 'hyd_oil_temp_c.high', [80, 60], [90, 30], 3, { failureMode: 'CP-05' }),
  high(EX, 'hyd_oil_temp_c.high', [85, 60], [95, 30], 3, { failureMode: 'EX-05' }),
  low(ENGINE_DRIVEN, 'hyd_oil_level_pct.low', [40, 60], [25, 10], 3),
  high(ENGINE_DRIVEN, 'return_filter_dp_bar.high_warm', [2, 60], null, 0.1, { when: [warmOil] }),
  high(ENGINE_DRIVEN, 'return_filter_dp_bar.high', null, [3, 30], 0.1, { when: [{ ...warmOil, orUnknown: true }] }),
  high(ENGINE_DRIVEN, 'case_drain_flow_l_min.high', [0.05, 15], [0.1, 15], 0.005, {
    measure: rated('main_pump_max_flow_l_min'),
    when: [notOff],
  }),
  high(HYDRAULIC, 'case_drain_flow_l_min_2.high', [0.05, 15], [0.1, 15], 0.005, {
    measure: rated('main_pump_max_flow_l_min'),
    when: [notOff],
  }),
  high(ENGINE_DRIVEN, 'pump_vib_rms_mm_s.high', [4.5, 300], [7.1, 60], 0.45),
  high(ENGINE_DRIVEN, 'pump_vib_kurtosis.high', [4.5, 300], [7, 60], 0.45),
  high(ENGINE_DRIVEN, 'pump_vib_env_g.high', [3, 300], [6, 60], 0.3),
  high(ENGINE_DRIVEN, 'oil_particles_iso4406_4um.high', [20, 60], [22, 60], 0.5, { inclusive: true }),
  high(ENGINE_DRIVEN, 'oil_particles_iso4406_6um.high', [18, 60], [20, 60], 0.5, { inclusive: true }),
  high(ENGINE_DRIVEN, 'oil_particles_iso4406_14um.high', [15, 60], [17, 60], 0.5, { inclusive: true }),
  high(ENGINE_DRIVEN, 'oil_water_saturation_pct.high', [70, 60], [90, 60], 3),
  low(TYPES, 'rssi_dbm.low', [-105, 60], null, 3, { failureMode: 'EN-10' }),
  // boom pump
  low(BP, 'stroke_rate_min.below_command', [-10, 15], [-20, 15], 1, {
    measure: { stat: 'mean', windowSeconds: 60, signalPercent: 'stroke_rate_command_min' },
    modes: pumping,
    failureMode: 'CP-01',
  }),
  high(BP, 'stroke_count.per_volume', [8, 0], [15, 0], 1, {
    measure: { stat: 'increase', windowSeconds: 3600, per: 'pumped_volume_m3', baselinePercent: true },
    modes: pumping,
    failureMode: 'CP-03',
  }),
  high(BP, 'main_pressure_bar.high_mean', [300, 10], null, 10, {
    measure: { stat: 'mean', windowSeconds: 10 },
    modes: pumpingAndReverse,
    failureMode: 'CP-07',
  }),
  high(BP, 'main_pressure_bar.relief', null, [320, 12], 10, {
    modes: pumpingAndReverse,
    inclusive: true,
    failureMode: 'CP-07',
  }),
  low(BP, 'accumulator_pressure_bar.low', [140, 15], [120, 15], 6, { modes: pumpingAndReverse, failureMode: 'CP-02' }),
  high(BP, 'accumulator_pressure_bar.dip', [50, 15], null, 1.5, {
    measure: { stat: 'range', windowSeconds: 10 },
    modes: pumpingAndReverse,
    failureMode: 'CP-02',
  }),
  low(BP, 'accumulator_precharge_bar.low', [0.85, 0], [0.7, 0], 0.03, {
    measure: rated('accumulator_precharge_nominal_bar'),
    failureMode: 'CP-02',
  }),
  high(BP, 's_valve_shift_time_ms.high', [420, 15], [600, 15], 20, { failureMode: 'CP-02' }),
  high(BP, 'boom_pressure_bar.high', [330, 15], [350, 15], 10),
  high(BP, 'boom_tip_accel_g.high', [0.3, 60], [0.45, 60], 0.03, { failureMode: 'CP-09' }),
  high(BP, 'slew_pressure_bar.above_baseline', [25, 0], [50, 0], 3, { measure: changeOver2min, failureMode: 'CP-11' }),
  ...[1, 2, 3, 4].map((leg) =>
    low(BP, `outrigger_pressure_bar_${leg}.sinking`, [-15, 15], null, 3, {
      measure: { startPercent: true, windowSeconds: 3600, restart: true },
      when: [{ signal: `outrigger_pressure_bar_${leg}`, above: 30 }],
      failureMode: 'CP-14',
    }),
  ),
  high(BP, 'tilt_deg.high', [2, 15], [3, 15], 0.2, { failureMode: 'CP-14' }),
  low(BP, 'tilt_deg.low', [-2, 15], [-3, 15], 0.2, { failureMode: 'CP-14' }),
  high(BP, 'agitator_pressure_bar.high', [130, 15], [160, 15], 5, { failureMode: 'CP-12' }),
  high(BP, 'agitator_reversals_h.high', [20, 60], [40, 60], 2, { failureMode: 'CP-12' }),
  high(BP, 'water_box_temp_c.above_ambient', [35, 60], null, 3, {
    measure: { difference: 'ambient_temp_c' },
    failureMode: 'CP-04',
  }),
  high(BP, 'water_box_temp_c.high', null, [70, 60], 3, { failureMode: 'CP-04' }),
  high(BP, 'water_box_turbidity_ntu.high', [600, 60], [1500, 60], 60, { failureMode: 'CP-04' }),
  low(BP, 'lube_pressure_bar.no_peak_30_min', [80, 0], null, 5, {
    measure: { stat: 'max', windowSeconds: 1800 },
    modes: pumping,
    failureMode: 'CP-13',
  }),
  low(BP, 'lube_pressure_bar.no_peak_60_min', null, [80, 0], 5, {
    measure: { stat: 'max', windowSeconds: 3600 },
    modes: pumping,
    failureMode: 'CP-13',
  }),
  low(BP, 'remote_link_quality_pct.low', [50, 15], null, 3),
  low(BP, 'remote_link_quality_pct.lost', null, [1, 2], 3, { modes: ['setup', 'pumping', 'reverse', 'folding'] }),
  // cranes
  high(CRANES, 'load_moment_pct.high', [90, 3], [100, 1], 3, { inclusive: true }),
  high(HYDRAULIC_CRANES, 'wind_speed_m_s.high', [9, 10], [13.8, 3], 1),
  high(TC, 'wind_speed_m_s.high', [9, 10], [10.8, 3], 1, { inclusive: true }),
  high(CRANES, 'overload_events.within_24_h', [1, 0], [3, 0], 0, {
    measure: { stat: 'increase', windowSeconds: 86_400 },
    inclusive: true,
  }),
  high(HYDRAULIC_CRANES, 'hoist_pressure_bar.above_baseline', [20, 15], [35, 15], 3, {
    measure: { ...changeWithinLift, like: [{ signal: 'load_t', band: 2 }] },
    modes: ['lifting'],
  }),
  high(TC, 'hoist_current_a.above_baseline', [20, 15], [35, 15], 3, {
    measure: { ...changeWithinLift, like: [{ signal: 'load_t', band: 0.5 }] },
    modes: ['lifting'],
  }),
  high(TC, 'hoist_current_a.over_rated', null, [1.15, 60], 0.03, { measure: rated('hoist_rated_current_a') }),
  high(CRANES, 'hoist_gearbox_temp_c.high', [80, 60], [95, 60], 3),
  high(HYDRAULIC_CRANES, 'hoist_gearbox_vib_mm_s.high', [4.5, 300], [7.1, 60], 0.45, { failureMode: 'MC-01' }),
  high(TC, 'hoist_gearbox_vib_mm_s.high', [4.5, 300], [7.1, 60], 0.45, { failureMode: 'TC-05' }),
  high(HYDRAULIC_CRANES, 'hoist_gearbox_vib_env_g.high', [3, 300], [6, 60], 0.3, { failureMode: 'MC-01' }),
  high(TC, 'hoist_gearbox_vib_env_g.high', [3, 300], [6, 60], 0.3, { failureMode: 'TC-05' }),
  high(HYDRAULIC_CRANES, 'brake_hold_drift_mm_min.high', [10, 0], [50, 0], 1, { failureMode: 'MC-02' }),
  high(TC, 'brake_hold_drift_mm_min.high', [10, 0], [50, 0], 1, { failureMode: 'TC-04' }),
  low(HYDRAULIC_CRANES, 'brake_release_pressure_bar.low', [22, 15], [18, 15], 1, { failureMode: 'MC-02' }),
  high(CRANES, 'brake_temp_c.high', [180, 60], [250, 60], 3),
  high(HYDRAULIC_CRANES, 'slew_pressure_bar.above_baseline', [25, 0], [50, 0], 3, {
    measure: changeOver2min,
    modes: ['slewing'],
    failureMode: 'MC-04',
  }),
  high(TC, 'slew_current_a.above_baseline', [25, 0], [50, 0], 3, {
    measure: changeOver2min,
    modes: ['slewing'],
    failureMode: 'TC-06',
  }),
  high([...HYDRAULIC, ...TC], 'slew_bearing_tilt_mm.rise', [1, 0], [1.5, 0], 0.1, {
    measure: { baselineDifference: true },
  }),
  high([...HYDRAULIC, ...TC], 'grease_fe_ppm.high', [2500, 0], [5000, 0], 75),
  high([...HYDRAULIC, ...TC], 'grease_fe_ppm.doubling', null, [2, 0], 0.1, {
    measure: { baselineFactor: true },
    inclusive: true,
    when: [{ signal: 'grease_fe_ppm', above: 1000 }],
  }),
  low(CRANES, 'rope_diameter_mm.low', [0.96, 0], [0.95, 0], 0.005, {
    measure: rated('rope_nominal_diameter_mm'),
    inclusive: true,
  }),
  high(CRANES, 'rope_broken_wires_6d.high', [0.8, 0], [1, 0], 0.05, {
    measure: rated('rope_discard_wires_6d'),
    inclusive: true,
  }),
  high(CRANES, 'rope_broken_wires_30d.high', [0.8, 0], [1, 0], 0.05, {
    measure: rated('rope_discard_wires_30d'),
    inclusive: true,
  }),
  ...[1, 2, 3, 4].map((leg) =>
    low(MC, `outrigger_force_kn_${leg}.low`, null, [1, 15], 1, { modes: working, failureMode: 'MC-08' }),
  ),
  high(MC, 'level_deg.high', [0.5, 15], [1, 15], 0.1, { modes: working, failureMode: 'MC-08' }),
  low(MC, 'level_deg.low', [-0.5, 15], [-1, 15], 0.1, { modes: working, failureMode: 'MC-08' }),
  low(HYDRAULIC_CRANES, 'pilot_pressure_bar.low', [27, 15], [22, 15], 1, { when: [running] }),
  low(TC, 'supply_voltage_v.low', [342, 15], [323, 15], 5, {
    when: [{ signal: 'supply_voltage_v', above: 100 }],
    failureMode: 'TC-10',
  }),
  high(TC, 'supply_voltage_v.high', [418, 15], null, 5, { failureMode: 'TC-10' }),
  high(TC, 'voltage_unbalance_pct.high', [2, 15], [3.5, 15], 0.2, { failureMode: 'TC-10' }),
  high(TC, 'motor_winding_temp_c.high', [130, 60], [150, 60], 3, { failureMode: 'TC-02' }),
  high(TC, 'vfd_heatsink_temp_c.high', [80, 60], [90, 60], 3, { failureMode: 'TC-03' }),
  high(TC, 'mast_tilt_mm_m.high', [3, 60], [4, 60], 0.2, { failureMode: 'TC-07' }),
  low(TC, 'mast_tilt_mm_m.low', [-3, 60], [-4, 60], 0.2, { failureMode: 'TC-07' }),
  high(TC, 'trolley_current_a.above_baseline', [25, 0], [50, 0], 3, { failureMode: 'TC-08' }),
  high(TC, 'motor_vib_rms_mm_s.high', [4.5, 300], [7.1, 60], 0.45, { failureMode: 'TC-01' }),
  high(TC, 'motor_vib_env_g.high', [3, 300], [6, 60], 0.3, { failureMode: 'TC-01' }),
  high(['crawler_crane'], 'travel_pressure_bar_2.gap', [20, 15], [40, 15], 3, { failureMode: 'MC-10' }),
  // excavator
  ...[1, 2].flatMap((pump) => [
    high(EX, `pump${pump}_pressure_bar.at_relief`, [20, 15], null, 2, {
      measure: { stat: 'share_above', level: 340, windowSeconds: 600 },
    }),
    low(EX, `pump${pump}_relief_test_bar.low`, null, [0.9, 0], 0.02, {
      measure: rated('relief_pressure_bar'),
      failureMode: 'EX-01',
    }),
    high(EX, `final_drive_temp_c_${pump}.high`, [90, 60], [105, 60], 3, { failureMode: 'EX-03' }),
  ]),
  low(EX, 'pilot_pressure_bar.low', [29, 15], [25, 15], 1, { when: [running], failureMode: 'EX-07' }),
  high(EX, 'swing_pressure_bar.above_baseline', [15, 0], [30, 0], 2, {
    measure: changeOver2min,
    modes: ['loaded_swing', 'return_swing'],
    failureMode: 'EX-02',
  }),
  high(EX, 'travel_pressure_bar_2.gap', [20, 15], [40, 15], 3, {
    measure: { stat: 'mean', windowSeconds: 30, gapPercent: 'travel_pressure_bar_1' },
    modes: ['travelling'],
    failureMode: 'EX-03',
  }),
  high(EX, 'cycle_time_s.above_baseline', [15, 0], [30, 0], 2, {
    measure: { baselinePercent: true },
    failureMode: 'EX-01',
  }),
  high(EX, 'swing_time_180_s.high', [1.2, 0], [1.4, 0], 0.03, {
    measure: rated('swing_time_180_nominal_s'),
    failureMode: 'EX-02',
  }),
  high(EX, 'swing_5turns_s.high', [1.2, 0], [1.4, 0], 0.03, {
    measure: rated('swing_5turns_nominal_s'),
    failureMode: 'EX-02',
  }),
  high(EX, 'boom_drift_mm_5min.high', [30, 0], [60, 0], 3, { failureMode: 'EX-04' }),
  high(EX, 'swing_gearbox_temp_c.high', [90, 60], [105, 60], 3, { failureMode: 'EX-02' }),
  high(EX, 'slew_bearing_vib_g.above_baseline', [2, 300], [4, 60], 0.2, {
    measure: { baselineFactor: true },
    inclusive: true,
    failureMode: 'EX-08',
  }),
  low(EX, 'oil_cooler_dt_k.low', [5, 60], [3, 60], 0.5, {
    when: [{ signal: 'hyd_oil_temp_c', above: 70 }, notOff],
    failureMode: 'EX-05',
  }),
  high(EX, 'track_slack_mm.high', [350, 0], [380, 0], 5, { failureMode: 'EX-09' }),
  low(EX, 'track_slack_mm.low', [240, 0], [210, 0], 5, { failureMode: 'EX-09' }),
  ...['pitch_deg', 'roll_deg'].flatMap((signal) => [
    high(EX, `${signal}.high`, [25, 5], [30, 5], 1),
    low(EX, `${signal}.low`, [-25, 5], [-30, 5], 1),
  ]),
]

for (const { types, rule, ...limit } of limits) {
  test(`limit ${rule} of ${types.join(', ')}`, () => {
    for (const type of types) {
      const found = typeOf(type).rules.get(rule)
      const level = (key: 'warn' | 'critical') => found?.[key] && [found[key].limit, found[key].onDelaySeconds]
      expect(found, type).toBeDefined()
      expect(level('warn') ?? null, type).toEqual(limit.warn)
      expect(level('critical') ?? null, type).toEqual(limit.critical)
      expect(found, type).toMatchObject({
        offDelaySeconds: 60,
        direction: limit.direction,
        deadband: limit.deadband,
        inclusive: limit.inclusive ?? false,
      })
      for (const key of ['measure', 'modes', 'when', 'failureMode'] as const)
        if (limit[key]) expect(found?.[key]).toEqual(limit[key])
    }
  })
}

test('every rule of every type is one of those above', () => {
  const known = new Set(limits.flatMap(({ types, rule }) => types.map((type) => `${type} ${rule}`)))
  // a hook block weighs what it weighs, a test weight too: within 5 %
  const shown = /^\w+_crane (empty_hook_load_t|test_load_error_pct)\.(high|low)$/
  const others = [...catalogue.types].flatMap(([type, { rules }]) => [...rules.keys()].map((rule) => `${type} ${rule}`))
  expect(others.filter((rule) => !known.has(rule) && !shown.test(rule))).toEqual([])
})

const common = `engine_speed_rpm engine_load_pct coolant_temp_c coolant_level_pct engine_oil_pressure_kpa engine_oil_temp_c
  boost_pressure_kpa air_filter_dp_kpa fuel_rate_l_h fuel_level_pct def_level_pct battery_voltage_v dpf_soot_pct ambient_temp_c
  hyd_oil_temp_c hyd_oil_level_pct return_filter_dp_bar case_drain_flow_l_min pump_vib_rms_mm_s pump_vib_kurtosis pump_vib_env_g
  oil_particles_iso4406_4um oil_particles_iso4406_6um oil_particles_iso4406_14um oil_water_saturation_pct engine_hours_h idle_hours_h
  pto_hours_h latitude longitude gnss_fix rssi_dbm`
const crane = `load_t load_moment_pct radius_m boom_length_m boom_angle_deg hook_height_m slew_angle_deg slew_speed_rpm wind_speed_m_s
  lift_cycles hoist_hours_h overload_events hoist_gearbox_temp_c hoist_gearbox_vib_mm_s hoist_gearbox_vib_env_g
  brake_hold_drift_mm_min brake_temp_c slew_bearing_tilt_mm grease_fe_ppm rope_diameter_mm rope_broken_wires_6d
  rope_broken_wires_30d swing_hours_h`
const hydraulicCrane =
  'hoist_pressure_bar brake_release_pressure_bar slew_pressure_bar pilot_pressure_bar main_pressure_bar'
for (const { types, signals } of [
  { types: ENGINE_DRIVEN, signals: common },
  {
    types: BP,
    signals: `stroke_rate_min stroke_count pumped_volume_m3 main_pressure_bar accumulator_pressure_bar accumulator_precharge_bar
      s_valve_shift_time_ms boom_pressure_bar boom_angle_deg_1 boom_angle_deg_2 boom_angle_deg_3 boom_angle_deg_4 boom_angle_deg_5
      boom_angle_deg_6 slew_angle_deg boom_tip_accel_g slew_pressure_bar outrigger_pressure_bar_1 outrigger_pressure_bar_2
      outrigger_pressure_bar_3 outrigger_pressure_bar_4 tilt_deg agitator_pressure_bar agitator_reversals_h water_box_temp_c
      water_box_turbidity_ntu lube_pressure_bar lube_cycles_h pto_engaged remote_link_quality_pct pumping_hours_h`,
  },
  { types: CRANES, signals: crane },
  { types: HYDRAULIC_CRANES, signals: hydraulicCrane },
  {
    types: MC,
    signals: 'outrigger_force_kn_1 outrigger_force_kn_2 outrigger_force_kn_3 outrigger_force_kn_4 level_deg',
  },
  {
    types: TC,
    signals: `hoist_current_a slew_current_a supply_voltage_v voltage_unbalance_pct motor_winding_temp_c vfd_heatsink_temp_c
      mast_tilt_mm_m trolley_current_a trolley_position_m`,
  },
  {
    types: EX,
    signals: `pump1_pressure_bar pump2_pressure_bar pilot_pressure_bar swing_pressure_bar travel_pressure_bar_1 travel_pressure_bar_2
      cycle_time_s swing_time_180_s swing_5turns_s boom_drift_mm_5min swing_gearbox_temp_c final_drive_temp_c_1 final_drive_temp_c_2
      slew_bearing_vib_g fan_speed_rpm oil_cooler_dt_k track_slack_mm work_mode auto_idle breaker_hours_h pitch_deg roll_deg`,
  },
]) {
  test(`all signals of ${types.join(', ')}`, () => {
    for (const type of types)
      for (const name of signals.split(/\s+/)) expect([...typeOf(type).signals.keys()]).toContain(name)
  })
}

test('what cannot be is not plausible, what a fault makes is', () => {
  const generic = typeOf('generic')
  const plausible = (name: string, value: number) => {
    const [from, to] = generic.signals.get(name)?.plausible ?? [Number.NaN, Number.NaN]
    return value >= from && value <= to
  }
  for (const code of [211, 212, 213, 214, 215]) expect(plausible('coolant_temp_c', code), `${code} °C`).toBe(false)
  expect(plausible('coolant_temp_c', 140)).toBe(true)
  expect(plausible('hyd_oil_temp_c', 97)).toBe(true)
  expect(plausible('engine_hours_h', 214_748_364)).toBe(false)
  expect(plausible('engine_hours_h', 4_294_967_295 * 0.05)).toBe(false)
  expect(plausible('engine_hours_h', 199_999)).toBe(true)
  for (const { signals } of catalogue.types.values()) {
    for (const [name, { plausible: range, counter }] of signals) {
      if (name.endsWith('_hours_h')) expect([name, ...range, counter]).toEqual([name, 0, 200_000, true])
    }
  }
})

test('J1939 resolutions and offsets', () => {
  const found = [...typeOf('generic').signals].flatMap(([name, { j1939 }]) =>
    j1939 ? [[j1939.spn, name, j1939.resolution, j1939.offset, j1939.bytes]] : [],
  )
  expect(found.sort(([a], [b]) => Number(a) - Number(b))).toEqual(
    [
      [84, 'vehicle_speed_km_h', 1 / 256, 0, 2],
      [91, 'accelerator_pedal_pct', 0.4, 0, 1],
      [92, 'engine_load_pct', 1, 0, 1],
      [94, 'fuel_delivery_pressure_kpa', 4, 0, 1],
      [96, 'fuel_level_pct', 0.4, 0, 1],
      [98, 'engine_oil_level_pct', 0.4, 0, 1],
      [99, 'engine_oil_filter_dp_kpa', 0.5, 0, 1],
      [22, 'crankcase_blowby_kpa', 0.05, 0, 1],
      [100, 'engine_oil_pressure_kpa', 4, 0, 1],
      [102, 'boost_pressure_kpa', 2, 0, 1],
      [105, 'intake_manifold_temp_c', 1, -40, 1],
      [107, 'air_filter_dp_kpa', 0.05, 0, 1],
      [108, 'barometric_pressure_kpa', 0.5, 0, 1],
      [109, 'coolant_pressure_kpa', 2, 0, 1],
      [110, 'coolant_temp_c', 1, -40, 1],
      [111, 'coolant_level_pct', 0.4, 0, 1],
      [158, 'key_switch_voltage_v', 0.05, 0, 2],
      [168, 'battery_voltage_v', 0.05, 0, 2],
      [171, 'ambient_temp_c', 0.03125, -273, 2],
      [173, 'exhaust_temp_c', 0.03125, -273, 2],
      [174, 'fuel_temp_c', 1, -40, 1],
      [175, 'engine_oil_temp_c', 0.03125, -273, 2],
      [183, 'fuel_rate_l_h', 0.05, 0, 2],
      [190, 'engine_speed_rpm', 0.125, 0, 2],
      [235, 'idle_hours_h', 0.05, 0, 4],
      [246, 'vehicle_hours_h', 0.05, 0, 4],
      [247, 'engine_hours_h', 0.05, 0, 4],
      [250, 'fuel_used_l', 0.5, 0, 4],
      [513, 'engine_torque_pct', 1, -125, 1],
      [1638, 'hyd_oil_temp_c', 1, -40, 1],
      [1761, 'def_level_pct', 0.4, 0, 1],
      [1762, 'hydraulic_pressure_kpa', 2, 0, 2],
      [2602, 'hyd_oil_level_pct', 0.4, 0, 1],
      [3251, 'dpf_dp_kpa', 0.1, 0, 2],
      [3719, 'dpf_soot_pct', 1, 0, 1],
      [3720, 'dpf_ash_pct', 1, 0, 1],
    ].sort(([a], [b]) => Number(a) - Number(b)),
  )
})

test('modes of each type', () => {
  const modes = (type: string) => [...typeOf(type).modes.keys()].sort().join(' ')
  expect(modes('boom_pump')).toBe('cleaning folding off pumping reverse setup standby transit')
  for (const type of HYDRAULIC_CRANES)
    expect(modes(type)).toBe('holding idle lifting luffing off rigging slewing transit')
  expect(modes('tower_crane')).toBe('holding idle lifting luffing off rigging slewing weathervane')
  expect(modes('excavator')).toBe(
    'breaking digging dumping idle levelling lifting loaded_swing off return_swing travelling',
  )
  expect(catalogue.modeCodes.get('off')).toBe(0)
  expect(new Set(catalogue.modeCodes.values()).size).toBe(catalogue.modeCodes.size)
})

test('every limit that is bound to modes is meant in one that follows from signals', () => {
  const blind = TYPES.flatMap((type) => {
    const { modeFrom, rules, signals } = typeOf(type)
    const told = new Set(modeFrom.map(({ mode }) => mode))
    return [...rules.values()]
      .filter((rule) =>
        [rule.modes, signals.get(rule.signal)?.modes].some((modes) => modes?.every((m) => !told.has(m))),
      )
      .map(({ id }) => `${type} ${id}`)
  })
  expect(blind).toEqual([])
})

describe('a machine on tracks travels when either track is driven', () => {
  for (const { type, mode } of [
    { type: 'crawler_crane', mode: 'transit' },
    { type: 'excavator', mode: 'travelling' },
  ]) {
    for (const track of ['travel_pressure_bar_1', 'travel_pressure_bar_2']) {
      test(`${track} of ${type}`, () => {
        const picture = machinePicture(typeOf(type))
        const values = new Map([
          ['engine_speed_rpm', 1500],
          [track, 200],
        ])
        const at = Date.UTC(2026, 0, 5, 8)
        picture.take({ device: 'm-1', machine: 'm-1', measuredAt: at, receivedAt: at, seq: undefined, values })
        expect(picture.mode(at)).toBe(mode)
      })
    }
  }
})

test('service counters with their fallbacks', () => {
  const counters = (type: string) => typeOf(type).serviceCounter.signals
  expect(counters('boom_pump')).toEqual(['pumping_hours_h', 'pto_hours_h', 'engine_hours_h'])
  expect(typeOf('boom_pump').serviceCounter.volume).toBe('pumped_volume_m3')
  expect(counters('tower_crane')).toEqual(['hoist_hours_h', 'power_on_hours_h'])
  for (const type of ['generic', 'excavator', ...HYDRAULIC_CRANES]) expect(counters(type)).toEqual(['engine_hours_h'])
})

const electrical = ['EN-09', 'EN-10']
const engine = ['EN-01', 'EN-02', 'EN-03', 'EN-04', 'EN-05', 'EN-06', 'EN-07', 'EN-08']
const codes = (prefix: string, ...numbers: number[]) =>
  numbers.map((number) => `${prefix}-${String(number).padStart(2, '0')}`)
for (const { type, modes } of [
  { type: 'generic', modes: engine },
  { type: 'boom_pump', modes: [...engine, ...codes('CP', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)] },
  { type: 'mobile_crane', modes: [...engine, ...codes('MC', 1, 2, 3, 4, 5, 6, 7, 8, 9)] },
  { type: 'crawler_crane', modes: [...engine, ...codes('MC', 1, 2, 3, 4, 5, 6, 7, 9, 10)] },
  { type: 'tower_crane', modes: codes('TC', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10) },
  { type: 'excavator', modes: [...engine, ...codes('EX', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)] },
]) {
  test(`failure modes of ${type}`, () => {
    expect([...typeOf(type).failureModes.keys()].sort()).toEqual([...modes, ...electrical].sort())
  })
}

test('severity, law and time to failure of each failure mode', () => {
  const found = new Map<string, string>()
  for (const { failureModes } of catalogue.types.values()) {
    for (const [code, { severity, law }] of failureModes) {
      const reach = [
        law.hours?.join('–'),
        law.m3 && `${law.m3.join('–')} m³`,
        law.also && `or ${law.also.kind}`,
      ].filter(Boolean)
      found.set(code, [severity.warn, severity.critical, law.kind, ...reach].join(' '))
    }
  }
  expect([...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([code, text]) => `${code} ${text}`)).toEqual([
    'CP-01 S2 S3 power 300–800',
    'CP-02 S2 S3 linear 100–400 or step',
    'CP-03 S2 S2 linear 150–250 5000–8000 m³',
    'CP-04 S2 S2 exponential 50–100 1500–3000 m³',
    'CP-05 S2 S3 linear 60–200 or step',
    'CP-06 S2 S2 exponential 50–150',
    'CP-07 S2 S3 step or shock',
    'CP-08 S2 S4 linear 5000–20000 m³',
    'CP-09 S2 S4 power 500–1500',
    'CP-10 S2 S4 linear 100–400',
    'CP-11 S2 S3 power 500–1500',
    'CP-12 S2 S2 exponential 30–200',
    'CP-13 S2 S2 step 20–60',
    'CP-14 S2 S4 linear 0.5–3',
    'EN-01 S2 S3 linear 100–300',
    'EN-02 S2 S3 linear 20–100 or step',
    'EN-03 S2 S4 power 100–400',
    'EN-04 S2 S2 exponential 50–200',
    'EN-05 S2 S3 power 150–500',
    'EN-06 S2 S2 exponential 30–150',
    'EN-07 S2 S3 linear 50–150',
    'EN-08 S2 S3 linear 30–200',
    'EN-09 S1 S3 intermittent',
    'EN-10 S1 S1 step',
    'EX-01 S2 S3 power 300–900',
    'EX-02 S2 S3 power 300–1000',
    'EX-03 S2 S3 power 200–800',
    'EX-04 S2 S2 linear 100–400',
    'EX-05 S2 S3 linear 60–250 or step',
    'EX-06 S2 S2 exponential 50–300',
    'EX-07 S2 S3 linear 100–400',
    'EX-08 S2 S3 power 1000–3000',
    'EX-09 S2 S2 linear 1500–3000',
    'EX-10 S2 S2 linear 300–900',
    'EX-11 S1 S1 linear 100–300',
    'EX-12 S2 S4 step',
    'MC-01 S2 S4 exponential 300–1000',
    'MC-02 S2 S4 power 50–300',
    'MC-03 S2 S4 exponential 100–400',
    'MC-04 S2 S4 power 1000–3000',
    'MC-05 S2 S4 linear 100–500',
    'MC-06 S2 S3 power 300–800',
    'MC-07 S2 S3 power 400–1200',
    'MC-08 S2 S4 linear 0.5–4',
    'MC-09 S2 S3 linear 200–800',
    'MC-10 S2 S2 linear 500–1500',
    'TC-01 S2 S3 exponential 300–1000',
    'TC-02 S2 S3 power 50–300',
    'TC-03 S2 S3 shock 50–400',
    'TC-04 S2 S4 linear 200–600',
    'TC-05 S2 S4 exponential 300–1000',
    'TC-06 S2 S3 power 300–900',
    'TC-07 S2 S4 power 50–300 or shock',
    'TC-08 S2 S3 linear 200–600',
    'TC-09 S2 S4 linear 300–1000',
    'TC-10 S2 S2 intermittent 20–200',
  ])
})

test('a mode carries its effects into signals that the type has', () => {
  const effect = (type: string, code: string, signal: string) =>
    typeOf(type)
      .failureModes.get(code)
      ?.effects.find((one) => one.signal === signal)
  expect(effect('boom_pump', 'CP-01', 'case_drain_flow_l_min')?.factor).toBe(4)
  expect(effect('boom_pump', 'CP-02', 's_valve_shift_time_ms')?.factor).toBe(2.6)
  expect(effect('boom_pump', 'CP-05', 'hyd_oil_temp_c')?.add).toBe(25)
  expect(effect('excavator', 'EN-03', 'engine_oil_pressure_kpa')?.factor).toBe(0.6)
  expect(effect('excavator', 'EX-02', 'swing_time_180_s')?.factor).toBe(1.4)
  expect(effect('mobile_crane', 'MC-02', 'brake_hold_drift_mm_min')?.add).toBe(59)
  expect(effect('tower_crane', 'TC-01', 'motor_vib_rms_mm_s')?.factor).toBe(3)
})

test('parts of a mode have class, quantity and unit; only a blockage needs none', () => {
  const without = new Set<string>()
  for (const { failureModes } of catalogue.types.values()) {
    for (const [code, { parts }] of failureModes) if (parts.length === 0) without.add(code)
  }
  expect([...without]).toEqual(['CP-07'])
  const plates = typeOf('boom_pump')
    .failureModes.get('CP-03')
    ?.parts.map((part) => part.class)
  expect(plates).toEqual(['A', 'A', 'A'])
})

test('whatever tells of a worn main pump is one cause, so that it becomes one job', () => {
  const pumps = { boom_pump: 'CP-01', mobile_crane: 'MC-06', crawler_crane: 'MC-06', excavator: 'EX-01' }
  const signals = ['case_drain_flow_l_min', 'pump_vib_rms_mm_s', 'pump_vib_kurtosis', 'pump_vib_env_g']
  for (const [type, code] of Object.entries(pumps))
    for (const signal of signals)
      expect(typeOf(type).rules.get(`${signal}.high`)?.failureMode, `${type} ${signal}`).toBe(code)
})

test('a limit has the severity of its failure mode', () => {
  const severities = (type: string, id: string) => {
    const profile = typeOf(type)
    const rule = profile.rules.get(id)
    return rule && [ruleSeverity(profile, rule, 'warn'), ruleSeverity(profile, rule, 'critical')]
  }
  expect(severities('boom_pump', 'hyd_oil_temp_c.high')).toEqual(['S2', 'S3'])
  expect(severities('generic', 'hyd_oil_temp_c.high')).toEqual(['S2', 'S3'])
  expect(severities('generic', 'engine_oil_pressure_kpa.low')).toEqual(['S2', 'S4'])
  expect(severities('generic', 'air_filter_dp_kpa.high')).toEqual(['S2', 'S2'])
  expect(severities('generic', 'rssi_dbm.low')).toEqual(['S1', 'S1'])
})

/** Performer, one-time points, interval, calendar, labour hours. */
const programme: Record<string, { types: readonly string[]; plan: string }> = {
  DAILY: { types: TYPES, plan: 'operator every 10 hours or 1 days, 0.3 h' },
  GREASE_50: { types: TYPES, plan: 'operator every 50 hours or 1 weeks, 0.5 h' },
  SPOT_INSPECTION: {
    types: TYPES,
    plan: 'service at 100 hours, 250 hours, 500 hours, 1000 hours, 2000 hours, 3000 hours, 4000 hours, 5000 hours, 6000 hours, 7500 hours, 9000 hours, 10000 hours, 2 h',
  },
  CALENDAR_INSPECTION: { types: TYPES, plan: 'service at 1 months, 3 months, 6 months every 1 years, 2 h' },
  WARRANTY_END: { types: TYPES, plan: 'service at 2900 hours or 11 months, 4 h' },
  MAJOR_10000: { types: TYPES, plan: 'service every 10000 hours, 40 h' },
  GREASE_SLEW: { types: [...HYDRAULIC, ...TC], plan: 'operator every 100 hours or 6 months, 0.5 h' },
  BOLT_SLEW: { types: [...HYDRAULIC, ...TC], plan: 'service at 100 hours every 500 hours or 12 months, 2 h' },
  RUNIN_100: { types: HYDRAULIC, plan: 'service at 100 hours, 4 h' },
  ENG_250: { types: [...BP, ...HYDRAULIC_CRANES], plan: 'service every 250 hours or 6 months, 1 h' },
  FUEL_500: { types: HYDRAULIC, plan: 'service every 500 hours or 3 months, 1.5 h' },
  HYD_FILTER_1000: { types: HYDRAULIC, plan: 'service every 1000 hours or 6 months, 2 h' },
  AIR_1000_OUTER: { types: HYDRAULIC, plan: 'service every 1000 hours or 12 months, 0.5 h' },
  AIR_1000_INNER: { types: HYDRAULIC, plan: 'service every 2000 hours or 12 months, 0.5 h' },
  SWING_GEAR: { types: HYDRAULIC, plan: 'service at 250 hours every 1000 hours or 12 months, 2 h' },
  HYD_OIL: { types: HYDRAULIC, plan: 'service every 2000 hours or 24 months, 6 h' },
  COOLANT: { types: HYDRAULIC, plan: 'service every 4000 hours or 24 months, 3 h' },
  VALVE_ADJ: { types: HYDRAULIC, plan: 'service every 2000 hours, 6 h' },
  HOSE_6Y: { types: HYDRAULIC, plan: 'service every 4000 hours or 6 years, 16 h' },
  PUMP_REVIEW: { types: HYDRAULIC, plan: 'service at 5000 hours, 8000 hours, 10000 hours, 4 h' },
  ACC_CHECK: { types: BP, plan: 'service at 1 weeks, 1 months every 3 months, 1 h' },
  CONC_2000M3: { types: BP, plan: 'customer every 2000 m3 or 1 months, 2 h' },
  CONC_12000M3: { types: BP, plan: 'service every 12000 m3 or 6 months, 6 h' },
  CONC_24000M3: { types: BP, plan: 'service every 24000 m3 or 12 months, 16 h' },
  WEAR_SET_PISTONS: { types: BP, plan: 'service every 15000 m3, 3 h' },
  WEAR_SET_PLATES: { types: BP, plan: 'service every 30000 m3, 4 h' },
  BOOM_TEST_VISUAL: { types: BP, plan: 'operator every 2 weeks, 1 h' },
  BOOM_TEST_LOAD: { types: BP, plan: 'service every 1 months, 2 h' },
  BOOM_TEST_DYNAMIC: { types: BP, plan: 'service every 3 months, 4 h' },
  BOOM_TEST_MAGNETIC: { types: BP, plan: 'service every 12 months, 16 h' },
  HOIST_GEAR: { types: CRANES, plan: 'service at 200 hours every 1000 hours or 12 months, 3 h' },
  HOIST_INSPECT: { types: HYDRAULIC_CRANES, plan: 'service every 12 months, 12 h' },
  ROPE_MONTHLY: { types: CRANES, plan: 'customer every 1 months, 1.5 h' },
  TC_1000: { types: TC, plan: 'service every 1000 hours, 16 h' },
  TC_4000: { types: TC, plan: 'service every 4000 hours, 60 h' },
  TC_8000: { types: TC, plan: 'service every 8000 hours, 200 h' },
  MAST_BOLT: { types: TC, plan: 'service at 100 hours every 500 hours or 1 months, 4 h' },
  FINAL_2000: { types: EX, plan: 'service at 250 hours every 2000 hours or 24 months, 2 h' },
}

function planOf(profile: Profile, id: string): string | undefined {
  const task = profile.tasks.get(id)
  if (!task) return undefined
  const span = (value: object) =>
    Object.entries(value)
      .map(([unit, amount]) => `${amount} ${unit}`)
      .join(' or ')
  const points = task.points.length > 0 ? ` at ${task.points.map(span).join(', ')}` : ''
  const intervals = [task.every, task.calendar].filter((one) => one !== undefined).map(span)
  return `${task.performer}${points}${intervals.length > 0 ? ` every ${intervals.join(' or ')}` : ''}, ${task.labourHours} h`
}

for (const [id, { types, plan }] of Object.entries(programme)) {
  test(`task ${id}`, () => {
    for (const type of types) expect(planOf(typeOf(type), id), type).toBe(plan)
  })
}

test('an excavator changes its engine oil at 250 h and then every 500 h', () => {
  expect(planOf(typeOf('excavator'), 'ENG_250')).toBe('service at 250 hours every 500 hours or 6 months, 1 h')
})

test('no type has a task that is not in the programme', () => {
  for (const [type, { tasks }] of catalogue.types) {
    const meant = Object.entries(programme).filter(
      ([id, { types }]) => types.includes(type) || (id === 'ENG_250' && type === 'excavator'),
    )
    expect([...tasks.keys()].sort(), type).toEqual(meant.map(([id]) => id).sort())
  }
})

test('the first two spot inspections have a window of −20/+30 h, the others −50/+50 h', () => {
  const window = typeOf('generic').tasks.get('SPOT_INSPECTION')?.window ?? []
  expect(window.map(({ beforeHours, afterHours }) => [beforeHours, afterHours])).toEqual([
    [20, 30],
    [20, 30],
    ...Array.from({ length: 10 }, () => [50, 50]),
  ])
})

test('models have the ratings that limits are fractions of', () => {
  expect(catalogue.models.get('bp-52')?.parameters.get('main_pump_max_flow_l_min')).toBe(380)
  expect(catalogue.models.get('tc-6015')?.parameters.get('hoist_rated_current_a')).toBe(68)
  expect(catalogue.models.get('bp-38')?.signals.has('boom_angle_deg_5')).toBe(false)
  expect(catalogue.models.get('bp-38')?.signals.has('boom_angle_deg_4')).toBe(true)
})
