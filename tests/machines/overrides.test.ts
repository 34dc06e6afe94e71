import { expect, test } from 'vitest'
import { MachineUnknown, registerMachine } from '../../src/machines/machines.ts'
import {
  createOverride,
  listOverrides,
  OverrideForbidden,
  OverrideRefused,
  OverrideUnknown,
  withdrawOverride,
} from '../../src/machines/overrides.ts'
import { openRegistry } from '../../src/machines/registry.ts'
import { testRecords } from '../records/test-records.ts'
import { catalogue, decision, now } from './story.ts'

const { db } = await testRecords()
const planner = { ...decision, reason: 'hot site', role: 'planner' }
const admin = { ...planner, role: 'admin' }
const day = 86_400_000

const rule = 'hyd_oil_temp_c.high'
const safetyRule = 'boom_tip_accel_g.high' // its critical level is S4
const warn = catalogue.profile('boom_pump').rules.get(rule)?.warn?.limit ?? Number.NaN
const safety = catalogue.profile('boom_pump').rules.get(safetyRule)?.critical?.limit ?? Number.NaN

for (const id of ['p-1', 'p-2']) {
  await registerMachine(db, catalogue, { id, type: 'boom_pump', model: 'bp-52', site: `site of ${id}` }, decision)
}

const draft = { scope: 'machine', scopeId: 'p-1', rule, parameter: 'warn.limit', value: warn + 1 } as const

test('overrides: the narrower one wins, and its end brings the wider one back', async () => {
  const registry = await openRegistry(db, catalogue, now)
  const limits = () => ['p-1', 'p-2'].map((id) => registry.machine(id)?.rules.get(rule)?.warn?.limit)
  const steps = [
    { place: { scope: 'type', scopeId: 'boom_pump' }, value: warn + 1, expected: [warn + 1, warn + 1] },
    { place: { scope: 'model', scopeId: 'bp-52' }, value: warn + 2, expected: [warn + 2, warn + 2] },
    { place: { scope: 'site', scopeId: 'site of p-1' }, value: warn + 3, expected: [warn + 3, warn + 2] },
    { place: { scope: 'machine', scopeId: 'p-1' }, value: warn + 4, expected: [warn + 4, warn + 2] },
  ] as const
  const ids: number[] = []
  for (const { place, value, expected } of steps) {
    ids.push((await createOverride(db, catalogue, { ...draft, ...place, value }, planner)).id)
    await registry.refresh(now)
    expect(limits()).toEqual(expected)
  }
  for (const [index, id] of [...ids.entries()].reverse()) {
    await withdrawOverride(db, catalogue, id, planner)
    await registry.refresh(now)
    expect(limits()).toEqual(steps[index - 1]?.expected ?? [warn, warn])
  }
})

test('overrides: one that expires holds until then', async () => {
  const { id } = await createOverride(db, catalogue, { ...draft, expiresAt: now + day }, planner)
  const registry = await openRegistry(db, catalogue, now)
  const limit = () => registry.machine('p-1')?.rules.get(rule)?.warn?.limit
  expect(limit()).toBe(warn + 1)
  expect(await registry.refresh(now + day - 1)).toEqual([])
  expect(await registry.refresh(now + day)).toEqual(['p-1'])
  expect(limit()).toBe(warn)
  await expect(withdrawOverride(db, catalogue, id, { ...planner, now: now + day })).rejects.toThrow(OverrideUnknown)
})

test('overrides: another value for the same place takes the place of the first, both stay in the history', async () => {
  const place = { ...draft, scopeId: 'p-2' }
  const first = await createOverride(db, catalogue, place, planner)
  const second = await createOverride(
    db,
    catalogue,
    { ...place, value: warn + 2 },
    { ...planner, user: 'ada', now: now + day },
  )
  const query = { scope: 'machine', scopeId: 'p-2', limit: 10 } as const
  expect((await listOverrides(db, { ...query, holdingAt: now + day })).map(({ id }) => id)).toEqual([second.id])
  expect(await listOverrides(db, query)).toMatchObject([
    { id: second.id, value: warn + 2, changedBy: 'ada', reason: 'hot site', createdAt: now + day },
    { id: first.id, withdrawnBy: 'ada', withdrawnAt: now + day, withdrawnBecause: expect.stringContaining('replaced') },
  ])
  const audit = await db
    .selectFrom('audit')
    .selectAll()
    .where('subject', '=', `machine/p-2/${rule}`)
    .orderBy('id')
    .execute()
  expect(audit.at(-1)).toMatchObject({
    action: 'rule.override',
    by: 'ada',
    before: { value: warn + 1 },
    after: { value: warn + 2 },
  })
})

test('overrides: a level of S4 is for the role admin, to change and to change back', async () => {
  const change = { ...draft, rule: safetyRule, parameter: 'critical.limit', value: safety + 0.01 } as const
  await expect(createOverride(db, catalogue, change, planner)).rejects.toThrow(OverrideForbidden)
  expect(await listOverrides(db, { rule: safetyRule, limit: 10 })).toEqual([])
  const { id } = await createOverride(db, catalogue, change, admin)
  await expect(withdrawOverride(db, catalogue, id, planner)).rejects.toThrow(OverrideForbidden)
  expect(await withdrawOverride(db, catalogue, id, admin)).toMatchObject({ withdrawnBy: 'li.wei' })
  await expect(withdrawOverride(db, catalogue, id, admin)).rejects.toThrow(OverrideUnknown)
})

for (const { name, change, error } of [
  { name: 'an unknown rule', change: { rule: 'hyd_oil_temp_c.sideways' }, error: OverrideRefused },
  { name: 'a type that is none', change: { scope: 'type', scopeId: 'bagger' }, error: OverrideRefused },
  { name: 'a machine that is none', change: { scopeId: 'nobody' }, error: MachineUnknown },
  { name: 'a warn limit beyond the critical one', change: { value: 10_000 }, error: OverrideRefused },
  { name: 'an end in the past', change: { expiresAt: now }, error: OverrideRefused },
] as const) {
  test(`overrides: ${name} is refused`, async () => {
    await expect(createOverride(db, catalogue, { ...draft, ...change }, admin)).rejects.toThrow(error)
  })
}
