import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import pino from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { listQuarantine } from '../../src/acquire/quarantine.ts'
import { keepWithinBudget } from '../../src/acquire/quarantine-budget.ts'
import {
  BulkEnded,
  BulkUnknown,
  bulkById,
  cancelBulk,
  listBulks,
  startBulk,
} from '../../src/acquire/quarantine-bulk.ts'
import { type BulkParts, workOffBulks } from '../../src/acquire/quarantine-bulk-work.ts'
import { groupQuarantine } from '../../src/acquire/quarantine-groups.ts'
import { testRecords } from '../records/test-records.ts'
import { expectExactTallies, keep, quarantineEntry } from './quarantine-story.ts'

const { db } = await testRecords()
const now = Date.UTC(2026, 0, 2)
const by = { user: 'ana', reason: 'gateway mended', now }
const log = pino({ level: 'silent' })

/** What works off bulk decisions, with what it put into the spool. */
function working(parts: Partial<BulkParts> = {}) {
  const injected: { topic: string; bytes: string }[] = []
  const work = workOffBulks({
    db,
    inject: async (messages) => {
      for (const { topic, bytes } of messages) injected.push({ topic, bytes: Buffer.from(bytes).toString() })
    },
    waiting: async () => 0,
    now: () => now,
    log,
    ...parts,
  })
  onTestFinished(() => work.stop())
  return { work, injected }
}

const ended = (id: number) =>
  vi.waitFor(async () => expect((await bulkById(db, id)).state).not.toBe('running'), { timeout: 20_000 })

const named = (device: string, count: number, more = {}) =>
  Array.from({ length: count }, (_, i) => quarantineEntry({ device, bytes: Buffer.from(`${device} ${i}`), ...more }))

const held = async (device: string) => (await listQuarantine(db, { device, limit: 10_000 })).items

test('everything that fits is replayed once, in the order of receipt', async () => {
  const device = randomUUID()
  await keep(db, [...named(device, 1_200, { reason: 'clock' }), ...named(device, 3)])
  const bulk = await startBulk(db, { action: 'replay', filter: { reason: 'clock', device } }, by)
  expect(bulk).toMatchObject({ state: 'running', decided: 0, startedBy: 'ana', reason: 'gateway mended' })
  expect((await bulkById(db, bulk.id)).remaining).toBe(1_200)
  const again = await startBulk(db, { action: 'replay', filter: { device, reason: 'clock' } }, by)
  expect(again.id).toBe(bulk.id)

  const { injected } = working()
  await ended(bulk.id)
  expect(injected.map(({ bytes }) => bytes)).toEqual(Array.from({ length: 1_200 }, (_, i) => `${device} ${i}`))
  expect(injected[0]?.topic).toBe(`machines/${device}/telemetry`)
  expect(await bulkById(db, bulk.id)).toMatchObject({
    state: 'done',
    decided: 1_200,
    skipped: 0,
    remaining: 0,
    endedAt: new Date(now),
  })
  expect(await held(device)).toHaveLength(3)
  const audited = await db
    .selectFrom('audit')
    .selectAll()
    .where('subject', '=', String(bulk.id))
    .orderBy('id')
    .execute()
  expect(audited).toMatchObject([
    { action: 'quarantine.bulk_replay', by: 'ana', reason: 'gateway mended', after: { filter: { device } } },
    { action: 'quarantine.bulk_replay.done', by: 'ana', after: { decided: 1_200, skipped: 0 } },
  ])
  await expectExactTallies(db)
})

test('what comes back after the decision is not taken again', async () => {
  const device = randomUUID()
  await keep(db, named(device, 700))
  const bulk = await startBulk(db, { action: 'replay', filter: { device } }, by)
  let came = 0
  working({
    inject: async (messages) => {
      came += messages.length
      await keep(db, named(device, messages.length))
    },
  })
  await ended(bulk.id)
  expect(came).toBe(700)
  expect(await held(device)).toHaveLength(700)
})

test('a discard is for the type of the machines as it is now, and for a span of time', async () => {
  const [pump, crane] = [randomUUID(), randomUUID()]
  const at = Date.UTC(2025, 5, 1)
  await keep(db, [
    ...named(pump, 5, { receivedAt: at }),
    ...named(pump, 5, { receivedAt: at + 60_000 }),
    ...named(crane, 5, { receivedAt: at }),
  ])
  await db
    .insertInto('machines')
    .values([
      { id: `machine-${pump}`, type: 'boom_pump', state: 'in_service' },
      { id: crane, type: 'tower_crane', state: 'in_service' },
    ])
    .execute()
  await db
    .insertInto('bindings')
    .values({ device: pump, machine: `machine-${pump}`, bound_by: 'ana', bound_from: null, bound_to: null })
    .execute()
  const filter = { type: 'boom_pump', from: new Date(at).toISOString(), to: new Date(at + 60_000).toISOString() }
  const bulk = await startBulk(db, { action: 'discard', filter }, by)
  const { injected } = working()
  await ended(bulk.id)
  expect(injected).toEqual([])
  expect([(await held(pump)).length, (await held(crane)).length]).toEqual([5, 5])
  const groups = await groupQuarantine(db, now)
  expect(groups.find(({ type }) => type === 'boom_pump')).toMatchObject({
    reason: 'shape',
    devices: 1,
    entries: 5,
    withoutBytes: 0,
    merged: 0,
    firstAt: new Date(at + 60_000),
    lastAt: new Date(at + 60_000),
    exampleDevice: pump,
    exampleDetail: 'signals must be an object',
  })
  await expectExactTallies(db)
})

test('ids alone are enough, and unknown ones change nothing', async () => {
  const device = randomUUID()
  await keep(db, named(device, 4))
  const [first, second] = await held(device)
  const ids = [first?.id ?? 0, second?.id ?? 0, 2 ** 40]
  const bulk = await startBulk(db, { action: 'replay', filter: { ids } }, by)
  const { injected } = working()
  await ended(bulk.id)
  expect(injected).toHaveLength(2)
  expect(await held(device)).toHaveLength(2)
})

test('entries without bytes stay and are counted as skipped', async () => {
  const device = randomUUID()
  await keep(db, named(device, 20, { bytes: Buffer.alloc(100_000) }))
  await keepWithinBudget(db, 1_500_000, now)
  const left = (await held(device)).filter(({ bytesDroppedAt }) => bytesDroppedAt === null).length
  expect(left).toBeLessThan(20)
  const bulk = await startBulk(db, { action: 'replay', filter: { device } }, by)
  working()
  await ended(bulk.id)
  expect(await bulkById(db, bulk.id)).toMatchObject({ decided: left, skipped: 20 - left })
  await expectExactTallies(db)
})

test('a process that ends in the middle is followed by one that goes on', async () => {
  const device = randomUUID()
  await keep(db, named(device, 2_000))
  const bulk = await startBulk(db, { action: 'replay', filter: { device } }, by)
  const seen: string[] = []
  const note = (messages: readonly { bytes: Uint8Array }[]) => {
    for (const { bytes } of messages) seen.push(Buffer.from(bytes).toString())
  }
  let full = false
  const first = working({
    inject: async (messages) => {
      note(messages)
      if (seen.length < 1_000) return
      full = true
      await new Promise(() => {}) // a spool that is full answers nothing
    },
  })
  await vi.waitFor(() => expect(full).toBe(true), { timeout: 10_000 })
  await first.work.stop()
  expect((await bulkById(db, bulk.id)).state).toBe('running')

  working({ inject: async (messages) => note(messages) })
  await ended(bulk.id)
  expect(new Set(seen).size).toBe(2_000)
  expect(seen.length).toBeLessThanOrEqual(3_000) // what was under way is put in once more, and stored once
  expect((await bulkById(db, bulk.id)).decided).toBe(2_000)
  expect(await held(device)).toEqual([])
})

test('replays wait while the stages are behind', async () => {
  const device = randomUUID()
  await keep(db, named(device, 10))
  let backlog = 1_000_000
  const bulk = await startBulk(db, { action: 'replay', filter: { device } }, by)
  const { injected } = working({ waiting: async () => backlog })
  await delay(300)
  expect(injected).toEqual([])
  backlog = 0
  await ended(bulk.id)
  expect(injected).toHaveLength(10)
})

test('a cancelled one ends where it is', async () => {
  const device = randomUUID()
  await keep(db, named(device, 10))
  const bulk = await startBulk(db, { action: 'discard', filter: { device } }, by)
  expect(await cancelBulk(db, bulk.id, { user: 'ben', now })).toMatchObject({ state: 'cancelled', cancelledBy: 'ben' })
  await expect(cancelBulk(db, bulk.id, { user: 'ben', now })).rejects.toThrow(BulkEnded)
  await expect(cancelBulk(db, 999_999, { user: 'ben', now })).rejects.toThrow(BulkUnknown)
  working()
  await delay(100)
  expect(await held(device)).toHaveLength(10)
  expect((await listBulks(db, { limit: 1 })).items).toMatchObject([{ id: bulk.id, state: 'cancelled' }])
})
