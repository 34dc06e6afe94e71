import type { DuckDBConnection } from '@duckdb/node-api'
import { level, type SignalValue } from '../reading.ts'
import { appendRows, eachRow, type Lane, openDuckdb, rowsOf } from './duckdb-engine.ts'
import { type LatestReadings, latestReadings } from './latest-readings.ts'
import { localDayStarts } from './local-days.ts'
import { type PlainRows, type ReadingRows, readingRows } from './reading-rows.ts'
import type {
  BucketFunction,
  BucketQuery,
  Point,
  ReadingIdentity,
  StoredReading,
  StoredSet,
  TelemetryStore,
} from './telemetry-store.ts'
import { timeClusters } from './time-clusters.ts'

export interface DuckdbStoreConfig {
  /** Path of the database file; its log (`.wal`) and overflow (`.tmp`) stand beside it. */
  readonly file: string
  /** What DuckDB may hold in memory, MiB. */
  readonly memoryLimitMb?: number
  readonly threads?: number
}

const DAY_MS = 86_400_000

/**
 * After so much since the last one the store is checkpointed: the log is replayed at start (a quarter of a second per million
 * rows) and what it holds stands in memory uncompressed (28 bytes a row).
 */
const CHECKPOINT_ROWS = 1_000_000
/** A commit of few rows costs the replay about as much as so many rows. */
const COMMIT_ROWS = 500

const AGGREGATES: Record<BucketFunction, string> = {
  mean: 'sum(value * coalesce(n, 1)) / sum(coalesce(n, 1))',
  min: 'min(coalesce(low, value))',
  max: 'max(coalesce(high, value))',
  last: 'arg_max(value, measured_at)',
  count: 'sum(coalesce(n, 1))',
}

type ReadingRow = readonly [measuredAt: number, value: number, low?: number, high?: number, n?: number]
const READING_COLUMNS = 'measured_at::DOUBLE, value, low, high, n'

/**
 * Telemetry in a DuckDB file: one row per value, appended by column, each append one transaction whose log is synced
 * before it resolves.
 *
 * The newest reading of every signal is kept in memory and saved in the file at each checkpoint: an upserted table would
 * cost more than the append itself, a scan on each read more than that. At start what was appended since is added.
 *
 * After an error that DuckDB calls fatal (a disk that was full while it checkpointed) the file is opened anew by the
 * next call.
 *
 * @throws {Error} the file cannot be opened; another process that holds it is named
 */
export async function openDuckdbStore({
  file,
  memoryLimitMb = 96,
  threads = 2,
}: DuckdbStoreConfig): Promise<TelemetryStore> {
  let closing = Promise.resolve()
  let opening: Promise<TelemetryStore> | undefined
  function opened(): Promise<TelemetryStore> {
    opening ??= closing
      .then(() => openOnce({ file, memoryLimitMb, threads }))
      .catch((error: unknown) => {
        opening = undefined
        throw error
      })
    return opening
  }

  async function call<T>(work: (store: TelemetryStore) => Promise<T>): Promise<T> {
    const mine = opened()
    const store = await mine
    try {
      return await work(store)
    } catch (error) {
      if (opening === mine && isFatal(error)) {
        opening = undefined
        closing = store.close().catch(() => {})
      }
      throw error
    }
  }

  await opened()
  return {
    append: (sets, replacing) => call((store) => store.append(sets, replacing)),
    find: (identities) => call((store) => store.find(identities)),
    highWaterMarks: () => call((store) => store.highWaterMarks()),
    range: (query, limit) => call((store) => store.range(query, limit)),
    history: (query) => call((store) => store.history(query)),
    buckets: (query) => call((store) => store.buckets(query)),
    latest: (machine) => call((store) => store.latest(machine)),
    dropBefore: (before) => call((store) => store.dropBefore(before)),
    reassign: (query) => call((store) => store.reassign(query)),
    async close() {
      await closing
      await (await opening)?.close()
    },
  }
}

function isFatal(error: unknown): boolean {
  return error instanceof Error && /^(FATAL|INTERNAL) Error/.test(error.message)
}

/** The store until its first fatal error. */
async function openOnce({ file, memoryLimitMb, threads }: Required<DuckdbStoreConfig>): Promise<TelemetryStore> {
  const engine = await openDuckdb({ file, memoryLimitMb, threads })
  const { writer } = engine
  const machines = await dictionary(writer, 'machine')
  const signals = await dictionary(writer, 'signal')
  const restored = await restoreLatest(writer)
  let { latest, batch } = restored
  let debt = restored.appendedSince

  const exclusively = serial()
  const running = new Set<Promise<unknown>>()

  /** Reads in a snapshot of their own; `close` waits for them. */
  function read<T>(work: (connection: DuckDBConnection) => Promise<T>, lane: Lane = 'answers'): Promise<T> {
    const reading = engine.read(lane, work).finally(() => running.delete(reading))
    running.add(reading)
    return reading
  }

  async function checkpointWhenDue(): Promise<void> {
    // Saving `latest` is a rewrite: it must stay small beside what was appended since.
    if (debt < Math.max(CHECKPOINT_ROWS, 2 * latest.size)) return
    await transaction(writer, () => saveLatest(writer, latest, batch))
    debt = 0
    // A transaction that is still open can refuse it: it is tried again after half as many rows.
    await writer.run('CHECKPOINT').catch(() => {
      debt = CHECKPOINT_ROWS / 2
    })
  }

  function identified(machine: string, signal: string): { machineId: number; signalId: number } | undefined {
    const machineId = machines.ids.get(machine)
    const signalId = signals.ids.get(signal)
    return machineId === undefined || signalId === undefined ? undefined : { machineId, signalId }
  }

  /** Adds what the store has of readings that are not far apart in time. */
  async function findCluster(asked: readonly ReadingIdentity[], found: StoredReading[]): Promise<void> {
    const rows = await read(async (connection) => {
      const machineIds = asked.map(({ machine }) => machines.ids.get(machine) as number)
      const signalIds = asked.map(({ signal }) => signals.ids.get(signal) as number)
      await ask(connection, machineIds, signalIds, asked)
      return rowsOf<readonly [machine: number, signal: number, ...ReadingRow]>(
        connection,
        `SELECT reading.machine, reading.signal, ${READING_COLUMNS.replace('measured_at', 'reading.measured_at')}
         FROM reading JOIN asked ON ${IS_ASKED('reading')}`,
      )
    }, 'judgement')
    for (const [machineId, signalId, ...row] of rows) {
      found.push({
        machine: machines.names[machineId] as string,
        signal: signals.names[signalId] as string,
        measuredAt: row[0],
        value: storedValue(row),
      })
    }
  }

  return {
    async append(sets, replacing = []) {
      if (sets.length + replacing.length === 0) return
      await exclusively(async () => {
        await checkpointWhenDue()
        const rows = readingRows([...sets, ...replacing.map(setOf)], machines.idOf, signals.idOf)
        try {
          await transaction(writer, async () => {
            await machines.save()
            await signals.save()
            if (replacing.length > 0) {
              const machineIds = replacing.map(({ machine }) => machines.idOf(machine))
              const signalIds = replacing.map(({ signal }) => signals.idOf(signal))
              await ask(writer, machineIds, signalIds, replacing)
              for (const table of ['plain', 'summary'])
                await writer.run(`DELETE FROM ${table} USING asked WHERE ${IS_ASKED(table)}`)
            }
            await appendReadings(writer, batch + 1, rows)
          })
        } catch (error) {
          machines.forget()
          signals.forget()
          throw error
        }
        machines.keep()
        signals.keep()
        batch += 1
        debt += rows.plain.count + rows.summary.count + COMMIT_ROWS
        noteRows(latest, rows)
      })
    },

    async find(identities) {
      const found: StoredReading[] = []
      const asked: ReadingIdentity[] = []
      for (const { machine, signal, measuredAt } of identities) {
        const ids = identified(machine, signal)
        const newest = ids && latest.get(ids.machineId, ids.signalId)
        if (!newest || measuredAt > newest.measuredAt) continue
        if (measuredAt === newest.measuredAt) found.push({ machine, signal, measuredAt, value: newest.value })
        else asked.push({ machine, signal, measuredAt })
      }
      if (asked.length > 0) for (const cluster of timeClusters(asked)) await findCluster(cluster, found)
      return found
    },

    async highWaterMarks() {
      return marksOf(latest, machines.names, signals.names)
    },

    async range({ machine, signal, from, to }, limit) {
      const ids = identified(machine, signal)
      if (!ids) return []
      return read((connection) =>
        rowsOf<Point>(
          connection,
          `SELECT measured_at::DOUBLE, value FROM reading WHERE ${IN_RANGE} ORDER BY measured_at LIMIT $limit`,
          { ...ids, from: instant(from), to: instant(to), limit: BigInt(limit) },
        ),
      )
    },

    async history({ machine, signals: wanted, from, to }) {
      const machineId = machines.ids.get(machine)
      const signalIds = wanted?.map((signal) => signals.ids.get(signal)).filter((id) => id !== undefined)
      if (machineId === undefined || signalIds?.length === 0) return []
      const ofSignals = signalIds ? `AND signal IN (${signalIds.join(', ')})` : ''
      const rows = await read((connection) =>
        rowsOf<readonly [signal: number, ...ReadingRow]>(
          connection,
          `SELECT signal, ${READING_COLUMNS} FROM reading
           WHERE machine = $machineId ${ofSignals} AND measured_at >= $from AND measured_at < $to ORDER BY measured_at`,
          { machineId, from: instant(from), to: instant(to) },
        ),
      )
      return rows.map(([signalId, ...row]) => ({
        machine,
        signal: signals.names[signalId] as string,
        measuredAt: row[0],
        value: storedValue(row),
      }))
    },

    async buckets(query) {
      const ids = identified(query.machine, query.signal)
      if (!ids) return []
      const range = { ...ids, from: instant(query.from), to: instant(query.to) }
      return read(async (connection) => {
        if (query.timeZone === undefined) {
          return rowsOf<Point>(
            connection,
            // The remainder keeps the sign of what is divided: the second one puts instants before 1970 into their bucket.
            `SELECT (measured_at - (measured_at % $every + $every) % $every)::DOUBLE AS start, ${AGGREGATES[query.fn]}
             FROM reading WHERE ${IN_RANGE} GROUP BY start ORDER BY start`,
            { ...range, every: BigInt(query.everyMs) },
          )
        }
        return dayBuckets(connection, query, query.timeZone, range)
      })
    },

    async latest(machine) {
      const machineId = machines.ids.get(machine)
      if (machineId === undefined) return []
      return Array.from(latest.ofMachine(machineId), ({ signal, measuredAt, value }) => ({
        signal: signals.names[signal] as string,
        measuredAt,
        value,
      }))
    },

    async dropBefore(before) {
      return exclusively(async () => {
        const kept = latestReadings()
        for (const { machine, signal, measuredAt, value } of latest.all())
          if (measuredAt >= before) kept.note(machine, signal, measuredAt, value)
        const dropped = await transaction(writer, async () => {
          let rows = 0
          for (const table of ['plain', 'summary'])
            rows += await changed(writer, `DELETE FROM ${table} WHERE measured_at < $before`, {
              before: instant(before),
            })
          if (rows > 0) await saveLatest(writer, kept, batch)
          return rows
        })
        latest = kept
        debt += dropped
        await checkpointWhenDue() // only that frees the space
        return dropped
      })
    },

    async reassign({ from, to, measuredFrom = Number.NEGATIVE_INFINITY, measuredTo = Number.POSITIVE_INFINITY }) {
      return exclusively(async () => {
        const source = machines.ids.get(from)
        if (source === undefined || from === to) return 0
        const target = machines.idOf(to)
        const range = { source, target, from: instant(measuredFrom), to: instant(measuredTo) }
        const moving = 'machine = $source AND measured_at >= $from AND measured_at < $to'
        let moved: { rows: number; latest: LatestReadings }
        try {
          moved = await transaction(writer, async () => {
            await machines.save()
            let rows = 0
            for (const table of ['plain', 'summary'])
              await changed(
                writer,
                `DELETE FROM ${table} WHERE ${moving} AND EXISTS (FROM reading AS standing WHERE standing.machine = $target
                 AND standing.signal = ${table}.signal AND standing.measured_at = ${table}.measured_at)`,
                range,
              )
            for (const table of ['plain', 'summary'])
              rows += await changed(writer, `UPDATE ${table} SET machine = $target WHERE ${moving}`, range)
            const after = latestReadings()
            for (const { machine, signal, measuredAt, value } of latest.all())
              if (machine !== source && machine !== target) after.note(machine, signal, measuredAt, value)
            await noteNewest(writer, after, `machine IN (${source}, ${target})`)
            await saveLatest(writer, after, batch)
            return { rows, latest: after }
          })
        } catch (error) {
          machines.forget()
          throw error
        }
        machines.keep()
        latest = moved.latest
        debt += moved.rows
        return moved.rows
      })
    },

    async close() {
      await exclusively(async () => {
        await Promise.allSettled(running)
        try {
          await transaction(writer, () => saveLatest(writer, latest, batch))
        } finally {
          engine.close() // checkpoints
        }
      })
    },
  }
}

const IN_RANGE = 'machine = $machineId AND signal = $signalId AND measured_at >= $from AND measured_at < $to'
const IS_ASKED = (table: string) =>
  `${table}.machine = asked.machine AND ${table}.signal = asked.signal AND ${table}.measured_at = asked.measured_at`

/** An instant as DuckDB compares it: times are stored in whole ms, so the next one upwards asks the same. */
function instant(epochMs: number): bigint {
  const farthest = 8.64e15 // what a Date can be
  return BigInt(Math.ceil(Math.min(Math.max(epochMs, -farthest), farthest)))
}

function storedValue([, value, min, max, n]: ReadingRow): SignalValue {
  return n === undefined ? value : { min: min as number, mean: value, max: max as number, n }
}

/** Runs one piece of work after the other, in the order of the calls; an error is its caller's alone. */
function serial() {
  let last: Promise<unknown> = Promise.resolve()
  return <T>(work: () => Promise<T>): Promise<T> => {
    const result = last.then(work)
    last = result.catch(() => {})
    return result
  }
}

async function transaction<T>(connection: DuckDBConnection, work: () => Promise<T>): Promise<T> {
  await connection.run('BEGIN')
  try {
    const result = await work()
    await connection.run('COMMIT')
    return result
  } catch (error) {
    await connection.run('ROLLBACK').catch(() => {}) // a commit that failed has rolled back already
    throw error
  }
}

async function changed(
  connection: DuckDBConnection,
  sql: string,
  values: Record<string, number | bigint>,
): Promise<number> {
  const [row] = await rowsOf<readonly [bigint]>(connection, sql, values)
  return Number(row?.[0] ?? 0)
}

/** Puts identities into the temporary table `asked` of the connection. */
async function ask(
  connection: DuckDBConnection,
  machineIds: ArrayLike<number>,
  signalIds: ArrayLike<number>,
  identities: readonly ReadingIdentity[],
): Promise<void> {
  await connection.run('CREATE OR REPLACE TEMP TABLE asked (machine INTEGER, signal INTEGER, measured_at BIGINT)')
  await appendRows(connection, 'temp.asked', [
    { kind: 'number', values: machineIds },
    { kind: 'number', values: signalIds },
    { kind: 'number', values: Float64Array.from(identities, ({ measuredAt }) => measuredAt) },
  ])
}

function* marksOf(
  latest: LatestReadings,
  machines: readonly string[],
  signals: readonly string[],
): Iterable<ReadingIdentity> {
  for (const { machine, signal, measuredAt } of latest.all())
    yield { machine: machines[machine] as string, signal: signals[signal] as string, measuredAt }
}

function setOf({ machine, measuredAt, signal, value }: StoredReading): StoredSet {
  return { machine, measuredAt, values: new Map([[signal, value]]) }
}

async function appendReadings(
  connection: DuckDBConnection,
  batch: number,
  { plain, summary }: ReadingRows,
): Promise<void> {
  const numbers = (values: ArrayLike<number>) => ({ kind: 'number', values }) as const
  const common = ({ count, machine, signal, measuredAt, value }: PlainRows) =>
    [new Float64Array(count).fill(batch), machine, signal, measuredAt, value].map(numbers)
  await appendRows(connection, 'plain', common(plain))
  await appendRows(connection, 'summary', [...common(summary), ...[summary.low, summary.high, summary.n].map(numbers)])
}

function noteRows(latest: LatestReadings, { plain, summary }: ReadingRows): void {
  const at = (column: Float64Array, row: number) => column[row] as number
  for (let row = 0; row < plain.count; row++)
    latest.note(at(plain.machine, row), at(plain.signal, row), at(plain.measuredAt, row), at(plain.value, row))
  const { machine, signal, measuredAt, value, low, high, n } = summary
  for (let row = 0; row < summary.count; row++) {
    const stored = { min: at(low, row), mean: at(value, row), max: at(high, row), n: at(n, row) }
    latest.note(at(machine, row), at(signal, row), at(measuredAt, row), stored)
  }
}

/** Adds the newest reading per machine and signal of the rows that `where` chooses. */
async function noteNewest(connection: DuckDBConnection, latest: LatestReadings, where: string): Promise<void> {
  await eachRow<NewestRow>(
    connection,
    `SELECT machine, signal, newest.measured_at::DOUBLE, newest.value, newest.low, newest.high, newest.n FROM (
       SELECT machine, signal,
         arg_max({measured_at: measured_at, value: value, low: low, high: high, n: n}, measured_at) AS newest
       FROM reading WHERE ${where} GROUP BY machine, signal)`,
    (row) => noteRow(latest, row),
  )
}

type NewestRow = readonly [machine: number, signal: number, ...ReadingRow]

function noteRow(latest: LatestReadings, [machine, signal, measuredAt, value, min, max, n]: NewestRow): void {
  latest.note(machine, signal, measuredAt, storedValue([measuredAt, value, min, max, n]))
}

async function saveLatest(connection: DuckDBConnection, latest: LatestReadings, until: number): Promise<void> {
  const machines = new Float64Array(latest.size)
  const signals = new Float64Array(latest.size)
  const times = new Float64Array(latest.size)
  const [values, lows, highs, counts] = [0, 1, 2, 3].map(() => new Float64Array(latest.size).fill(Number.NaN)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  let index = 0
  for (const { machine, signal, measuredAt, value } of latest.all()) {
    machines[index] = machine
    signals[index] = signal
    times[index] = measuredAt
    values[index] = level(value)
    if (typeof value !== 'number') {
      lows[index] = value.min
      highs[index] = value.max
      counts[index] = value.n
    }
    index += 1
  }
  await connection.run('DELETE FROM latest')
  await appendRows(connection, 'latest', [
    ...[machines, signals, times, values].map((column) => ({ kind: 'number', values: column }) as const),
    ...[lows, highs, counts].map((column) => ({ kind: 'nullable', values: column }) as const),
  ])
  await connection.run('DELETE FROM latest_until')
  await appendRows(connection, 'latest_until', [{ kind: 'number', values: [until] }])
}

/** What `saveLatest` saved, and what was appended after it. */
async function restoreLatest(connection: DuckDBConnection) {
  const latest = latestReadings()
  await eachRow<NewestRow>(connection, `SELECT machine, signal, ${READING_COLUMNS} FROM latest`, (row) =>
    noteRow(latest, row),
  )
  const [until] = await rowsOf<readonly [number]>(connection, 'SELECT batch FROM latest_until')
  const since = `batch > ${until?.[0] ?? 0}`
  await noteNewest(connection, latest, since)
  const [appended] = await rowsOf<readonly [batch: number | undefined, rows: number]>(
    connection,
    `SELECT max(batch), count(*)::DOUBLE FROM reading WHERE ${since}`,
  )
  return { latest, batch: appended?.[0] ?? until?.[0] ?? 0, appendedSince: appended?.[1] ?? 0 }
}

/** Names and their integer ids, as the table of that name holds them. */
async function dictionary(connection: DuckDBConnection, table: 'machine' | 'signal') {
  const ids = new Map<string, number>()
  const names: string[] = []
  for (const [id, name] of await rowsOf<readonly [number, string]>(connection, `SELECT id, name FROM ${table}`)) {
    ids.set(name, id)
    names[id] = name
  }
  let saved = names.length
  return {
    ids: ids as ReadonlyMap<string, number>,
    names: names as readonly string[],
    /** The id of a name; a new one holds once it is saved and its transaction committed, told by `keep` or `forget`. */
    idOf(name: string): number {
      const known = ids.get(name)
      if (known !== undefined) return known
      ids.set(name, names.length)
      return names.push(name) - 1
    },
    async save() {
      const added = names.slice(saved)
      await appendRows(connection, table, [
        { kind: 'number', values: added.map((_, index) => saved + index) },
        { kind: 'text', values: added },
      ])
    },
    keep() {
      saved = names.length
    },
    forget() {
      for (const name of names.splice(saved)) ids.delete(name)
    },
  }
}

async function dayBuckets(
  connection: DuckDBConnection,
  { everyMs, fn }: BucketQuery,
  timeZone: string,
  range: Record<string, number | bigint>,
): Promise<Point[]> {
  if (everyMs % DAY_MS !== 0) throw new RangeError(`buckets in a time zone are whole days, not ${everyMs} ms`)
  const [ends] = await rowsOf<readonly [first?: number, last?: number]>(
    connection,
    `SELECT min(measured_at)::DOUBLE, max(measured_at)::DOUBLE FROM reading WHERE ${IN_RANGE}`,
    range,
  )
  if (ends?.[0] === undefined || ends[1] === undefined) return []
  const starts = localDayStarts(ends[0], ends[1], timeZone, everyMs / DAY_MS)
  await connection.run('CREATE OR REPLACE TEMP TABLE bucket (start BIGINT)')
  await appendRows(connection, 'temp.bucket', [{ kind: 'number', values: starts }])
  return rowsOf<Point>(
    connection,
    `SELECT start::DOUBLE, ${AGGREGATES[fn]} FROM reading ASOF JOIN bucket ON measured_at >= start
     WHERE ${IN_RANGE} GROUP BY start ORDER BY start`,
    range,
  )
}
