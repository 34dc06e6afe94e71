import { beforeAll, describe, expect, test } from 'vitest'
import { advise } from '../../src/advise/advisor.ts'
import { listJobs } from '../../src/advise/jobs.ts'
import { type MaintenanceJob, maintenanceJobSchema } from '../../src/advise/maintenance-job.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'
import { catalogue, dayMs, event, machine, minuteMs, now, raise } from './story.ts'

let records: TestRecords
beforeAll(async () => {
  records = await testRecords()
})

const run = (at = now) => advise(records.db, { catalogue, now: at })
const jobsOf = async (id: string) => (await listJobs(records.db, { machine: id, limit: 100 })).items

async function messagesOf(id: string): Promise<MaintenanceJob[]> {
  const rows = await records.db.selectFrom('outbox').selectAll().orderBy('position').execute()
  return rows.map(({ payload }) => maintenanceJobSchema.parse(payload)).filter(({ machine }) => machine.id === id)
}

test('an alarm of severity S3 is one job and one message that says everything', async () => {
  const id = await machine(records.db, 'whole', new Date(now - 100 * dayMs))
  await records.db
    .updateTable('machines')
    .set({ serial: 'SN-1', customer: 'Acme', site: 'north', contacts: JSON.stringify([{ name: 'Li', phone: '1' }]) })
    .where('id', '=', id)
    .execute()
  await records.db
    .insertInto('machine_status')
    .values({
      machine: id,
      last_seen_at: new Date(now),
      latitude: 31.2,
      longitude: 121.5,
      position_at: new Date(now - minuteMs),
      service_hours: 1200.5,
      service_hours_at: new Date(now),
    })
    .execute()
  const alarm = await raise(records.db, id, { severity: 'S3' })

  const { queued, machines } = await run()

  expect(queued).toBe(1)
  expect([...machines]).toEqual([id])
  const [message, ...more] = await messagesOf(id)
  expect(more).toEqual([])
  expect(message).toMatchObject({
    version: 1,
    key: `${id}/hydraulics/CP-05`,
    revision: 1,
    machine: {
      id,
      type: 'boom_pump',
      model: null,
      serial: 'SN-1',
      hours: 1200.5,
      customer: 'Acme',
      site: 'north',
      contact: { name: 'Li', phone: '1' },
      position: { latitude: 31.2, longitude: 121.5, ageSeconds: 60 },
    },
    component: { id: 'hydraulics', name: { en: 'Hydraulic system', zh: '液压系统' } },
    failureMode: 'CP-05',
    severity: 'S3',
    priority: 'P2',
    title: { en: 'Hydraulic oil overheating', zh: '液压油过热' },
    action: { en: 'Clean the oil cooler', zh: '清洗油冷却器' },
    reason: {
      en: 'Hydraulic oil 97.0 °C above 90 °C since 2026-07-01 10:28 UTC',
      zh: '液压油温 97.0 °C，自 2026-07-01 10:28 UTC 起高于 90 °C',
    },
    evidence: [
      { alarm, signal: 'hyd_oil_temp_c', value: 97, limit: 90, unit: '°C', since: '2026-07-01T10:28:00.000Z' },
    ],
    parts: [{ number: 'HF-100', quantity: 1, class: 'A' }],
    warranty: { state: 'in_warranty' },
    dueAt: '2026-07-02T10:30:00.000Z',
    alarmIds: [alarm],
    accepted: null,
    createdAt: '2026-07-01T10:30:00.000Z',
  })
  expect(await jobsOf(id)).toMatchObject([
    { id: message?.id, state: 'proposed', severity: 'S3', dueAt: message?.dueAt },
  ])
})

describe('what makes a job', () => {
  for (const { name, alarm, jobs } of [
    { name: 'S1 stays an event', alarm: { severity: 'S1' as const }, jobs: 0 },
    { name: 'S2 makes one', alarm: { severity: 'S2' as const }, jobs: 1 },
    { name: 'S4 makes one', alarm: { severity: 'S4' as const }, jobs: 1 },
    { name: 'a parked machine makes none', alarm: { severity: 'S4' as const, state: 'suppressed' as const }, jobs: 0 },
    {
      name: 'an alarm that was silenced from raise to clear makes none',
      alarm: { severity: 'S3' as const, state: 'normal' as const, suppressed_by: 'parked', clearedAt: now },
      jobs: 0,
    },
    { name: 'a shelved alarm makes none', alarm: { severity: 'S2' as const, state: 'shelved' as const }, jobs: 0 },
    {
      name: 'historical S2 makes none',
      alarm: { severity: 'S2' as const, historical: true, clearedAt: now - dayMs },
      jobs: 0,
    },
    {
      name: 'historical S3 makes one',
      alarm: { severity: 'S3' as const, historical: true, clearedAt: now - dayMs },
      jobs: 1,
    },
    {
      name: 'an alarm that cleared before anybody looked makes one',
      alarm: { severity: 'S2' as const, clearedAt: now },
      jobs: 1,
    },
  ]) {
    test(name, async () => {
      const id = await machine(records.db, name.replaceAll(/\W/g, '-'))
      await raise(records.db, id, alarm)
      await run()
      expect(await jobsOf(id)).toHaveLength(jobs)
      expect(await messagesOf(id)).toHaveLength(jobs)
    })
  }
})

test('each event counts once: two advisors at once, and one after them, make one job', async () => {
  const id = await machine(records.db, 'twice')
  for (let i = 0; i < 5; i += 1) await raise(records.db, id, { severity: 'S3', key: `signal_${i}.high` })

  const advised = await Promise.all([run(), run(), run()])
  await run()

  expect(advised.map(({ queued }) => queued).sort()).toEqual([0, 0, 1])
  const jobs = await jobsOf(id)
  expect(jobs).toHaveLength(1)
  expect(jobs[0]?.alarmIds).toHaveLength(5)
  expect(jobs[0]?.evidence).toHaveLength(5)
  expect(await messagesOf(id)).toHaveLength(1)
})

test('a rise is queued again with the next revision and an earlier date, a fall is not', async () => {
  const id = await machine(records.db, 'rise')
  const alarm = await raise(records.db, id, { severity: 'S2' })
  await run()
  await event(records.db, alarm, 'severity', 'S3', 104)
  await run()
  await event(records.db, alarm, 'severity', 'S2', 92)
  await run()
  await event(records.db, alarm, 'cleared', 'S2', 80)
  await run()

  const messages = await messagesOf(id)
  expect(messages.map(({ revision, severity, priority }) => [revision, severity, priority])).toEqual([
    [1, 'S2', 'P3'],
    [2, 'S3', 'P2'],
  ])
  expect(messages[0]?.dueAt).toBe(new Date(now + 30 * dayMs).toISOString())
  expect(messages[1]?.dueAt).toBe(new Date(now + dayMs).toISOString())
  const [job] = await jobsOf(id)
  expect(job).toMatchObject({ severity: 'S3', state: 'proposed', revision: 2 })
  expect(job?.evidence).toMatchObject([{ value: 104, severity: 'S3' }])
})

test('an alarm that comes back attaches to the open job under its newest id and first date', async () => {
  const id = await machine(records.db, 'recurs')
  const first = await raise(records.db, id, { severity: 'S2', raisedAt: now - 3 * dayMs, receivedAt: now - 3 * dayMs })
  await run()
  const again = await raise(records.db, id, { severity: 'S2' })
  await run()

  const jobs = await jobsOf(id)
  expect(jobs).toHaveLength(1)
  expect(jobs[0]?.alarmIds).toEqual([first, again])
  expect(jobs[0]?.evidence).toMatchObject([{ alarm: again, since: '2026-06-28T10:29:00.000Z' }])
})

test('leaving the workshop makes a job of what is still wrong, and of nothing that has cleared', async () => {
  const id = await machine(records.db, 'workshop')
  const active = await raise(records.db, id, { severity: 'S3', state: 'suppressed', suppressed_by: 'workshop' })
  const over = await raise(records.db, id, {
    severity: 'S3',
    failure_mode: 'limit.coolant_temp_c.high',
    key: 'coolant_temp_c.high',
    state: 'normal',
    suppressed_by: 'workshop',
    clearedAt: now,
  })
  await run()
  await records.db
    .updateTable('alarms')
    .set({ state: 'unacknowledged', suppressed_by: null })
    .where('id', '=', active)
    .execute()
  await event(records.db, active, 'unsuppressed', 'S3')
  await event(records.db, over, 'unsuppressed', 'S3')
  await run()

  expect((await jobsOf(id)).map(({ alarmIds }) => alarmIds)).toEqual([[active]])
})

test('an S2 alarm out of a backlog waits for the end of its story', async () => {
  const id = await machine(records.db, 'backlog')
  const longAgo = { severity: 'S2' as const, raisedAt: now - dayMs, receivedAt: now }
  const cleared = await raise(records.db, id, { ...longAgo, key: 'a.high', failure_mode: 'limit.a.high' })
  await raise(records.db, id, { ...longAgo, key: 'b.high', failure_mode: 'limit.b.high' })

  await run(now + 1000)
  expect(await jobsOf(id)).toEqual([])

  await records.db
    .updateTable('alarms')
    .set({ cleared_at: new Date(now - dayMs + minuteMs), historical: true, state: 'returned' })
    .where('id', '=', cleared)
    .execute()
  await event(records.db, cleared, 'cleared', 'S2')
  await run(now + 11_000)
  expect((await jobsOf(id)).map(({ failureMode }) => failureMode)).toEqual(['limit.b.high'])
})

test('an old alarm that gets worse now is no backlog', async () => {
  const id = await machine(records.db, 'worse-now')
  const alarm = await raise(records.db, id, { severity: 'S1', raisedAt: now - dayMs, receivedAt: now })
  await event(records.db, alarm, 'severity', 'S2', 98)
  await run()
  expect(await jobsOf(id)).toHaveLength(1)
})

test('a proposal is due at the next service visit, where one is known', async () => {
  const id = await machine(records.db, 'visit')
  const visit = {
    machine: id,
    performer: 'service' as const,
    state: 'upcoming' as const,
    created_at: new Date(now),
    updated_at: new Date(now),
  }
  await records.db
    .insertInto('inspections')
    .values([
      { ...visit, due_at: new Date(now + 12 * dayMs) },
      { ...visit, due_at: new Date(now + 40 * dayMs) },
      { ...visit, due_at: new Date(now - dayMs) },
      { ...visit, performer: 'customer', due_at: new Date(now + dayMs) },
    ])
    .execute()
  await raise(records.db, id, { severity: 'S2' })
  await run()

  expect((await jobsOf(id))[0]?.dueAt).toBe(new Date(now + 12 * dayMs).toISOString())
})

test('more events than a batch are all advised', async () => {
  const id = await machine(records.db, 'many')
  await Promise.all(
    Array.from({ length: 410 }, (_, i) =>
      raise(records.db, id, { severity: 'S2', key: `s${i}.high`, failure_mode: `limit.s${i}.high` }),
    ),
  )
  expect((await run()).queued).toBe(410)
  const pages = await listJobs(records.db, { machine: id, limit: 300 })
  const rest = await listJobs(records.db, { machine: id, limit: 300, after: pages.next ?? undefined })
  expect(new Set([...pages.items, ...rest.items].map(({ key }) => key)).size).toBe(410)
  expect(rest.next).toBeNull()
})
