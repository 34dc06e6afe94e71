import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import type { TestProject } from 'vitest/node'
import type { RecordsConnection } from '../src/records/data-folder.ts'
import { startEmbeddedPostgres } from '../src/records/embedded-postgres.ts'
import { migrate } from '../src/records/migrate.ts'
import { openRecords } from '../src/records/records.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The run's PostgreSQL; its database is the migrated one that test databases are copied from. */
    records: RecordsConnection
  }
}

/** One PostgreSQL for the whole run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-tests-'))
  await chmod(folder, 0o755) // where root runs the tests, PostgreSQL runs under another account
  const postgres = await startEmbeddedPostgres({ folder, log: pino({ level: 'warn' }) })
  const records = await openRecords(postgres.connection)
  await migrate(records.pool)
  // Only a power cut would tell the difference, and no test makes one.
  await records.pool.query('alter system set fsync = off')
  await records.pool.query('select pg_reload_conf()')
  await records.close() // PostgreSQL copies only a database that nobody is connected to
  project.provide('records', postgres.connection)
  return async () => {
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
}
