import pino from 'pino'
import { onTestFinished } from 'vitest'
import { type MaintenanceQueue, openQueue } from '../../src/advise/queue.ts'
import type { TestRecords } from '../records/test-records.ts'

/** The queue on a test's records, emptied and closed at the test's end. */
export async function queueOn(records: TestRecords): Promise<MaintenanceQueue> {
  const queue = await openQueue(records.connection, pino({ level: 'silent' }))
  onTestFinished(async () => {
    await queue.obliterate({ force: true })
    await queue.close()
  })
  return queue
}
