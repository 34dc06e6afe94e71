import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import type { RecordsConnection } from './data-folder.ts'
import { LastingClient } from './lasting-client.ts'
import type { Database } from './tables.ts'

/** The records: machines, alarms, jobs, inspections and what people changed. */
export interface Records {
  readonly db: Kysely<Database>
  /** The same connections, for what Kysely cannot say. */
  readonly pool: pg.Pool
  close(): Promise<void>
}

export interface RecordsConfig {
  /** Most connections at one time. */
  readonly connections?: number
  /** Told of connections that broke while idle; the pool replaces them. */
  readonly onLost?: (error: Error) => void
}

const BIGINT = pg.types.builtins.INT8

/** `bigint` holds counters and numbers of rows here: far from 2^53. */
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === BIGINT && format !== 'binary' ? Number : pg.types.getTypeParser(oid, format),
}

/**
 * Opens the records and asks whether they answer.
 *
 * @param connection fields of a connection, or `DATABASE_URL` (`postgres://…`)
 * @throws {Error} the database does not answer
 */
export async function openRecords(
  connection: RecordsConnection | string,
  { connections = 8, onLost = () => {} }: RecordsConfig = {},
): Promise<Records> {
  const where = typeof connection === 'string' ? { connectionString: connection } : connection
  const pool = new pg.Pool({ ...where, Client: LastingClient, max: connections, types, application_name: 'outrigger' })
  let closing = false
  pool.on('error', (error) => closing || onLost(error))
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
  try {
    await pool.query('select 1')
  } catch (error) {
    await pool.end()
    throw error
  }
  return {
    db,
    pool,
    close() {
      closing = true
      return pool.end() // Kysely would not end a pool that it has not used
    },
  }
}
