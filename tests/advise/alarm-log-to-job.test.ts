import { beforeAll, expect, test } from 'vitest'
import { advise } from '../../src/advise/advisor.ts'
import { listJobs } from '../../src/advise/jobs.ts'
import { applyTransitions, followMachineState } from '../../src/detect/alarm-log.ts'
import type { Transition } from '../../src/detect/transition.ts'
import type { MachineState } from '../../src/records/tables.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'
import { catalogue, dayMs, machine, minuteMs, now } from './story.ts'

let records: TestRecords
beforeAll(async () => {
  records = await testRecords()
})

const run = (at = now) => advise(records.db, { catalogue, now: at })
const jobsOf = async (id: string) => (await listJobs(records.db, { machine: id, limit: 100 })).items

function hotOil(machine: string, change: Partial<Transition> = {}): Transition {
  const at = change.at ?? now
  return {
    machine,
    key: 'hyd_oil_temp_c.high',
    kind: 'raised',
    at,
    since: at - minuteMs,
    receivedAt: at,
    severity: 'S3',
    rule: 'hyd_oil_temp_c.high',
    signal: 'hyd_oil_temp_c',
    component: 'hydraulics',
    failureMode: 'CP-05',
    value: 97,
    limit: 90,
    unit: '°C',
    ...change,
  }
}

function record(transitions: readonly Transition[], state: MachineState = 'in_service'): Promise<void> {
  return records.db.transaction().execute((trx) => applyTransitions(trx, transitions, { stateOf: () => state, now }))
}

function become(id: string, state: MachineState): Promise<void> {
  return records.db.transaction().execute((trx) => followMachineState(trx, id, { state, now }))
}

test('an alarm that comes, grows, falls, clears and comes back is one job with two messages', async () => {
  const id = await machine(records.db, 'story')
  const story: Partial<Transition>[] = [
    { severity: 'S2' },
    { kind: 'severity', severity: 'S3', value: 104 },
    { kind: 'severity', severity: 'S2', value: 93 },
    { kind: 'cleared', severity: 'S2', value: 80 },
    { severity: 'S2', value: 91 },
  ]
  let queued = 0
  for (const [step, change] of story.entries()) {
    await record([hotOil(id, { at: now + step * minuteMs, ...change })])
    queued += (await run(now + step * minuteMs)).queued
  }
  expect(queued).toBe(2)
  expect(await jobsOf(id)).toMatchObject([
    { severity: 'S3', revision: 2, state: 'proposed', evidence: [{ value: 104, since: '2026-07-01T10:29:00.000Z' }] },
  ])
})

test('all of a story at once comes to the same job', async () => {
  const id = await machine(records.db, 'story-at-once')
  await record([
    hotOil(id, { severity: 'S2' }),
    hotOil(id, { at: now + minuteMs, kind: 'severity', severity: 'S3', value: 104 }),
    hotOil(id, { at: now + 2 * minuteMs, kind: 'cleared', severity: 'S3', value: 80 }),
  ])
  expect((await run()).queued).toBe(2)
  expect(await jobsOf(id)).toMatchObject([{ severity: 'S3', revision: 2 }])
})

for (const state of ['parked', 'workshop', 'unassigned', 'retired'] as const)
  test(`a machine that is ${state} gets its job when it is in service, for what is still wrong`, async () => {
    const id = await machine(records.db, `silent-${state}`)
    await record([hotOil(id), hotOil(id, { key: 'b.high', failureMode: 'limit.b.high' })], state)
    await record([hotOil(id, { key: 'b.high', kind: 'cleared', at: now + minuteMs })], state)
    await run()
    expect(await jobsOf(id)).toEqual([])

    await become(id, 'in_service')
    await run()
    expect((await jobsOf(id)).map(({ failureMode }) => failureMode)).toEqual(['CP-05'])
  })

for (const { severity, jobs } of [
  { severity: 'S2', jobs: 0 },
  { severity: 'S3', jobs: 1 },
] as const)
  test(`history of severity ${severity} makes ${jobs} jobs, though raise and clear are recorded apart`, async () => {
    const id = await machine(records.db, `history-${severity}`)
    const at = now - dayMs
    await record([hotOil(id, { at, severity, receivedAt: now })])
    await run(now + 100)
    await record([hotOil(id, { at: at + minuteMs, kind: 'cleared', severity, receivedAt: now })])
    await run(now + 200)
    await run(now + 60_000)
    expect(await jobsOf(id)).toHaveLength(jobs)
  })
