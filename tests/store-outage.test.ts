import { test } from 'vitest'
import { testRecords } from './records/test-records.ts'
import { storeOutage } from './store-outage.ts'

const records = await testRecords()

test('a store that refuses every write, then is slow, then back: nothing is lost, and the order is kept', async () => {
  await storeOutage(records, { refusedMs: 2_000, slowMs: 1_000, perSecond: 500 })
})
