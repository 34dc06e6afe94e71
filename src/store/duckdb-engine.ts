import type { DuckDBConnection, DuckDBResult, DuckDBValue } from '@duckdb/node-api'
import { BIGINT, DOUBLE, DuckDBDataChunk, DuckDBInstance, INTEGER, VARCHAR } from '@duckdb/node-api'

/**
 * What the store needs of DuckDB: one file, one connection that writes, some that read, and rows in and out by
 * column.
 */
export interface DuckdbEngine {
  readonly writer: DuckDBConnection
  /**
   * Lends a connection for reading: a snapshot of its own, so that a slow read holds up no write. `answers` to people
   * are slow at times, two at once and then in turn; the `judgement` of readings waits for none of them.
   */
  read<T>(lane: Lane, work: (connection: DuckDBConnection) => Promise<T>): Promise<T>
  close(): void
}

export type Lane = 'answers' | 'judgement'

/** A column to append: numbers of any kind travel as doubles and DuckDB casts them; NaN is NULL in a nullable one. */
export type Column =
  | { readonly kind: 'number' | 'nullable'; readonly values: ArrayLike<number> }
  | { readonly kind: 'text'; readonly values: readonly string[] }

// A value of a signal stands in one of two tables, so that plain values, nearly all there are, carry no empty columns
// through the write-ahead log (28 bytes a row instead of 48). No primary key: it would halve the speed, and the caller
// decides what is new. `batch` rises with every append; behind the last batch that `latest` has seen, little is to be
// read at start.
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS machine (id INTEGER NOT NULL, name VARCHAR NOT NULL);
  CREATE TABLE IF NOT EXISTS signal (id INTEGER NOT NULL, name VARCHAR NOT NULL);
  CREATE TABLE IF NOT EXISTS plain (
    batch INTEGER NOT NULL, machine INTEGER NOT NULL, signal INTEGER NOT NULL, measured_at BIGINT NOT NULL,
    value DOUBLE NOT NULL);
  CREATE TABLE IF NOT EXISTS summary (
    batch INTEGER NOT NULL, machine INTEGER NOT NULL, signal INTEGER NOT NULL, measured_at BIGINT NOT NULL,
    value DOUBLE NOT NULL, low DOUBLE NOT NULL, high DOUBLE NOT NULL, n DOUBLE NOT NULL);
  CREATE VIEW IF NOT EXISTS reading AS
    SELECT batch, machine, signal, measured_at, value, NULL::DOUBLE AS low, NULL::DOUBLE AS high, NULL::DOUBLE AS n FROM plain
    UNION ALL
    SELECT batch, machine, signal, measured_at, value, low, high, n FROM summary;
  CREATE TABLE IF NOT EXISTS latest (
    machine INTEGER NOT NULL, signal INTEGER NOT NULL, measured_at BIGINT NOT NULL,
    value DOUBLE NOT NULL, low DOUBLE, high DOUBLE, n DOUBLE);
  CREATE TABLE IF NOT EXISTS latest_until (batch INTEGER NOT NULL);
`

/**
 * Opens or makes the file.
 *
 * @throws {Error} another process holds the file, with its pid; or it cannot be opened for another reason
 */
export async function openDuckdb(config: {
  file: string
  memoryLimitMb: number
  threads: number
}): Promise<DuckdbEngine> {
  const instance = await DuckDBInstance.create(config.file, {
    memory_limit: `${config.memoryLimitMb}MiB`,
    threads: String(config.threads),
    temp_directory: `${config.file}.tmp`,
    // Checkpoints take up to some hundred ms, so they come when the store asks for one, not within an append.
    wal_autocheckpoint: '1TB',
    // Nothing is ever downloaded at run time.
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  }).catch((cause: unknown) => {
    throw openingError(config.file, cause)
  })
  const writer = await instance.connect()
  await writer.run(SCHEMA)

  // Each query under way keeps one of libuv's four threads, which the whole process shares: not all of them.
  const lanes = { answers: lane(instance, 2), judgement: lane(instance, 1) }
  return {
    writer,
    read: (name, work) => lanes[name].read(work),
    close() {
      writer.closeSync()
      lanes.answers.close()
      lanes.judgement.close()
      instance.closeSync()
    },
  }
}

/** At most `width` connections that read at once; whoever comes later waits in turn. */
function lane(instance: DuckDBInstance, width: number) {
  const connections: DuckDBConnection[] = []
  const idle: DuckDBConnection[] = []
  const waiting: (() => void)[] = []
  let busy = 0
  return {
    async read<T>(work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
      if (busy >= width) await new Promise<void>((resolve) => waiting.push(resolve))
      else busy += 1
      let connection = idle.pop()
      try {
        if (!connection) {
          connection = await instance.connect()
          connections.push(connection)
        }
        return await work(connection)
      } finally {
        if (connection) idle.push(connection)
        const next = waiting.shift()
        if (next) next()
        else busy -= 1
      }
    },
    close() {
      for (const connection of connections) connection.closeSync()
    },
  }
}

function openingError(file: string, cause: unknown): Error {
  const message = cause instanceof Error ? cause.message : String(cause)
  if (!/lock/i.test(message)) return new Error(`the telemetry file ${file} cannot be opened: ${message}`, { cause })
  const pid = /PID (\d+)/i.exec(message)?.[1]
  const holder = pid ? `process ${pid}` : 'another process'
  return new Error(`the telemetry file ${file} is held by ${holder}: only one process at a time can open it`, { cause })
}

/**
 * Appends rows by column, within the transaction that is open on the connection.
 *
 * @param table name, `temp.` in front for a temporary one
 * @param columns all of the table's, in its order
 */
export async function appendRows(
  connection: DuckDBConnection,
  table: string,
  columns: readonly Column[],
): Promise<void> {
  const rows = columns[0]?.values.length ?? 0
  if (rows === 0) return
  const [catalog, name] = table.startsWith('temp.') ? ['temp', table.slice('temp.'.length)] : [null, table]
  const appender = await connection.createAppender(name, null, catalog)
  const types = columns.map((column) => (column.kind === 'text' ? VARCHAR : DOUBLE))
  const chunkRows = 2048 // what a data chunk of DuckDB holds
  for (let offset = 0; offset < rows; offset += chunkRows) {
    const count = Math.min(chunkRows, rows - offset)
    const chunk = DuckDBDataChunk.create(types, count)
    for (const [index, { kind, values }] of columns.entries()) {
      const vector = chunk.getColumnVector(index)
      for (let row = 0; row < count; row++) {
        const value = values[offset + row] as number | string
        vector.setItem(row, kind === 'nullable' && Number.isNaN(value) ? null : value)
      }
      vector.flush()
    }
    appender.appendDataChunk(chunk)
  }
  appender.closeSync() // flushes into the transaction; the log is written by its commit
}

/** Runs SQL and reads the rows; `undefined` stands for NULL. Cast 64-bit integers to DOUBLE: they come as bigint. */
export async function rowsOf<Row extends readonly unknown[]>(
  connection: DuckDBConnection,
  sql: string,
  values: Record<string, DuckDBValue> = {},
): Promise<Row[]> {
  const rows: Row[] = []
  await eachRow<Row>(connection, sql, (row) => rows.push(row), values)
  return rows
}

/** Runs SQL and shows each row, as `rowsOf` gives it: of hundreds of thousands, some at a time are in memory. */
export async function eachRow<Row extends readonly unknown[]>(
  connection: DuckDBConnection,
  sql: string,
  visit: (row: Row) => void,
  values: Record<string, DuckDBValue> = {},
): Promise<void> {
  const result: DuckDBResult = await connection.run(sql, values, typesOf(values))
  for await (const chunk of result) {
    const columns = Array.from({ length: chunk.columnCount }, (_, index) => chunk.getColumnVector(index))
    for (let row = 0; row < chunk.rowCount; row++)
      visit(columns.map((column) => column.getItem(row) ?? undefined) as unknown as Row)
  }
}

// A bigint would be bound as HUGEINT and a number as DOUBLE, and a column be compared in that type.
function typesOf(values: Record<string, DuckDBValue>) {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === 'bigint' ? BIGINT : INTEGER] as const),
  )
}
