import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { migrate } from '../../src/records/migrate.ts'
import { testRecords } from './test-records.ts'

const { pool } = await testRecords()

async function folderWith(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-migrations-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  for (const [name, sql] of Object.entries(files)) await writeFile(join(folder, name), sql)
  return folder
}

/** The program's own migrations are applied already: the ones of a test come after them. */
async function applied(): Promise<Record<string, string>> {
  const { rows } = await pool.query('select name from schema_migrations')
  return Object.fromEntries(rows.map(({ name }) => [name, '']))
}

function tableName(): string {
  return `t_${randomUUID().replaceAll('-', '')}`
}

test('migrations: nothing is left to do on a database that is up to date', async () => {
  expect(await migrate(pool)).toEqual([])
})

test('migrations: new files are applied once, in order, by many at the same moment', async () => {
  const table = tableName()
  const folder = await folderWith({
    ...(await applied()),
    '9002-fill.sql': `insert into ${table} values (1); insert into ${table} values (2);`,
    '9001-make.sql': `create table ${table} (x int);`,
    'notes.md': 'no migration',
  })
  onTestFinished(async () => void (await pool.query(`delete from schema_migrations where name like '9%'`)))
  const done = await Promise.all([migrate(pool, folder), migrate(pool, folder), migrate(pool, folder)])
  expect(done.flat()).toEqual(['9001-make.sql', '9002-fill.sql'])
  expect((await pool.query(`select * from ${table}`)).rows).toEqual([{ x: 1 }, { x: 2 }])
})

test('migrations: a file that fails leaves nothing of itself and is named', async () => {
  const table = tableName()
  const folder = await folderWith({
    ...(await applied()),
    '9003-broken.sql': `create table ${table} (x int); select nonsense;`,
  })
  await expect(migrate(pool, folder)).rejects.toThrow(/9003-broken\.sql.*nonsense/)
  expect((await pool.query('select to_regclass($1) as it', [table])).rows).toEqual([{ it: null }])
  await expect(migrate(pool, folder)).rejects.toThrow('9003-broken.sql')
})

test('migrations: a database that a newer program used is refused', async () => {
  const folder = await folderWith({ '0001-machines.sql': '' })
  await expect(migrate(pool, folder)).rejects.toThrow(/newer version of Outrigger.*0002-alarms\.sql/)
})
