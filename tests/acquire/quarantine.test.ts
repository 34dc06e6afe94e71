import { beforeAll, expect, test } from 'vitest'
import {
  discardFromQuarantine,
  listQuarantine,
  QuarantineDecided,
  type QuarantineEntry,
  QuarantineUnknown,
  quarantinedItem,
  replayFromQuarantine,
} from '../../src/acquire/quarantine.ts'
import type { Records } from '../../src/records/records.ts'
import { testRecords } from '../records/test-records.ts'
import { expectExactTallies, keep as keepAll, quarantineEntry } from './quarantine-story.ts'

let db: Records['db']
beforeAll(async () => {
  db = (await testRecords()).db
})

const entry = quarantineEntry
const keep = (...entries: QuarantineEntry[]) => keepAll(db, entries)
const by = { user: 'ana', reason: 'mapped', now: Date.UTC(2026, 0, 2) }
const newest = async () => (await listQuarantine(db, { limit: 1 })).items[0]?.id ?? Number.NaN

test('what is kept comes back with its bytes, and once however often it is judged', async () => {
  const kept = entry({ reason: 'time', detail: 'no time', receivedAt: Date.UTC(2026, 0, 1) })
  await keep(kept, { ...kept, item: 1 })
  await keep(kept)
  const { items } = await listQuarantine(db, { reason: 'time', limit: 10 })
  expect(items).toHaveLength(2)
  expect(await quarantinedItem(db, items[1]?.id ?? 0)).toEqual({
    id: items[1]?.id,
    receivedAt: '2026-01-01T00:00:00.000Z',
    topic: 'machines/m/telemetry',
    device: 'm',
    reason: 'time',
    detail: 'no time',
    size: 3,
    bytesDroppedAt: null,
    state: 'held',
    decidedAt: null,
    decidedBy: null,
    bytes: Buffer.from([0, 255, 1]).toString('base64'),
  })
})

test('a topic with NUL, which PostgreSQL does not take, stops nothing', async () => {
  await keep(entry({ topic: 'machines/a\0b/telemetry', detail: 'mode \0' }))
  expect((await listQuarantine(db, { limit: 1 })).items[0]?.topic).toBe('machines/a\ufffdb/telemetry')
})

test('thousands at once, in pages newest first', async () => {
  await keep(...Array.from({ length: 2_500 }, () => entry({ reason: 'clock' })))
  const first = await listQuarantine(db, { reason: 'clock', limit: 2_000 })
  const second = await listQuarantine(db, { reason: 'clock', limit: 2_000, after: first.next ?? 0 })
  const ids = [...first.items, ...second.items].map(({ id }) => id)
  expect(new Set(ids).size).toBe(2_500)
  expect(ids).toEqual([...ids].sort((a, b) => b - a))
  expect(second.next).toBeNull()
})

test('a replay puts topic and bytes in again, and happens once', async () => {
  await keep(entry())
  const id = await newest()
  const injected: [string, Buffer][] = []
  const inject = async (topic: string, bytes: Buffer) => void injected.push([topic, bytes])
  expect(await replayFromQuarantine(db, id, by, inject)).toMatchObject({
    state: 'replayed',
    decidedBy: 'ana',
    decidedAt: '2026-01-02T00:00:00.000Z',
  })
  expect(injected).toEqual([['machines/m/telemetry', Buffer.from([0, 255, 1])]])
  await expect(replayFromQuarantine(db, id, by, inject)).rejects.toThrow(QuarantineDecided)
  await expect(discardFromQuarantine(db, id, by)).rejects.toThrow('replayed already')
  expect(injected).toHaveLength(1)
  expect((await listQuarantine(db, { state: 'replayed', limit: 10 })).items.map((item) => item.id)).toEqual([id])
  const audited = await db.selectFrom('audit').selectAll().where('subject', '=', String(id)).execute()
  expect(audited).toMatchObject([{ action: 'quarantine.replayed', by: 'ana', reason: 'mapped' }])
})

test('a replay that cannot be made durable leaves it where it is', async () => {
  await keep(entry())
  const id = await newest()
  const failing = () => Promise.reject(new Error('no space'))
  await expect(replayFromQuarantine(db, id, by, failing)).rejects.toThrow('no space')
  expect((await quarantinedItem(db, id)).state).toBe('held')
})

test('what is discarded leaves the list and keeps its bytes', async () => {
  await keep(entry())
  const id = await newest()
  await discardFromQuarantine(db, id, by)
  expect(await newest()).not.toBe(id)
  expect((await quarantinedItem(db, id)).bytes).toBe('AP8B')
})

test('an id that is not there', async () => {
  await expect(quarantinedItem(db, 999_999)).rejects.toThrow(QuarantineUnknown)
  await expect(discardFromQuarantine(db, 999_999, by)).rejects.toThrow(QuarantineUnknown)
})

test('every step is counted', async () => {
  expect(await expectExactTallies(db)).toBe((await db.selectFrom('quarantine').select('id').execute()).length)
})
