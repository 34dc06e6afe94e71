import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { readCheckpoint } from '../src/acquire/checkpoint.ts'
import { openClocks } from '../src/acquire/clocks.ts'
import { openReceipts } from '../src/acquire/counts.ts'
import { jsonCodec } from '../src/acquire/json-codec.ts'
import { openNewness } from '../src/acquire/newness.ts'
import { openSpool } from '../src/acquire/spool.ts'
import { messageKind } from '../src/acquire/topics.ts'
import { openLog } from '../src/log.ts'
import { openRegistry } from '../src/machines/registry.ts'
import { startPipeline } from '../src/pipeline.ts'
import { openDuckdbStore } from '../src/store/duckdb-store.ts'
import { catalogue } from './machines/story.ts'
import { type TestRecords, testRecords } from './records/test-records.ts'

const log = openLog('test', 'silent')
const start = Date.UTC(2026, 0, 5)
const MACHINES = ['pump-1', 'pump-2', 'pump-3']
const CHUNKS = 12

/** Numbers from 0 to 1 that a seed repeats. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

interface Message {
  readonly machine: string
  readonly at: number
  readonly payload: string
}

/** Hours of pumping with heat that comes and goes, fault codes, late readings and redeliveries. */
function story(seed: number): Message[][] {
  const random = seeded(seed)
  const chunks: Message[][] = Array.from({ length: CHUNKS }, () => [])
  for (const machine of MACHINES) {
    let heat = 60
    const phase = random() * 6
    const messages = Array.from({ length: 600 }, (_, i) => {
      heat += (random() - 0.5) * 2 + (Math.sin(i / 60 + phase) > 0.3 ? 0.6 : -0.6)
      heat = Math.min(Math.max(heat, 40), 105)
      const at = start + i * 10_000
      const signals = {
        hyd_oil_temp_c: Math.round(heat * 10) / 10,
        engine_speed_rpm: 1500 + Math.round(random() * 20),
        main_pressure_bar: Math.round(1800 + 300 * random()) / 10,
        engine_hours_h: Math.round((1200 + i / 360) * 1000) / 1000,
      }
      return { machine, at, payload: JSON.stringify({ ts: at, seq: i, mode: 'pumping', signals }) }
    })
    for (const [i, message] of messages.entries()) {
      const chunk = Math.floor((i * CHUNKS) / messages.length)
      const late = random() < 0.01 ? Math.min(CHUNKS - 1, chunk + 1) : chunk
      chunks[late]?.push(message)
      if (random() < 0.02) chunks[Math.min(CHUNKS - 1, chunk + Math.floor(random() * 2))]?.push(message)
    }
  }
  return chunks
}

/** The service's stages on a folder and records, until they end or are killed. */
async function startStages(folder: string, records: TestRecords) {
  const spoolFolder = join(folder, 'spool')
  mkdirSync(spoolFolder, { recursive: true })
  const spool = await openSpool({ folder: spoolFolder, kindOf: (topic) => messageKind(topic, ''), log })
  const store = await openDuckdbStore({ file: join(folder, 'telemetry.duckdb'), threads: 1 })
  const receipts = openReceipts()
  receipts.add(spool.waitingAtStart)
  const registry = await openRegistry(records.db, catalogue, Date.now())
  const pipeline = await startPipeline({
    db: records.db,
    catalogue,
    registry,
    store,
    newness: await openNewness(store),
    codecs: [jsonCodec()],
    clocks: await openClocks(records.db, { machineOf: registry.resolve, log }),
    prefix: '',
    receipts,
    spoolFolder,
    checkpoint: readCheckpoint(spoolFolder),
    retentionMs: undefined,
    quarantineBytes: 1 << 30,
    stateLagBytes: 1 << 16, // small, so that some states are written on the way and others are not
    settings: { noDataAfterMs: 10 * 365 * 86_400_000, listeningSince: start },
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
  const stop = async () => {
    await pipeline.stop()
    await spool.close()
    await store.close()
  }
  return {
    stop,
    async take(messages: readonly Message[]) {
      const durable = messages.map(({ machine, payload }) =>
        spool.append({
          receivedAt: start + 8 * 3_600_000,
          topic: `machines/${machine}/telemetry`,
          payload: Buffer.from(payload),
          qos: 1,
          retained: false,
          origin: 'mqtt',
        }),
      )
      await Promise.all(durable)
      await vi.waitFor(() => expect(pipeline.counts().waiting).toBe(0), { timeout: 20_000, interval: 20 })
    },
    /** Ends without what a stop would still write. */
    async kill() {
      const { states, progress } = await records.db
        .transaction()
        .setIsolationLevel('repeatable read')
        .execute(async (trx) => ({
          states: await trx.selectFrom('stage_state').selectAll().execute(),
          progress: await trx.selectFrom('spool_progress').selectAll().execute(),
        }))
      await stop()
      await records.pool.query('delete from stage_state')
      await records.pool.query('delete from spool_progress')
      for (const { machine, state, position, waits } of states)
        await records.pool.query('insert into stage_state values ($1, $2, $3, $4)', [machine, state, position, waits])
      for (const { position, states_from } of progress)
        await records.pool.query('insert into spool_progress (position, states_from) values ($1, $2)', [
          position,
          states_from,
        ])
      return states.length
    },
  }
}

/** What a run leaves behind, without what only says when and where in the spool it was. */
async function outcome(records: TestRecords) {
  const { rows: states } = await records.pool.query(
    `select machine, state - 'late' as state from stage_state order by machine`,
  )
  const { rows: alarms } = await records.pool.query(
    `select machine, key, severity, state, historical, value, limit_value, since, raised_at, cleared_at from alarms
     order by machine, key, raised_at`,
  )
  const { rows: hours } = await records.pool.query(
    'select machine, service_hours, newest_measured_at from machine_status order by machine',
  )
  return { states, alarms, hours }
}

for (const seed of [1, 8]) {
  const [whole, killed] = [await testRecords(), await testRecords()]
  test(`killed again and again, machines are judged as if nothing had been (seed ${seed})`, async () => {
    const random = seeded(seed + 100)
    const folders = [1, 2].map(() => mkdtempSync(join(tmpdir(), 'outrigger-recovery-'))) as [string, string]
    onTestFinished(() => {
      for (const folder of folders) rmSync(folder, { recursive: true, force: true })
    })
    for (const { pool } of [whole, killed])
      await pool.query(`insert into machines (id, type, state) select unnest($1::text[]), 'boom_pump', 'in_service'`, [
        MACHINES,
      ])
    const chunks = story(seed)

    const uninterrupted = await startStages(folders[0], whole)
    for (const chunk of chunks) await uninterrupted.take(chunk)
    await uninterrupted.stop()

    let stages = await startStages(folders[1], killed)
    for (const [i, chunk] of chunks.entries()) {
      await stages.take(chunk)
      const kills = i === CHUNKS - 1 ? 0 : Math.floor(random() * 3) // also before it has caught up
      for (let kill = 0; kill < kills; kill++) {
        await stages.kill()
        stages = await startStages(folders[1], killed)
      }
    }
    await stages.stop()

    const [expected, found] = [await outcome(whole), await outcome(killed)]
    expect(expected.alarms.length).toBeGreaterThan(0)
    expect(found).toEqual(expected)
  }, 120_000)
}
