import { expect, test } from 'vitest'
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
