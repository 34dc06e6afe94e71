import { expect, test } from 'vitest'
import { testRecords } from '../records/test-records.ts'
import { storeOutage } from '../store-outage.ts'

const records = await testRecords()
const OUTAGE = { refusedMs: 90_000, slowMs: 30_000, perSecond: 1_500 }
/** A tenth of what arrives meanwhile. */
const GROWTH_MB = 20

test('the store refuses every write, then is slow, then back: nothing is lost, the order is kept, memory stays', async () => {
  const { grownMb, messages } = await storeOutage(records, OUTAGE)
  console.log(`${messages} messages; the process grew by ${grownMb.toFixed(0)} MiB while the store was away`)
  expect(grownMb).toBeLessThan(GROWTH_MB)
})
