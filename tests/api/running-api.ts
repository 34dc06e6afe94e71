import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import pino from 'pino'
import { afterAll } from 'vitest'
import { builtinDesk } from '../../src/advise/builtin-desk.ts'
import { type ApiParts, buildApi } from '../../src/api/api.ts'
import { openDuckdbStore } from '../../src/store/duckdb-store.ts'
import type { TelemetryStore } from '../../src/store/telemetry-store.ts'
import type { PipelineCounts } from '../../src/threads.ts'
import { catalogue } from '../machines/story.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'

/** Wall clock of the API in tests. */
export const now = Date.UTC(2026, 6, 1, 10, 30)

export const counts: PipelineCounts = {
  received: 10,
  stored: 6,
  duplicate: 2,
  quarantined: 1,
  waiting: 1,
  messages: [{ kind: 'telemetry', qos: 1, count: 9 }],
  rejected: { implausible: 3 },
  unknownSignals: 4,
  conflicts: 5,
  sequenceGaps: 6,
  sequenceRepeats: 7,
  damage: { stretches: 8, lost: 9, last: 'a.spool@10' },
  hostClockOffsetMs: -1_500,
}

export interface RunningApi {
  readonly app: FastifyInstance
  readonly records: TestRecords
  readonly store: TelemetryStore
  /** What the API told others, in order. */
  readonly told: {
    readonly changed: string[]
    queued: number
    refreshed: number
    accessRefreshed: number
    bulks: number
  }
  /** What was put into the spool. */
  readonly injected: { topic: string; bytes: Buffer }[]
  get<T = any>(path: string, headers?: Record<string, string>): Promise<Answer<T>>
  post<T = any>(path: string, body?: object, headers?: Record<string, string>): Promise<Answer<T>>
  patch<T = any>(path: string, body: object): Promise<Answer<T>>
}

export interface Answer<T> {
  readonly status: number
  readonly body: T
  readonly headers: Readonly<Record<string, unknown>>
}

/** The whole API over real records and a real store, for one test file. Paths are below `/api/v1`. */
export async function runningApi({
  config,
  ...parts
}: Partial<Omit<ApiParts, 'config'>> & { config?: Partial<ApiParts['config']> } = {}): Promise<RunningApi> {
  const records = await testRecords()
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-api-'))
  const store = await openDuckdbStore({ file: join(folder, 'telemetry.duckdb'), threads: 1 })
  const told = { changed: [] as string[], queued: 0, refreshed: 0, accessRefreshed: 0, bulks: 0 }
  const injected: RunningApi['injected'] = []
  const app = await buildApi({
    db: records.db,
    catalogue,
    config: {
      OUTRIGGER_API_TOKEN: undefined,
      OUTRIGGER_QUARANTINE_BYTES: 1 << 30,
      MQTT_TOPIC_PREFIX: '',
      MQTT_MAX_PACKET_BYTES: 1 << 20,
      ...config,
    },
    log: pino({ level: 'silent' }),
    desk: builtinDesk({ db: records.db, now: () => now }),
    now: () => now,
    telemetry: store,
    clockReads: { clocks: async () => [], sequenceOf: async () => undefined },
    refresh: async () => {
      told.refreshed++
    },
    moveHistory: (move) => store.reassign(move),
    inject: async (topic, bytes) => {
      injected.push({ topic, bytes: Buffer.from(bytes) })
    },
    messagesOf: async () => ({ since: now, worked: 0, committed: 0, messages: [] }),
    connectionsOf: async () => [],
    spoolFolder: folder,
    admit: async () => ({ refused: 'unknown' }),
    take: async (topic, bytes) => {
      injected.push({ topic, bytes: Buffer.from(bytes) })
    },
    bulkStarted: () => {
      told.bulks++
    },
    changed: (machine) => {
      told.changed.push(machine)
    },
    accessKey: new Uint8Array(32),
    refreshAccess: async () => {
      told.accessRefreshed++
    },
    queued: () => {
      told.queued++
    },
    counts: async () => counts,
    spool: async () => ({ acknowledging: true, waitingBytes: 11, historyBytes: 12, budgetBytes: 13, note: undefined }),
    broker: async () => ({ connections: 3, refused: { size: 2 } }),
    threads: async () => ({ receiving: 1.5, pipeline: undefined }),
    queueCounts: async () => ({ waiting: 1 }),
    parts: async () => [{ part: 'records', ready: true }],
    ...parts,
  })
  afterAll(async () => {
    await app.close()
    await store.close()
    await rm(folder, { recursive: true, force: true })
  })

  async function ask(method: 'GET' | 'POST' | 'PATCH', path: string, payload?: object, headers = {}) {
    const answer = await app.inject({ method, url: `/api/v1${path}`, headers, ...(payload && { payload }) })
    return { status: answer.statusCode, body: answer.body === '' ? undefined : answer.json(), headers: answer.headers }
  }
  return {
    app,
    records,
    store,
    told,
    injected,
    get: (path, headers) => ask('GET', path, undefined, headers),
    post: (path, body = {}, headers) => ask('POST', path, body, headers),
    patch: (path, body) => ask('PATCH', path, body),
  }
}
