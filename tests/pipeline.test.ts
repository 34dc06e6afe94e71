import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { readCheckpoint } from '../src/acquire/checkpoint.ts'
import { openClocks } from '../src/acquire/clocks.ts'
import { openReceipts } from '../src/acquire/counts.ts'
import { jsonCodec } from '../src/acquire/json-codec.ts'
import type { Codec } from '../src/acquire/message.ts'
import { openNewness } from '../src/acquire/newness.ts'
import { listQuarantine } from '../src/acquire/quarantine.ts'
import { openSpool } from '../src/acquire/spool.ts'
import { messageKind } from '../src/acquire/topics.ts'
import { openLog } from '../src/log.ts'
import { openRegistry } from '../src/machines/registry.ts'
import { startPipeline } from '../src/pipeline.ts'
import { openDuckdbStore } from '../src/store/duckdb-store.ts'
import type { TelemetryStore } from '../src/store/telemetry-store.ts'
import { catalogue } from './machines/story.ts'
import { testRecords } from './records/test-records.ts'

const records = await testRecords()
const log = openLog('test', 'silent')
const start = Date.UTC(2026, 0, 1)

/** A pipeline over real engines, with what its parts do beside. */
async function runningPipeline(options: { codecs?: Codec[]; wrap?: (store: TelemetryStore) => TelemetryStore } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-pipeline-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const spoolFolder = join(folder, 'spool')
  mkdirSync(spoolFolder)
  const spool = await openSpool({ folder: spoolFolder, kindOf: (topic) => messageKind(topic, ''), log })
  const store = await openDuckdbStore({ file: join(folder, 'telemetry.duckdb'), threads: 1 })
  const receipts = openReceipts()
  const pipeline = await startPipeline({
    db: records.db,
    catalogue,
    registry: await openRegistry(records.db, catalogue, Date.now()),
    store: options.wrap?.(store) ?? store,
    newness: await openNewness(store),
    codecs: [...(options.codecs ?? []), jsonCodec()],
    clocks: openClocks(),
    prefix: '',
    receipts,
    spoolFolder,
    checkpoint: spool.checkpoint,
    retentionMs: undefined,
    quarantineBytes: 1 << 30,
    settings: { noDataAfterMs: 86_400_000, listeningSince: Date.now() },
    release: () => {},
    changed: () => {},
    log,
  })
  spool.onCommit(({ position, tally }) => {
    receipts.add(tally)
    pipeline.committed(position)
  })
  onTestFinished(async () => {
    await pipeline.stop()
    await spool.close()
    await store.close()
  })
  const send = (machine: string, payload: string) =>
    spool.append({
      receivedAt: start + 3_600_000,
      topic: `machines/${machine}/telemetry`,
      payload: Buffer.from(payload),
      qos: 1,
      retained: false,
      origin: 'mqtt',
    })
  const settled = (sets: number) =>
    vi.waitFor(
      () => {
        const { stored, duplicate, quarantined, waiting } = pipeline.counts()
        expect({ sum: stored + duplicate + quarantined, waiting }).toEqual({ sum: sets, waiting: 0 })
      },
      { timeout: 15_000, interval: 50 },
    )
  return { pipeline, spool, spoolFolder, store, send, settled }
}

const reading = (i: number) => JSON.stringify({ ts: start + i * 1_000, signals: { hyd_oil_temp_c: 50 + i } })
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
  const { pipeline, spool, spoolFolder, store, send, settled } = await runningPipeline({ codecs: [failing] })
  await Promise.all([...[0, 1, 2].map(reading), 'poison', ...[3, 4].map(reading)].map((text) => send(machine, text)))
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
  const { pipeline, store, send, settled } = await runningPipeline({ wrap })
  await Promise.all([0, 1, 2].map(reading).map((text) => send(machine, text)))
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
  const { pipeline, store, send } = await runningPipeline({ wrap })
  await send(machine, reading(0))
  await vi.waitFor(() => expect(pipeline.trouble()).toContain('no space left'), { timeout: 10_000 })
  await pipeline.refresh()
  expect(pipeline.counts()).toMatchObject({ received: 1, waiting: 1, quarantined: 0 })
  await pipeline.stop()
  await expect(pipeline.refresh()).rejects.toThrow('stops')
  expect(await pointsOf(store, machine)).toEqual([])
})
