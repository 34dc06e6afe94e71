import pino from 'pino'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { advise } from '../../src/advise/advisor.ts'
import { builtinDesk } from '../../src/advise/builtin-desk.ts'
import type { TicketDesk } from '../../src/advise/desk.ts'
import { DeskRefused } from '../../src/advise/desk.ts'
import { startDeskWorker } from '../../src/advise/desk-worker.ts'
import { inspectionReminderSchema } from '../../src/advise/inspection-reminder.ts'
import { machineOfJob, machineRecord } from '../../src/advise/machine-of-job.ts'
import { type MaintenanceJob, maintenanceJobSchema } from '../../src/advise/maintenance-job.ts'
import { startOutbox } from '../../src/advise/outbox.ts'
import type { MaintenanceQueue } from '../../src/advise/queue.ts'
import { listTickets, ticketWithHistory } from '../../src/advise/tickets.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'
import { queueOn } from './queue-for-test.ts'
import { catalogue, event, machine, now, raise } from './story.ts'

const log = pino({ level: 'silent' })

let records: TestRecords
beforeAll(async () => {
  records = await testRecords()
})

function outboxForTest(queue: MaintenanceQueue) {
  const outbox = startOutbox({ db: records.db, queue, log, pollMs: 60_000 })
  onTestFinished(() => outbox.stop())
  return outbox
}

async function workerForTest(desk: TicketDesk, onTaken?: (job: MaintenanceJob) => void) {
  const worker = await startDeskWorker({ connection: records.connection, desk, log, onTaken })
  onTestFinished(() => worker.stop())
  return worker
}

const desk = () => builtinDesk({ db: records.db, now: () => now })
const run = () => advise(records.db, { catalogue, now })
const ticketsOf = async (id: string) => (await listTickets(records.db, { machine: id, limit: 100 })).items

async function messageOf(id: string): Promise<{ id: string; message: MaintenanceJob }> {
  const rows = await records.db.selectFrom('outbox').selectAll().orderBy('position', 'desc').execute()
  const row = rows.find(({ payload }) => maintenanceJobSchema.parse(payload).machine.id === id)
  if (!row) throw new Error(`no message about ${id}`)
  return { id: row.id, message: maintenanceJobSchema.parse(row.payload) }
}

async function jobFor(id: string, severity: 'S2' | 'S3' | 'S4' = 'S3') {
  await machine(records.db, id)
  const alarm = await raise(records.db, id, { severity })
  await run()
  return { alarm, ...(await messageOf(id)) }
}

test('from alarm to ticket over the queue, the message goes under the id of its outbox row', async () => {
  const queue = await queueOn(records)
  await workerForTest(desk())
  const outbox = outboxForTest(queue)

  const { id, message } = await jobFor('over-the-queue')
  outbox.poke()

  await expect.poll(() => ticketsOf('over-the-queue')).toMatchObject([{ priority: 'P2', job: message.id }])
  await expect.poll(() => queue.getJobCounts('completed')).toEqual({ completed: 1 })
  expect(await queue.getJob(id)).toMatchObject({ name: 'proactive-maintenance', data: message })
  const row = await records.db.selectFrom('outbox').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  expect(row.published_at).not.toBeNull()
})

test('a severity that rises over the queue changes the ticket', async () => {
  const queue = await queueOn(records)
  const outbox = outboxForTest(queue)
  await workerForTest(desk())
  const { alarm } = await jobFor('rises-over-the-queue')
  outbox.poke()
  await expect.poll(() => ticketsOf('rises-over-the-queue')).toHaveLength(1)

  await event(records.db, alarm, 'severity', 'S4', 111)
  await run()
  outbox.poke()
  await expect.poll(() => ticketsOf('rises-over-the-queue')).toMatchObject([{ priority: 'P1', severity: 'S4' }])
})

test('published again because the mark was lost, it is one job on the queue and one ticket', async () => {
  const queue = await queueOn(records)
  const { id } = await jobFor('published-twice')
  for (let round = 0; round < 2; round += 1) {
    await records.db.updateTable('outbox').set({ published_at: null }).where('id', '=', id).execute()
    const outbox = outboxForTest(queue)
    await expect.poll(() => unpublished()).toBe(0)
    await outbox.stop()
  }
  expect(await queue.getJobCounts('waiting')).toEqual({ waiting: 1 })

  await workerForTest(desk())
  await expect
    .poll(() => queue.getJobCounts('completed', 'waiting', 'active'))
    .toEqual({ completed: 1, waiting: 0, active: 0 })
  expect(await ticketsOf('published-twice')).toHaveLength(1)
})

test('delivered again because its completion was lost, it is one ticket', async () => {
  const queue = await queueOn(records)
  let crashes = 2
  const ours = desk()
  await workerForTest({
    ...ours,
    async take(job) {
      const answer = await ours.take(job) // the ticket is committed
      crashes -= 1
      if (crashes >= 0) throw new Error('the process ended here')
      return answer
    },
  })
  outboxForTest(queue)
  await jobFor('completion-lost')
  outboxForTest(queue).poke()

  await expect.poll(() => queue.getJobCounts('completed'), { timeout: 10_000 }).toEqual({ completed: 1 })
  expect(crashes).toBe(-1)
  const [ticket, ...more] = await ticketsOf('completion-lost')
  expect(more).toEqual([])
  expect((await ticketWithHistory(records.db, ticket?.id ?? '')).history).toHaveLength(1)
})

test('several workers and several outboxes on one queue are one ticket for each cause', async () => {
  const queue = await queueOn(records)
  const ids = Array.from({ length: 20 }, (_, i) => `shared-${i}`)
  for (const id of ids) await jobFor(id)
  await Promise.all([workerForTest(desk()), workerForTest(desk())])
  outboxForTest(queue)
  outboxForTest(queue)

  await expect.poll(() => queue.getJobCounts('completed')).toEqual({ completed: ids.length })
  for (const id of ids) expect(await ticketsOf(id)).toHaveLength(1)
})

test('what the desk refuses, and what is no message, fails at once and can be looked at', async () => {
  const queue = await queueOn(records)
  await workerForTest({
    ...desk(),
    take: async () => {
      throw new DeskRefused('the desk refused')
    },
  })
  await queue.add('proactive-maintenance', { version: 2 }, { jobId: 'no-message' })
  await queue.add('inspection-reminder', {}, { jobId: 'no-reminder' })
  await jobFor('refused')
  outboxForTest(queue)

  await expect.poll(() => queue.getJobCounts('failed')).toEqual({ failed: 3 })
  for (const job of await queue.getJobs(['failed'])) expect(job.attemptsMade).toBe(1)
})

test('a reminder is received by the desk once, and keeps the time of that', async () => {
  const queue = await queueOn(records)
  const id = await machine(records.db, 'reminded')
  const visit = await records.db
    .insertInto('inspections')
    .values({ machine: id, performer: 'service', state: 'open', created_at: new Date(now), updated_at: new Date(now) })
    .returning('id')
    .executeTakeFirstOrThrow()
  const due = {
    n: 1,
    state: 'open',
    dueHours: 500,
    dueM3: null,
    dueAt: null,
    forecastAt: null,
    windowOpensHours: 450,
    windowClosesHours: 550,
  }
  const text = { en: 'Service', zh: '保养' }
  const reminder = {
    version: 1,
    id: visit.id,
    machine: machineOfJob(await machineRecord(records.db, id), now),
    title: text,
    tasks: [{ task: 'SERVICE_500', name: text, work: text, parts: [], labourHours: 2, due: [due] }],
    dueHours: 500,
    dueM3: null,
    dueAt: null,
    windowOpensAt: null,
    labourHours: 2,
    overdue: [],
    createdAt: new Date(now).toISOString(),
  }
  const receivedAt = async () =>
    (await records.db.selectFrom('inspections').selectAll().where('id', '=', visit.id).executeTakeFirstOrThrow())
      .desk_received_at
  await workerForTest(desk())
  await queue.add('inspection-reminder', reminder, { jobId: 'reminder-1' })
  await expect.poll(() => queue.getJobCounts('completed')).toEqual({ completed: 1 })
  expect(await receivedAt()).toEqual(new Date(now))

  await builtinDesk({ db: records.db, now: () => now + 60_000 }).remind(inspectionReminderSchema.parse(reminder))
  expect(await receivedAt()).toEqual(new Date(now))
})

test('the outbox outlives a queue that cannot be reached, and publishes in order', async () => {
  const queue = await queueOn(records)
  let outages = 2
  const flaky = new Proxy(queue, {
    get(target, name) {
      if (name !== 'addBulk' || outages <= 0)
        return Reflect.get(target, name).bind?.(target) ?? Reflect.get(target, name)
      outages -= 1
      return async () => {
        throw new Error('connection refused')
      }
    },
  })
  const { id: first } = await jobFor('order-1')
  const { id: second } = await jobFor('order-2')
  const outbox = startOutbox({ db: records.db, queue: flaky, log })
  onTestFinished(() => outbox.stop())

  await expect.poll(() => unpublished(), { timeout: 10_000 }).toBe(0)
  expect((await queue.getJobs(['waiting'], 0, -1, true)).map(({ id }) => id)).toEqual([first, second])
})

async function unpublished(): Promise<number> {
  const rows = await records.db.selectFrom('outbox').select('id').where('published_at', 'is', null).execute()
  return rows.length
}
