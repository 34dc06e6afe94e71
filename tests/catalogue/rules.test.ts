import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadCatalogue } from '../../src/catalogue/load.ts'
import {
  effectiveRules,
  overrideFault,
  type RuleOverride,
  ruleSeverity,
  touchesSafety,
} from '../../src/catalogue/rules.ts'
import { projectRoot } from '../../src/root.ts'

const catalogue = loadCatalogue(join(projectRoot, 'catalogue'))
const machine = { id: 'bp-1', type: 'boom_pump', model: 'bp-52', site: 'north' }
const profile = catalogue.profile(machine.type, machine.model)
const now = Date.UTC(2026, 0, 1)
const OIL = 'hyd_oil_temp_c.high'

function override(change: Partial<RuleOverride>): RuleOverride {
  return { scope: 'machine', scopeId: 'bp-1', rule: OIL, parameter: 'warn.limit', value: 82, ...change }
}

function warnLimit(...overrides: RuleOverride[]): number | undefined {
  return effectiveRules(profile, overrides, machine, now).get(OIL)?.warn?.limit
}

const type = override({ scope: 'type', scopeId: 'boom_pump', value: 81 })
const model = override({ scope: 'model', scopeId: 'bp-52', value: 82 })
const site = override({ scope: 'site', scopeId: 'north', value: 83 })
const own = override({ value: 84 })

for (const { name, overrides, limit } of [
  { name: 'no override leaves the catalogue', overrides: [], limit: 80 },
  { name: 'a type override reaches its models', overrides: [type], limit: 81 },
  { name: 'model goes before type', overrides: [model, type], limit: 82 },
  { name: 'site goes before model', overrides: [site, model, type], limit: 83 },
  { name: 'the machine goes before all', overrides: [own, site, model, type], limit: 84 },
  { name: 'within a scope the later wins', overrides: [own, override({ value: 86 })], limit: 86 },
  { name: 'another site is another site', overrides: [override({ scope: 'site', scopeId: 'south' })], limit: 80 },
  { name: 'another machine is another machine', overrides: [override({ scopeId: 'bp-2' })], limit: 80 },
  { name: 'an expired one gives way to the wider one', overrides: [type, override({ expiresAt: now })], limit: 81 },
  { name: 'one that expires in a moment still holds', overrides: [override({ expiresAt: now + 1 })], limit: 82 },
  { name: 'a withdrawn one no longer holds', overrides: [override({ withdrawnAt: now })], limit: 80 },
]) {
  test(`override: ${name}`, () => expect(warnLimit(...overrides)).toBe(limit))
}

test('what no override touches stays the very object of the catalogue', () => {
  expect(effectiveRules(profile, [override({ scopeId: 'bp-2' })], machine, now)).toBe(profile.rules)
  const rules = effectiveRules(profile, [own], machine, now)
  expect(rules.get('coolant_temp_c.high')).toBe(profile.rules.get('coolant_temp_c.high'))
  expect(profile.rules.get(OIL)?.warn?.limit).toBe(80)
})

for (const { parameter, value, found } of [
  { parameter: 'warn.limit', value: 85, found: { warn: { limit: 85, onDelaySeconds: 60 } } },
  { parameter: 'warn.onDelaySeconds', value: 5, found: { warn: { limit: 80, onDelaySeconds: 5 } } },
  { parameter: 'critical.limit', value: 95, found: { critical: { limit: 95, onDelaySeconds: 30 } } },
  { parameter: 'critical.onDelaySeconds', value: 5, found: { critical: { limit: 90, onDelaySeconds: 5 } } },
  { parameter: 'deadband', value: 1, found: { deadband: 1 } },
  { parameter: 'offDelaySeconds', value: 0, found: { offDelaySeconds: 0 } },
] as const) {
  test(`override of ${parameter} changes that and nothing else`, () => {
    const rule = effectiveRules(profile, [override({ parameter, value })], machine, now).get(OIL)
    expect(rule).toEqual({ ...profile.rules.get(OIL), ...found })
  })
}

const place = { catalogue, machine, others: [], now }
for (const { name, change, fault } of [
  { name: 'a good one', change: {}, fault: undefined },
  {
    name: 'a rule that is not there',
    change: { rule: 'hyd_oil_temp_c.low' },
    fault: "machine 'bp-1' has no rule 'hyd_oil_temp_c.low'",
  },
  {
    name: 'a warn limit at the critical one',
    change: { value: 90 },
    fault: 'the warn limit 90 has to stay below the critical one, 90',
  },
  {
    name: 'a critical limit within warn on the low side',
    change: { rule: 'engine_oil_pressure_kpa.low_at_speed', parameter: 'critical.limit', value: 250 },
    fault: "'engine_oil_pressure_kpa.low_at_speed' has no critical level",
  },
  {
    name: 'a critical limit above warn on the low side',
    change: { rule: 'hyd_oil_level_pct.low', parameter: 'critical.limit', value: 45 },
    fault: 'the warn limit 40 has to stay above the critical one, 45',
  },
  {
    name: 'a limit that nothing reaches',
    change: { value: 205, parameter: 'critical.limit' },
    fault: "205 lies outside of what 'hyd_oil_temp_c' can be, -50 to 200",
  },
  {
    name: 'a negative delay',
    change: { parameter: 'offDelaySeconds', value: -1 },
    fault: 'offDelaySeconds cannot be negative',
  },
  { name: 'no number', change: { value: Number.NaN }, fault: 'warn.limit has to be a finite number' },
  {
    name: 'an unknown type',
    change: { scope: 'type', scopeId: 'boat' },
    fault: "there is no type 'boat' in the catalogue",
  },
  {
    name: 'an unknown model',
    change: { scope: 'model', scopeId: 'bp-99' },
    fault: "there is no model 'bp-99' in the catalogue",
  },
  { name: 'a site, whose machines may be of any type', change: { scope: 'site', scopeId: 'north' }, fault: undefined },
  {
    name: 'a site, where one type would cross',
    change: { scope: 'site', scopeId: 'north', value: 93 },
    fault: 'the warn limit 93 has to stay below the critical one, 90',
  },
] as const) {
  test(`override, checked: ${name}`, () => expect(overrideFault(override(change), place)).toBe(fault))
}

test('a check counts the overrides that hold already', () => {
  const raised = override({ scope: 'type', scopeId: 'boom_pump', parameter: 'critical.limit', value: 100 })
  expect(overrideFault(override({ value: 95 }), { ...place, others: [raised] })).toBeUndefined()
  const expired = { ...raised, expiresAt: now }
  expect(overrideFault(override({ value: 95 }), { ...place, others: [expired] })).toContain(
    'below the critical one, 90',
  )
})

test('a single machine has to be known to be checked', () => {
  expect(overrideFault(override({}), { catalogue, others: [], now })).toBe(
    "there is no machine 'bp-1' in the catalogue",
  )
})

for (const { name, change, safety } of [
  { name: 'an S3 limit', change: { parameter: 'critical.limit' }, safety: false },
  { name: 'the S2 level of a rule whose critical level is S4', change: { rule: 'tilt_deg.high' }, safety: false },
  { name: 'the S4 limit', change: { rule: 'tilt_deg.high', parameter: 'critical.limit' }, safety: true },
  { name: 'its delay', change: { rule: 'tilt_deg.high', parameter: 'critical.onDelaySeconds' }, safety: true },
  {
    name: 'the deadband, which the S4 level shares',
    change: { rule: 'tilt_deg.high', parameter: 'deadband' },
    safety: true,
  },
  {
    name: 'the off-delay, which the S4 level shares',
    change: { rule: 'tilt_deg.high', parameter: 'offDelaySeconds' },
    safety: true,
  },
  {
    name: 'a limit that is S4 on some types of a site only',
    change: { scope: 'site', scopeId: 'north', rule: 'hoist_gearbox_vib_mm_s.high', parameter: 'critical.limit' },
    safety: true,
  },
  { name: 'a rule that is not there', change: { rule: 'nothing.high', parameter: 'critical.limit' }, safety: false },
] as const) {
  test(`override, safety: ${name}`, () => expect(touchesSafety(override(change), { catalogue, machine })).toBe(safety))
}

test('the severity of a level is its own, else its failure mode’s, else S2 and S3', () => {
  const rule = profile.rules.get('tilt_deg.high')
  if (!rule?.critical) throw new Error('tilt_deg.high has a critical level')
  expect(ruleSeverity(profile, rule, 'critical')).toBe('S4')
  expect(ruleSeverity(profile, { ...rule, critical: { ...rule.critical, severity: 'S1' } }, 'critical')).toBe('S1')
  const loose = { ...rule, failureMode: undefined }
  expect([ruleSeverity(profile, loose, 'warn'), ruleSeverity(profile, loose, 'critical')]).toEqual(['S2', 'S3'])
})
