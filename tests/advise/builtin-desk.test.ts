import { beforeAll, expect, test } from 'vitest'
import { advise } from '../../src/advise/advisor.ts'
import { builtinDesk } from '../../src/advise/builtin-desk.ts'
import { acceptJob, JobNotProposed, JobUnknown, jobById, listJobs, withdrawJob } from '../../src/advise/jobs.ts'
import { type MaintenanceJob, maintenanceJobSchema } from '../../src/advise/maintenance-job.ts'
import { changeTicketState, listTickets, ticketWithHistory } from '../../src/advise/tickets.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'
import { catalogue, dayMs, event, machine, minuteMs, now, raise } from './story.ts'

let records: TestRecords
beforeAll(async () => {
  records = await testRecords()
})

const deskAt = (at: number) => builtinDesk({ db: records.db, now: () => at })
const run = (at = now) => advise(records.db, { catalogue, now: at })
const ticketsOf = async (id: string) => (await listTickets(records.db, { machine: id, limit: 100 })).items

async function messagesOf(id: string): Promise<MaintenanceJob[]> {
  const rows = await records.db.selectFrom('outbox').selectAll().orderBy('position').execute()
  return rows.map(({ payload }) => maintenanceJobSchema.parse(payload)).filter(({ machine }) => machine.id === id)
}

/** Machine with one job; the messages are delivered by hand. */
async function jobOf(id: string, severity: 'S2' | 'S3' | 'S4') {
  await machine(records.db, id)
  const alarm = await raise(records.db, id, { severity })
  await run()
  const [message] = await messagesOf(id)
  if (!message) throw new Error('no message')
  return { alarm, message }
}

async function close(ticket: string, at: number): Promise<void> {
  for (const state of [
    'triaged',
    'dispatched',
    'accepted',
    'en_route',
    'on_site',
    'repaired',
    'verified',
    'customer_confirmed',
    'callback_done',
    'closed',
  ] as const)
    await changeTicketState(records.db, ticket, { state, user: 'wang', now: at })
}

test('an S3 job is a ticket at once, with what the job says', async () => {
  const { message, alarm } = await jobOf('at-once', 'S3')
  const answer = await deskAt(now).take(message)

  expect(answer.outcome).toBe('opened')
  expect(await ticketsOf('at-once')).toMatchObject([
    {
      id: answer.ticket,
      key: 'at-once/hydraulics/CP-05',
      job: message.id,
      severity: 'S3',
      priority: 'P2',
      state: 'new',
      title: { en: 'Hydraulic oil overheating', zh: '液压油过热' },
      alarmIds: [alarm],
      parts: [{ number: 'HF-100' }],
      warranty: 'unknown',
      repeatOf: null,
      dueAt: '2026-07-02T10:30:00.000Z',
    },
  ])
  expect((await jobById(records.db, message.id)).state).toBe('ticketed')
})

test('delivered many times at once, one job is one ticket with one history', async () => {
  const { message } = await jobOf('delivered-often', 'S4')
  const answers = await Promise.all(Array.from({ length: 8 }, () => deskAt(now).take(message)))
  expect(answers.map(({ outcome }) => outcome).sort()).toEqual([...Array(7).fill('known'), 'opened'])
  const [ticket, ...more] = await ticketsOf('delivered-often')
  expect(more).toEqual([])
  expect((await ticketWithHistory(records.db, ticket?.id ?? '')).history).toHaveLength(1)
})

test('an S2 job stays a proposal until a person accepts it', async () => {
  const { message } = await jobOf('accepted', 'S2')
  const desk = deskAt(now)
  expect((await desk.take(message)).outcome).toBe('proposed')
  expect(await ticketsOf('accepted')).toEqual([])

  const job = await acceptJob(records.db, message.id, { user: 'chen', now }, { catalogue, desk })

  expect(job).toMatchObject({ state: 'ticketed', acceptedBy: 'chen', priority: 'P3' })
  const [ticket, ...more] = await ticketsOf('accepted')
  expect(more).toEqual([])
  expect(ticket).toMatchObject({ priority: 'P3', state: 'new' })

  const messages = await messagesOf('accepted')
  expect(messages.map(({ revision, accepted }) => [revision, accepted?.by])).toEqual([
    [1, undefined],
    [2, 'chen'],
  ])
  for (const again of messages) expect((await desk.take(again)).outcome).toBe('known')
  await expect(acceptJob(records.db, message.id, { user: 'chen', now }, { catalogue, desk })).rejects.toThrow(
    JobNotProposed,
  )
})

test('where the desk is somebody else, accepting says so on the queue, once', async () => {
  const { message } = await jobOf('foreign-desk', 'S2')
  await acceptJob(records.db, message.id, { user: 'chen', now }, { catalogue })
  await acceptJob(records.db, message.id, { user: 'chen', now }, { catalogue })
  const messages = await messagesOf('foreign-desk')
  expect(messages.map(({ accepted }) => accepted?.by)).toEqual([undefined, 'chen'])
})

test('a proposal that grows worse becomes a ticket', async () => {
  const { message, alarm } = await jobOf('grows', 'S2')
  const desk = deskAt(now)
  await desk.take(message)
  await event(records.db, alarm, 'severity', 'S3', 104)
  await run()
  const [, worse] = await messagesOf('grows')
  expect(worse && (await desk.take(worse)).outcome).toBe('opened')
  expect(await ticketsOf('grows')).toMatchObject([{ severity: 'S3', priority: 'P2' }])
})

test('a rise changes the ticket that is there; an older message that comes late changes nothing', async () => {
  const { message, alarm } = await jobOf('rises', 'S3')
  await event(records.db, alarm, 'severity', 'S4', 110)
  await run()
  const [, worse] = await messagesOf('rises')
  if (!worse) throw new Error('no second message')

  const desk = deskAt(now)
  await desk.take(message)
  expect((await desk.take(worse)).outcome).toBe('updated')
  expect((await desk.take(message)).outcome).toBe('known')
  expect((await desk.take(worse)).outcome).toBe('known')

  const [ticket] = await ticketsOf('rises')
  expect(ticket).toMatchObject({ severity: 'S4', priority: 'P1', evidence: [{ value: 110 }] })
  const { history } = await ticketWithHistory(records.db, ticket?.id ?? '')
  expect(history.map(({ kind }) => kind)).toEqual(['opened', 'severity'])
})

test('messages in the wrong order open one ticket with the newer one', async () => {
  const { message, alarm } = await jobOf('wrong-order', 'S2')
  await event(records.db, alarm, 'severity', 'S4', 110)
  await run()
  const [, worse] = await messagesOf('wrong-order')
  if (!worse) throw new Error('no second message')
  await deskAt(now).take(worse)
  await deskAt(now).take(message)
  expect(await ticketsOf('wrong-order')).toMatchObject([{ severity: 'S4', priority: 'P1' }])
})

test('a further alarm of the same cause is written into the history of the ticket', async () => {
  const { message } = await jobOf('further', 'S3')
  await deskAt(now).take(message)
  const second = await raise(records.db, 'further', {
    severity: 'S2',
    key: 'coolant_temp_c.high',
    signal: 'coolant_temp_c',
  })
  await run()

  const [ticket, ...more] = await ticketsOf('further')
  expect(more).toEqual([])
  expect(ticket?.alarmIds).toContain(second)
  expect(ticket?.evidence).toHaveLength(2)
  const { history } = await ticketWithHistory(records.db, ticket?.id ?? '')
  expect(history.at(-1)).toMatchObject({ kind: 'alarm', note: expect.stringContaining(second) })
  expect(await messagesOf('further')).toHaveLength(1)
})

test('the same failure within 30 days of closing is a new ticket that names the old one', async () => {
  const { message } = await jobOf('repeat', 'S3')
  const first = await deskAt(now).take(message)
  await close(first.ticket ?? '', now + dayMs)
  expect((await jobById(records.db, message.id)).state).toBe('done')
  expect((await deskAt(now).take(message)).outcome).toBe('known')

  const later = now + 20 * dayMs
  await raise(records.db, 'repeat', { severity: 'S3', raisedAt: later - minuteMs })
  await run(later)
  const [, again] = await messagesOf('repeat')
  const second = again && (await deskAt(later).take(again))
  expect(await ticketWithHistory(records.db, second?.ticket ?? '')).toMatchObject({
    state: 'new',
    repeatOf: first.ticket,
  })
  await close(second?.ticket ?? '', later)

  const muchLater = later + 31 * dayMs
  await raise(records.db, 'repeat', { severity: 'S3', raisedAt: muchLater - minuteMs })
  await run(muchLater)
  const third = (await messagesOf('repeat')).at(-1)
  await deskAt(muchLater).take(third as MaintenanceJob)
  expect((await ticketsOf('repeat')).map(({ repeatOf }) => repeatOf)).toEqual([null, first.ticket, null])
})

test('a withdrawn proposal stays withdrawn, whatever the queue still brings', async () => {
  const { message, alarm } = await jobOf('withdrawn', 'S2')
  const job = await withdrawJob(records.db, message.id, { user: 'chen', reason: 'known sensor', now })
  expect(job).toMatchObject({ state: 'withdrawn', endedBy: 'chen', endReason: 'known sensor' })

  expect((await deskAt(now).take({ ...message, priority: 'P1', severity: 'S4' })).outcome).toBe('known')
  await event(records.db, alarm, 'severity', 'S1', 88)
  await event(records.db, alarm, 'cleared', 'S1', 80)
  await run()
  expect(await ticketsOf('withdrawn')).toEqual([])
  expect((await listJobs(records.db, { machine: 'withdrawn', limit: 10 })).items).toHaveLength(1)

  await raise(records.db, 'withdrawn', { severity: 'S2' })
  await run()
  expect((await listJobs(records.db, { machine: 'withdrawn', state: 'proposed', limit: 10 })).items).toHaveLength(1)
})

test('a job with a ticket cannot be withdrawn, and one that does not exist is unknown', async () => {
  const { message } = await jobOf('not-withdrawn', 'S3')
  await deskAt(now).take(message)
  await expect(withdrawJob(records.db, message.id, { user: 'chen', now })).rejects.toThrow(JobNotProposed)
  await expect(withdrawJob(records.db, 'J-999999', { user: 'chen', now })).rejects.toThrow(JobUnknown)
  const decisions = await records.db.selectFrom('audit').selectAll().where('subject', '=', message.id).execute()
  expect(decisions).toEqual([])
})

test('accepting and growing worse at the same moment is one ticket', async () => {
  for (let round = 0; round < 5; round += 1) {
    const id = `race-${round}`
    const { message, alarm } = await jobOf(id, 'S2')
    const desk = deskAt(now)
    await event(records.db, alarm, 'severity', 'S3', 104)
    await Promise.allSettled([
      acceptJob(records.db, message.id, { user: 'chen', now }, { catalogue, desk }),
      run(),
      desk.take(message),
    ])
    await Promise.all((await messagesOf(id)).map((each) => desk.take(each)))
    expect(await ticketsOf(id)).toMatchObject([{ severity: 'S3', priority: 'P2' }])
  }
})
