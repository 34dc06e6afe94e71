import { createPostgresBackend, runMigrations, withBackend } from 'bullmq'
import type { Log } from '../log.ts'
import type { RecordsConnection } from '../records/data-folder.ts'
import { LastingClient } from '../records/lasting-client.ts'
import type { QueueJobName } from './tables.ts'

const bullmq = withBackend(createPostgresBackend)

const queueName = 'maintenance'
/** Where BullMQ keeps its tables in the records database. */
const schema = 'bullmq'

export type MaintenanceQueue = InstanceType<typeof bullmq.Queue<object, unknown, QueueJobName>>
export type MaintenanceQueueEvents = InstanceType<typeof bullmq.QueueEvents>
export type MaintenanceWorker = InstanceType<typeof bullmq.Worker<object, unknown, QueueJobName>>
export type QueueJob = NonNullable<Awaited<ReturnType<MaintenanceQueue['getJob']>>>

/** With the doubling wait below: about an hour until a job counts as failed and waits for `queue retry`. */
const attempts = 12

/**
 * Opens the queue on the records database, and makes its tables where they are missing.
 *
 * @throws when the database cannot be reached, or was migrated by a newer BullMQ
 */
export async function openQueue(connection: RecordsConnection | string, log: Log): Promise<MaintenanceQueue> {
  const settings = connectionSettings(connection)
  const client = new LastingClient(settings)
  await client.connect()
  try {
    await runMigrations(client, schema)
  } finally {
    await client.end()
  }
  const queue: MaintenanceQueue = new bullmq.Queue(queueName, {
    connection: { ...settings, schema, max: 2 },
    defaultJobOptions: {
      attempts,
      backoff: { type: 'exponential', delay: 1000 },
      removeOnComplete: { count: 1000 },
      removeOnFail: { count: 10_000 },
    },
  })
  queue.on('error', (error) => queue.closing || log.warn({ err: error }, 'the queue is in trouble'))
  await queue.waitUntilReady()
  return queue
}

/**
 * Starts to take jobs from the queue, one after the other. A job that throws is tried again later; one whose worker
 * died goes to the next one after some ten seconds.
 */
export async function workQueue(
  connection: RecordsConnection | string,
  log: Log,
  take: (job: QueueJob) => Promise<unknown>,
): Promise<MaintenanceWorker> {
  const worker: MaintenanceWorker = new bullmq.Worker(queueName, take, {
    connection: { ...connectionSettings(connection), schema, max: 2 },
    lockDuration: 6_000,
    stalledInterval: 3_000,
    // only the death of the whole process stalls a job, and that is no reason to give it up
    maxStalledCount: 100,
  })
  worker.on('error', (error) => worker.closing || log.warn({ err: error }, 'the queue is in trouble'))
  await worker.waitUntilReady()
  return worker
}

/** Tells what happens on the queue from now on. */
export async function followQueue(connection: RecordsConnection | string, log: Log): Promise<MaintenanceQueueEvents> {
  const events = new bullmq.QueueEvents(queueName, {
    connection: { ...connectionSettings(connection), schema, max: 1 },
  })
  events.on('error', (error) => events.closing || log.warn({ err: error }, 'the queue is in trouble'))
  await events.waitUntilReady()
  return events
}

function connectionSettings(connection: RecordsConnection | string) {
  const where = typeof connection === 'string' ? { connectionString: connection } : connection
  return { ...where, Client: LastingClient }
}
