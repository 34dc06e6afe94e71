import { beforeAll, expect, test } from 'vitest'
import { adviceFor } from '../../src/advise/advice.ts'
import { advise } from '../../src/advise/advisor.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'
import { catalogue, machine, now, raise } from './story.ts'

let records: TestRecords
beforeAll(async () => {
  records = await testRecords()
})

test('advice names what is active and open in two languages, the worst first, and nothing that is silenced or over', async () => {
  const id = await machine(records.db, 'cab')
  const warm = await raise(records.db, id, {
    severity: 'S1',
    key: 'coolant_temp_c.high',
    failure_mode: 'limit.coolant_temp_c.high',
  })
  const hot = await raise(records.db, id, { severity: 'S3', state: 'acknowledged' })
  await raise(records.db, id, { severity: 'S4', key: 'a.high', state: 'suppressed' })
  await raise(records.db, id, {
    severity: 'S2',
    key: 'b.high',
    failure_mode: 'limit.b.high',
    state: 'returned',
    clearedAt: now,
  })
  await raise(records.db, await machine(records.db, 'other'), { severity: 'S4' })
  await advise(records.db, { catalogue, now })

  const operatorTasks = [{ task: 'DAILY', remainingHours: 3 }]
  const advice = await adviceFor(records.db, id, { catalogue, operatorTasks, now })

  expect(advice).toMatchObject({ version: 1, machine: id, at: new Date(now).toISOString(), operatorTasks })
  expect(advice.alarms.map((alarm) => [alarm.id, alarm.severity, alarm.acknowledged])).toEqual([
    [hot, 'S3', true],
    [warm, 'S1', false],
  ])
  expect(advice.alarms[0]).toMatchObject({
    title: { en: 'Hydraulic oil overheating', zh: '液压油过热' },
    reason: { en: expect.stringContaining('97.0 °C above 90 °C'), zh: expect.stringContaining('高于 90 °C') },
  })
  expect(advice.jobs.map(({ failureMode, priority, state }) => [failureMode, priority, state])).toEqual([
    ['CP-05', 'P2', 'proposed'],
    ['limit.b.high', 'P3', 'proposed'],
  ])
  expect(JSON.parse(JSON.stringify(advice))).toEqual(advice)
})

test('advice of a machine that is well is empty, of one that is not there an error', async () => {
  const id = await machine(records.db, 'well')
  expect(await adviceFor(records.db, id, { catalogue, operatorTasks: [], now })).toMatchObject({ alarms: [], jobs: [] })
  await expect(adviceFor(records.db, 'nobody', { catalogue, operatorTasks: [], now })).rejects.toThrow()
})
