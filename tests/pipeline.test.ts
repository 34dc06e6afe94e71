import { randomUUID } from 'node:crypto'
import { renameSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { readCheckpoint } from '../src/acquire/checkpoint.ts'
import type { Codec } from '../src/acquire/message.ts'
import { listQuarantine } from '../src/acquire/quarantine.ts'
import { changeCredential, issueCredential } from '../src/machines/credentials.ts'
import type { TelemetryStore } from '../src/store/telemetry-store.ts'
import { testRecords } from './records/test-records.ts'
import { runningPipeline } from './running-pipeline.ts'

const records = await testRecords()
const start = Date.UTC(2026, 0, 1)

const reading = (i: number) => JSON.stringify({ ts: start + i * 1_000, signals: { hyd_oil_temp_c: 50 + i } })
const send = (receive: Awaited<ReturnType<typeof runningPipeline>>['receive'], machine: string, payload: string) =>
  receive(`machines/${machine}/telemetry`, payload, { receivedAt: start + 3_600_000 })
const pointsOf = async (store: TelemetryStore, machine: string) =>
  store.range({ machine, signal: 'hyd_oil_temp_c', from: start, to: start + 3_600_000 }, 1_000)

test('a message that we fail at is kept in quarantine, and those around it are stored', async () => {
  const machine = `m-${randomUUID()}`
  const failing: Codec = {
    name: 'failing',
    decode(_, payload) {
      if (payload.includes('poison')) throw new TypeError('cannot read it')
      return undefined
    },
  }
  const { pipeline, spool, spoolFolder, store, receive, settled } = await runningPipeline(records, {
    codecs: [failing],
  })
  await Promise.all(
    [...[0, 1, 2].map(reading), 'poison', ...[3, 4].map(reading)].map((text) => send(receive, machine, text)),
  )
  await settled(6)
  expect(pipeline.counts()).toMatchObject({ received: 6, stored: 5, quarantined: 1 })
  expect(await pointsOf(store, machine)).toHaveLength(5)
  const { items } = await listQuarantine(records.db, { reason: 'failed', limit: 10 })
  expect(items).toMatchObject([
    { topic: `machines/${machine}/telemetry`, detail: expect.stringContaining('cannot read it') },
  ])
  await vi.waitFor(() => expect(readCheckpoint(spoolFolder)).toBe(spool.committed))
  expect(pipeline.trouble()).toBeUndefined()
})

test('a store that took readings without being able to say so has them once', async () => {
  const machine = `m-${randomUUID()}`
  let silent = 2
  const wrap = (store: TelemetryStore): TelemetryStore => ({
    ...store,
    async append(readings, replacing) {
      await store.append(readings, replacing)
      if (silent-- > 0) throw new Error('no answer')
    },
  })
  const { pipeline, store, receive, settled } = await runningPipeline(records, { wrap })
  await Promise.all([0, 1, 2].map(reading).map((text) => send(receive, machine, text)))
  await settled(3)
  expect(pipeline.counts()).toMatchObject({ received: 3, quarantined: 0 })
  expect(await pointsOf(store, machine)).toHaveLength(3)
})

test('while a store is away, what is asked is done and a stop does not wait', async () => {
  const machine = `m-${randomUUID()}`
  const wrap = (store: TelemetryStore): TelemetryStore => ({
    ...store,
    append: async () => {
      throw new Error('IO Error: no space left')
    },
  })
  const { pipeline, store, receive } = await runningPipeline(records, { wrap })
  await send(receive, machine, reading(0))
  await vi.waitFor(() => expect(pipeline.trouble()).toContain('no space left'), { timeout: 10_000 })
  await pipeline.refresh()
  expect(pipeline.counts()).toMatchObject({ received: 1, waiting: 1, quarantined: 0 })
  await pipeline.stop()
  await expect(pipeline.refresh()).rejects.toThrow('stops')
  expect(await pointsOf(store, machine)).toEqual([])
})

test('a gateway to which machines are assigned speaks for these alone; without any, for all', async () => {
  const { db } = records
  const decision = { user: 'ana', now: start }
  const key = new Uint8Array(32)
  const [bound, free] = [`gw-${randomUUID()}`, `gw-${randomUUID()}`]
  await issueCredential(db, key, { kind: 'gateway', id: bound, machines: ['mine'] }, decision)
  await issueCredential(db, key, { kind: 'gateway', id: free }, decision)
  const { pipeline, receive, settled } = await runningPipeline(records)
  let at = 0
  const speak = (gateway: string, ...machines: string[]) => {
    const sets = machines.map((machine) => ({ ...JSON.parse(reading(at++)), machine }))
    return receive(`gateways/${gateway}/telemetry`, JSON.stringify(sets), { receivedAt: start + 3_600_000 })
  }
  await speak(bound, 'mine', 'others')
  await speak(free, 'mine', 'others')
  await settled(4)
  expect(pipeline.counts()).toMatchObject({ received: 4, stored: 3, quarantined: 1, waiting: 0 })
  const { items } = await listQuarantine(db, { reason: 'not_assigned', limit: 10 })
  expect(items).toMatchObject([
    { topic: `gateways/${bound}/telemetry`, detail: "'others' is not assigned to this gateway" },
  ])

  await changeCredential(db, { kind: 'gateway', id: bound }, { assign: ['others'] }, decision)
  await pipeline.refresh()
  await speak(bound, 'mine', 'others')
  await settled(6)
  await changeCredential(db, { kind: 'gateway', id: bound }, { unassign: ['mine', 'others'] }, decision)
  await pipeline.refresh()
  await speak(bound, 'anybody')
  await settled(7)
  expect(pipeline.counts()).toMatchObject({ received: 7, stored: 6, quarantined: 1 })
})

test('a spool that cannot be read is said, and read on when it can be', async () => {
  const machine = `m-${randomUUID()}`
  const { pipeline, spool, spoolFolder, store, receive, settled } = await runningPipeline(records)
  await send(receive, machine, reading(0))
  await settled(1)
  renameSync(spoolFolder, `${spoolFolder} away`)
  pipeline.committed(spool.committed + 1) // there is more, it says
  await vi.waitFor(() => expect(pipeline.trouble()).toContain('ENOENT'), { timeout: 10_000 })
  renameSync(`${spoolFolder} away`, spoolFolder)
  await send(receive, machine, reading(1))
  await settled(2)
  await vi.waitFor(() => expect(pipeline.trouble()).toBeUndefined())
  expect(await pointsOf(store, machine)).toHaveLength(2)
})
