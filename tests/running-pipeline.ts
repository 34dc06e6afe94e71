import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, vi } from 'vitest'
import { writeCheckpoint } from '../src/acquire/checkpoint.ts'
import { openClocks } from '../src/acquire/clocks.ts'
import { openReceipts } from '../src/acquire/counts.ts'
import { jsonCodec } from '../src/acquire/json-codec.ts'
import type { Codec } from '../src/acquire/message.ts'
import { openNewness } from '../src/acquire/newness.ts'
import { type Incoming, openSpool } from '../src/acquire/spool.ts'
import { messageKind } from '../src/acquire/topics.ts'
import { openLog } from '../src/log.ts'
import { openRegistry } from '../src/machines/registry.ts'
import { startPipeline } from '../src/pipeline.ts'
import type { Records } from '../src/records/records.ts'
import { openDuckdbStore } from '../src/store/duckdb-store.ts'
import type { TelemetryStore } from '../src/store/telemetry-store.ts'
import { catalogue } from './machines/story.ts'

const log = openLog('test', 'silent')
let started = 0

/** A pipeline over real engines, with what its parts do beside. */
export async function runningPipeline(
  records: Records,
  options: { codecs?: Codec[]; wrap?: (store: TelemetryStore) => TelemetryStore; spoolFolder?: string } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-pipeline-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const spoolFolder = options.spoolFolder ?? (await freshSpool(join(folder, 'spool')))
  const spool = await openSpool({ folder: spoolFolder, kindOf: (topic) => messageKind(topic, ''), log })
  const store = await openDuckdbStore({ file: join(folder, 'telemetry.duckdb'), threads: 1 })
  const receipts = openReceipts()
  receipts.add(spool.waitingAtStart)
  const registry = await openRegistry(records.db, catalogue, Date.now())
  const clocks = await openClocks(records.db, { machineOf: registry.resolve, log })
  const pipeline = await startPipeline({
    db: records.db,
    catalogue,
    registry,
    store: options.wrap?.(store) ?? store,
    newness: await openNewness(store),
    codecs: [...(options.codecs ?? []), jsonCodec()],
    clocks,
    prefix: '',
    receipts,
    spoolFolder,
    checkpoint: spool.checkpoint,
    retentionMs: undefined,
    quarantineBytes: 1 << 30,
    stateLagBytes: 1 << 20,
    settings: { noDataAfterMs: 86_400_000, listeningSince: Date.now() },
    release: () => {},
    heedDevices: () => {},
    changed: () => {},
    log,
  })
  spool.onCommit(({ position, tally }) => {
    receipts.add(tally)
    pipeline.committed(position)
  })
  pipeline.committed(spool.committed)
  onTestFinished(async () => {
    await pipeline.stop()
    await spool.close()
    await store.close()
  })
  /** Puts a message into the spool as the receiving thread does. */
  const receive = (topic: string, payload: string, more: Partial<Incoming> = {}) =>
    spool.append({
      receivedAt: Date.now(),
      topic,
      payload: Buffer.from(payload),
      qos: 1,
      retained: false,
      origin: 'mqtt',
      ...more,
    })
  const settled = (sets: number) =>
    vi.waitFor(
      () => {
        const { stored, duplicate, quarantined, waiting } = pipeline.counts()
        expect({ sum: stored + duplicate + quarantined, waiting }).toEqual({ sum: sets, waiting: 0 })
      },
      { timeout: 15_000, interval: 50 },
    )
  return { pipeline, clocks, registry, spool, spoolFolder, store, receive, settled }
}

/** The records know a position of the spool for good, and two spools that begin in the same second would have the same. */
async function freshSpool(folder: string): Promise<string> {
  mkdirSync(folder)
  await writeCheckpoint(folder, Math.floor(Date.now() / 1000) * 2 ** 21 + started++ * 2 ** 30)
  return folder
}
