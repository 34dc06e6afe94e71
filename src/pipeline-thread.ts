import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { readCheckpoint } from './acquire/checkpoint.ts'
import { newestReceipt } from './acquire/clock-records.ts'
import { type Clocks, openClocks } from './acquire/clocks.ts'
import { openReceipts } from './acquire/counts.ts'
import { jsonCodec } from './acquire/json-codec.ts'
import { openNewness } from './acquire/newness.ts'
import type { SpoolDamage } from './acquire/spool-reader.ts'
import { openCatalogue } from './catalogue/open.ts'
import { openLog } from './log.ts'
import { openRegistry } from './machines/registry.ts'
import { type Pipeline, STATE_LAG_BYTES, startPipeline } from './pipeline.ts'
import { openRecords, type Records } from './records/records.ts'
import { joinThread } from './rpc.ts'
import { openDuckdbStore } from './store/duckdb-store.ts'
import { threadCpuSeconds } from './thread-cpu.ts'
import type { OfficeThread, PipelineThread, ReceivingThread, ThreadStart } from './threads.ts'

/** The second thread: everything between the spool and the records. */
const { config, dataFolder, receipts: shared, office: officePort } = workerData as ThreadStart & { office: MessagePort }
if (!parentPort) throw new Error('this runs as a thread of the service')

const log = openLog('pipeline', config.LOG_LEVEL)
const catalogue = openCatalogue(config)
const receipts = openReceipts(shared)
const spoolFolder = join(dataFolder, 'spool')
const storeOpening = openDuckdbStore({
  file: join(dataFolder, 'telemetry.duckdb'),
  memoryLimitMb: config.OUTRIGGER_DUCKDB_MEMORY_MB,
})
storeOpening.catch(() => {}) // told by `begin`

let pipeline: Pipeline | undefined
let records: Records | undefined
let clocks: Clocks | undefined

const offered: PipelineThread = {
  async begin(connection) {
    const store = await storeOpening
    records = await openRecords(connection, {
      connections: 3,
      onLost: (error) => log.warn({ err: error }, 'connection to the records lost'),
    })
    const { db } = records
    const registry = await openRegistry(db, catalogue, Date.now())
    clocks = await openClocks(db, { machineOf: registry.resolve, log })
    pipeline = await startPipeline({
      db,
      catalogue,
      registry,
      store,
      newness: await openNewness(store),
      codecs: [jsonCodec({ prefix: config.MQTT_TOPIC_PREFIX })],
      clocks,
      prefix: config.MQTT_TOPIC_PREFIX,
      receipts,
      spoolFolder,
      checkpoint: readCheckpoint(spoolFolder),
      retentionMs: config.OUTRIGGER_RETENTION_DAYS && config.OUTRIGGER_RETENTION_DAYS * 86_400_000,
      quarantineBytes: config.OUTRIGGER_QUARANTINE_BYTES,
      stateLagBytes: Math.min(STATE_LAG_BYTES, Math.min(config.OUTRIGGER_SPOOL_BYTES, diskBytes(spoolFolder)) / 8),
      settings: { noDataAfterMs: config.OUTRIGGER_NO_DATA_HOURS * 3_600_000, listeningSince: Date.now() },
      release: (position, worked) => receiving.tell('release', position, worked),
      heedDevices: (host) => receiving.tell('heedDevices', host),
      changed: (machines, moved) => office.tell('machinesChanged', machines, moved),
      log,
    })
    return newestReceipt(db, Date.now())
  },
  committed: (position) => pipeline?.committed(position),
  refresh: () => started().refresh(),
  receiptsStepped: (at, byMs) => clocks?.receiptsStepped(at, byMs),
  clocks: (query) => clocks?.view(query) ?? [],
  sequenceOf: (machine) => started().sequenceOf(machine),
  counts: () => started().counts(),
  cpuSeconds: threadCpuSeconds,
  messagesOf: (devices) => started().messagesOf(devices),
  state() {
    const trouble = pipeline ? pipeline.trouble() : 'not started yet'
    return { part: 'pipeline', ready: trouble === undefined, note: trouble ?? damageNote(pipeline?.counts().damage) }
  },
  range: async (query, limit) => (await storeOpening).range(query, limit),
  buckets: async (query) => (await storeOpening).buckets(query),
  reassign: (move) => started().reassign(move),
  latest: async (machine) => (await storeOpening).latest(machine),
  async stop() {
    await pipeline?.stop()
    await records?.close()
    await (await storeOpening.catch(() => undefined))?.close()
  },
}

/** The spool may be meant to take more than there is. */
function diskBytes(folder: string): number {
  const { blocks, bsize } = statfsSync(folder)
  return blocks * bsize
}

function damageNote(damage: SpoolDamage | undefined): string | undefined {
  if (!damage?.last) return undefined
  const { stretches, lost, last } = damage
  return `the spool was damaged and skipped in ${stretches} places since the start, last at ${last}, ${lost} messages are lost: see the quarantine, reason damaged`
}

function started(): Pipeline {
  if (!pipeline) throw new Error('the pipeline has not been started yet')
  return pipeline
}

const receiving = joinThread<ReceivingThread>(parentPort, { ...offered })
const office = joinThread<OfficeThread>(officePort, { ...offered })
