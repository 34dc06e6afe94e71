import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, inject } from 'vitest'
import type { RecordsConnection } from '../../src/records/data-folder.ts'
import { openRecords, type Records } from '../../src/records/records.ts'

export interface TestRecords extends Records {
  readonly connection: RecordsConnection
}

/** A fresh, migrated database on the run's PostgreSQL, for one test file: it goes when the file is done. */
export async function testRecords(): Promise<TestRecords> {
  const template = inject('records')
  const database = `test_${randomUUID().replaceAll('-', '')}`
  await administer(`create database ${database} template ${template.database}`)
  const connection = { ...template, database }
  const records = await openRecords(connection, { connections: 4 })
  afterAll(async () => {
    await records.close()
    await administer(`drop database if exists ${database} with (force)`)
  })
  return { ...records, connection }
}

async function administer(sql: string): Promise<void> {
  const client = new pg.Client({ ...inject('records'), database: 'template1' })
  await client.connect()
  await client.query(sql).finally(() => client.end())
}
