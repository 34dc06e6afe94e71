import { expect, inject, onTestFinished, test } from 'vitest'
import { openRecords } from '../../src/records/records.ts'
import { testRecords } from './test-records.ts'

const { db } = await testRecords()

test('records: counters come as numbers, times as Date, documents as what was stored', async () => {
  await db
    .insertInto('machines')
    .values({ id: 'm-1', type: 'generic', state: 'in_service', contacts: JSON.stringify([{ name: 'A' }]) })
    .execute()
  const machine = await db.selectFrom('machines').selectAll().executeTakeFirstOrThrow()
  expect(machine).toMatchObject({
    revision: expect.any(Number),
    created_at: expect.any(Date),
    contacts: [{ name: 'A' }],
  })
})

test('records: a DATABASE_URL opens them too', async () => {
  const { host, user, database } = inject('records')
  const { db: other, close } = await openRecords(`postgres://${user}@/${database}?host=${encodeURIComponent(host)}`)
  onTestFinished(close)
  expect(await other.selectFrom('machines').selectAll().execute()).toEqual([])
})

test('records: a database that does not answer is an error at once', async () => {
  await expect(openRecords('postgres://nobody@127.0.0.1:1/none')).rejects.toThrow('ECONNREFUSED')
})
