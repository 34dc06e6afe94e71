import { expect, test } from 'vitest'
import {
  listQuarantine,
  QuarantineBytesGone,
  quarantinedItem,
  replayFromQuarantine,
} from '../../src/acquire/quarantine.ts'
import { ENTRY_BYTES, followBudget, keepWithinBudget } from '../../src/acquire/quarantine-budget.ts'
import { testRecords } from '../records/test-records.ts'
import { expectExactTallies, keep, quarantineEntry } from './quarantine-story.ts'

const { db } = await testRecords()
const now = Date.UTC(2026, 0, 2)
const BUDGET = 4 << 20

const many = (count: number, device: string | undefined, size = 1_000) =>
  Array.from({ length: count }, () => quarantineEntry({ device, bytes: Buffer.alloc(size, 'x') }))

const usage = async () => {
  const tallies = await db.selectFrom('quarantine_tallies').selectAll().execute()
  return tallies.reduce((sum, { kept_bytes, kept_entries }) => sum + kept_bytes + ENTRY_BYTES * kept_entries, 0)
}

const withBytes = async (device: string) =>
  (await db.selectFrom('quarantine').select('id').where('device', '=', device).where('bytes', 'is not', null).execute())
    .length

test('within its budget nothing is given up', async () => {
  await keep(db, [...many(40, 'small-1'), ...many(40, 'small-2')])
  expect(await keepWithinBudget(db, BUDGET, now)).toBe(0)
  expect(await expectExactTallies(db)).toBe(80)
})

test('a sender that floods loses its own oldest bytes, and keeps reason, topic and time', async () => {
  await keep(db, many(3_500, 'flood'))
  const stripped = await keepWithinBudget(db, BUDGET, now)
  expect(stripped).toBeGreaterThan(500)
  expect(await usage()).toBeLessThanOrEqual(BUDGET)
  expect(await usage()).toBeGreaterThan(BUDGET * 0.97)
  expect([await withBytes('small-1'), await withBytes('small-2')]).toEqual([40, 40])
  expect(await withBytes('flood')).toBe(3_500 - stripped)

  const { items } = await listQuarantine(db, { device: 'flood', limit: 10_000 })
  expect(items).toHaveLength(3_500)
  expect(items.slice(0, 3_500 - stripped).every(({ bytesDroppedAt }) => bytesDroppedAt === null)).toBe(true)
  const oldest = items.at(-1) as (typeof items)[number]
  expect(await quarantinedItem(db, oldest.id)).toMatchObject({
    topic: 'machines/flood/telemetry',
    reason: 'shape',
    size: 1_000,
    bytes: null,
    bytesDroppedAt: new Date(now).toISOString(),
    state: 'held',
  })
  const replayed = replayFromQuarantine(db, oldest.id, { user: 'ana', now }, async () => {
    throw new Error('not to be called')
  })
  await expect(replayed).rejects.toThrow(QuarantineBytesGone)
  expect(await expectExactTallies(db)).toBe(3_580)
})

test('however long it goes on, rows and bytes are bounded and every entry is counted', async () => {
  for (let round = 0; round < 8; round++) {
    await keep(db, many(2_000, 'flood', round % 2 === 0 ? 1_000 : 0))
    await keepWithinBudget(db, BUDGET, now)
    expect(await usage()).toBeLessThanOrEqual(BUDGET)
  }
  expect(await expectExactTallies(db)).toBe(3_580 + 16_000)
  const rows = await db.selectFrom('quarantine').select('id').where('device', '=', 'flood').execute()
  expect(rows.length - (await withBytes('flood'))).toBe(1_000)
  const tally = await db
    .selectFrom('quarantine_tallies')
    .selectAll()
    .where('device', '=', 'flood')
    .executeTakeFirstOrThrow()
  expect(tally.merged).toBe(19_500 - rows.length)
  expect(tally.merged_from?.getTime()).toBeLessThan(tally.merged_to?.getTime() ?? 0)
  expect([await withBytes('small-1'), await withBytes('small-2')]).toEqual([40, 40])
})

test('where nobody stands out, the oldest of all go', async () => {
  const budget = 1 << 20
  await keepWithinBudget(db, budget, now)
  const before = await expectExactTallies(db)
  await keep(
    db,
    Array.from({ length: 3_000 }, (_, i) => quarantineEntry({ device: `one-of-many-${i}` })),
  )
  await keepWithinBudget(db, budget, now)
  expect(await usage()).toBeLessThanOrEqual(budget)
  expect(await expectExactTallies(db)).toBe(before + 3_000)
  expect(await withBytes('one-of-many-2999')).toBe(1)
})

test('one entry larger than the budget is no endless work', async () => {
  await keep(db, many(1, 'huge', 2 << 20))
  await keepWithinBudget(db, 1 << 20, now)
  expect(await withBytes('huge')).toBe(0)
  expect(await usage()).toBeLessThanOrEqual(1 << 20)
  await expectExactTallies(db)
})

test('what is kept is followed, and brought within the budget when it is used up', async () => {
  const budget = followBudget(db, BUDGET)
  for (let round = 0; round < 6; round++) {
    const entries = many(1_000, 'followed')
    await keep(db, entries)
    await budget.kept(entries, now)
    expect(await usage()).toBeLessThanOrEqual(BUDGET)
  }
  await expectExactTallies(db)
})
