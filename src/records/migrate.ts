import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'
import { projectRoot } from '../root.ts'

const MIGRATION_FILE = /^(\d{4})-[a-z0-9-]+\.sql$/
const LOCK = 7_215_603 // any number, as long as it stays the same

/**
 * Brings the tables up to this program's version: every file of `src/records/migrations` that was not applied yet, in
 * the order of their numbers, each in a transaction of its own. Several processes may do so at the same moment.
 *
 * @returns names of the files that were applied
 * @throws {Error} the database was used by a newer program, or a file does not apply
 */
export async function migrate(
  pool: pg.Pool,
  folder = join(projectRoot, 'src', 'records', 'migrations'),
): Promise<string[]> {
  const files = (await readdir(folder)).filter((name) => MIGRATION_FILE.test(name)).sort()
  const client = await pool.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK])
    await client.query(
      'create table if not exists schema_migrations (name text primary key, applied_at timestamptz not null default now())',
    )
    const { rows } = await client.query<{ name: string }>('select name from schema_migrations order by name')
    const applied = new Set(rows.map((row) => row.name))
    const unknown = [...applied].filter((name) => !files.includes(name))
    if (unknown.length > 0) {
      throw new Error(
        `the records were used by a newer version of Outrigger (it applied ${unknown.join(', ')}); start that version, or restore a backup from before`,
      )
    }
    const waiting = files.filter((name) => !applied.has(name))
    for (const name of waiting) await apply(client, name, await readFile(join(folder, name), 'utf8'))
    return waiting
  } finally {
    await client.query('select pg_advisory_unlock($1)', [LOCK]).finally(() => client.release())
  }
}

async function apply(client: pg.PoolClient, name: string, sql: string): Promise<void> {
  try {
    await client.query('begin')
    await client.query(sql)
    await client.query('insert into schema_migrations (name) values ($1)', [name])
    await client.query('commit')
  } catch (cause) {
    await client.query('rollback')
    throw new Error(`${name} cannot be applied to the records: ${(cause as Error).message}`, { cause })
  }
}
