import { beforeAll, describe, expect, test } from 'vitest'
import { applyEpisodes, applyTransitions, followMachineState } from '../../src/detect/alarm-log.ts'
import {
  AlarmUnknown,
  acknowledgeAlarm,
  alarmSchema,
  alarmWithHistory,
  listAlarms,
  NothingToAcknowledge,
} from '../../src/detect/alarms.ts'
import { judgeAgain } from '../../src/detect/late.ts'
import { machineDetector } from '../../src/detect/machine-detector.ts'
import type { Episode, Transition } from '../../src/detect/transition.ts'
import type { ReadingSet } from '../../src/reading.ts'
import type { MachineState } from '../../src/records/tables.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'
import { context, every, hour, minute, oil, second, set, start } from './story.ts'

let records: TestRecords
beforeAll(async () => {
  records = await testRecords()
})

let machines = 0
/** A machine of its own for each test. */
async function newMachine(): Promise<string> {
  const id = `m-${++machines}`
  await records.db.insertInto('machines').values({ id, type: 'rig', state: 'in_service' }).execute()
  return id
}

const at = (minutes: number) => start + minutes * minute
function transition(
  machine: string,
  kind: Transition['kind'],
  minutes: number,
  more: Partial<Transition> = {},
): Transition {
  return {
    machine,
    key: 'oil_c.high',
    kind,
    at: at(minutes),
    since: at(minutes - 1),
    receivedAt: at(minutes) + 200,
    severity: 'S2',
    rule: 'oil_c.high',
    signal: 'oil_c',
    component: 'oil',
    failureMode: 'limit.oil_c.high',
    value: 90,
    limit: 85,
    unit: '°C',
    ...more,
  }
}

function record(transitions: readonly Transition[], state: MachineState = 'in_service', now = start + 24 * hour) {
  return records.db.transaction().execute((trx) => applyTransitions(trx, transitions, { stateOf: () => state, now }))
}

function recordAgain(episodes: readonly Episode[], state: MachineState = 'in_service', now = start + 24 * hour) {
  return records.db.transaction().execute((trx) => applyEpisodes(trx, episodes, { stateOf: () => state, now }))
}

const follow = (machine: string, state: MachineState) =>
  records.db.transaction().execute((trx) => followMachineState(trx, machine, { state, now: at(500) }))

const alarmsOf = async (machine: string) => (await listAlarms(records.db, { machine, limit: 100 })).items.reverse()

async function shortOf(machine: string) {
  const minutes = (time: string | null) => time && (Date.parse(time) - start) / minute
  return (await alarmsOf(machine)).map(({ state, severity, raisedAt, clearedAt, historical }) =>
    [state, severity, minutes(raisedAt), minutes(clearedAt), historical ? 'historical' : ''].join(' ').trim(),
  )
}

async function eventsOf(machine: string) {
  const histories = await Promise.all((await alarmsOf(machine)).map(({ id }) => alarmWithHistory(records.db, id)))
  return histories.map(({ history }) => history.map(({ kind }) => kind).join(' '))
}

async function acknowledge(machine: string) {
  const id = (await alarmsOf(machine)).at(-1)?.id ?? ''
  return acknowledgeAlarm(records.db, id, { user: 'ann', note: 'seen', now: at(400) })
}

describe('the states of ISA-18.2', () => {
  for (const { name, steps, expected } of [
    { name: 'raised', steps: ['raised 10'], expected: ['unacknowledged S2 10'] },
    { name: 'cleared before anybody saw it', steps: ['raised 10', 'cleared 20'], expected: ['returned S2 10 20'] },
    { name: 'seen', steps: ['raised 10', 'acknowledge'], expected: ['acknowledged S2 10'] },
    { name: 'seen, then cleared', steps: ['raised 10', 'acknowledge', 'cleared 20'], expected: ['normal S2 10 20'] },
    { name: 'cleared, then seen', steps: ['raised 10', 'cleared 20', 'acknowledge'], expected: ['normal S2 10 20'] },
    {
      name: 'back before anybody saw it',
      steps: ['raised 10', 'cleared 20', 'raised 30'],
      expected: ['unacknowledged S2 10'],
    },
    {
      name: 'back after it was over',
      steps: ['raised 10', 'cleared 20', 'acknowledge', 'raised 30'],
      expected: ['normal S2 10 20', 'unacknowledged S2 30'],
    },
  ]) {
    test(name, async () => {
      const machine = await newMachine()
      for (const step of steps) {
        const [kind, minutes] = step.split(' ')
        if (kind === 'acknowledge') await acknowledge(machine)
        else await record([transition(machine, kind as Transition['kind'], Number(minutes))])
      }
      expect(await shortOf(machine)).toEqual(expected)
    })
  }

  test('the severity rises and falls in one record, and ends as the worst it was', async () => {
    const machine = await newMachine()
    await record([
      transition(machine, 'raised', 10),
      transition(machine, 'severity', 11, { severity: 'S3', value: 97, limit: 95 }),
    ])
    expect(await alarmsOf(machine)).toMatchObject([{ severity: 'S3', value: 97, limit: 95 }])
    await record([
      transition(machine, 'severity', 12),
      transition(machine, 'cleared', 13, { severity: 'S3', value: 80 }),
    ])
    expect(await shortOf(machine)).toEqual(['returned S3 10 13'])
    expect(await alarmsOf(machine)).toMatchObject([{ value: 97, limit: 95 }])
    expect(await eventsOf(machine)).toEqual(['raised severity severity cleared'])
  })

  test('the same transitions again change nothing', async () => {
    const machine = await newMachine()
    const story = [
      transition(machine, 'raised', 10),
      transition(machine, 'severity', 11, { severity: 'S3' }),
      transition(machine, 'cleared', 20, { severity: 'S3' }),
      transition(machine, 'raised', 30),
    ]
    await record(story)
    const before = await Promise.all((await alarmsOf(machine)).map(({ id }) => alarmWithHistory(records.db, id)))
    await record(story)
    const after = await Promise.all((await alarmsOf(machine)).map(({ id }) => alarmWithHistory(records.db, id)))
    expect(after).toEqual(before)
  })
})

describe('historical', () => {
  for (const { name, delay, expected } of [
    { name: 'over for more than five minutes when it was received', delay: 5.1, expected: true },
    { name: 'received within five minutes', delay: 4.9, expected: false },
  ]) {
    test(name, async () => {
      const machine = await newMachine()
      await record([transition(machine, 'raised', 10)])
      await record([transition(machine, 'cleared', 20, { receivedAt: at(20 + delay) })], 'in_service', at(20 + delay))
      expect(await alarmsOf(machine)).toMatchObject([{ historical: expected }])
    })
  }

  test('an alarm that was news once is no history', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 10)], 'in_service', at(10))
    await record([transition(machine, 'cleared', 20)], 'in_service', at(20))
    await record(
      [transition(machine, 'raised', 30), transition(machine, 'cleared', 40, { receivedAt: at(90) })],
      'in_service',
      at(90),
    )
    expect(await shortOf(machine)).toEqual(['returned S2 10 40'])
  })

  test('one that is active again is no history either', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 10), transition(machine, 'cleared', 20, { receivedAt: at(90) })])
    await record([transition(machine, 'raised', 89)])
    expect(await shortOf(machine)).toEqual(['unacknowledged S2 10'])
  })
})

describe('a machine out of service', () => {
  for (const state of ['parked', 'workshop', 'unassigned', 'retired'] as const) {
    test(`${state}: alarms are recorded and silent, and say why`, async () => {
      const machine = await newMachine()
      await record([transition(machine, 'raised', 10)], state)
      expect(await alarmsOf(machine)).toMatchObject([{ state: 'suppressed', suppressedBy: state }])
      await record([transition(machine, 'cleared', 20)], state)
      expect(await alarmsOf(machine)).toMatchObject([{ state: 'normal', suppressedBy: state }])
    })
  }

  test('back in service, what is still active speaks', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 10)], 'parked')
    await follow(machine, 'in_service')
    await follow(machine, 'in_service')
    expect(await alarmsOf(machine)).toMatchObject([{ state: 'unacknowledged', suppressedBy: null }])
    expect(await eventsOf(machine)).toEqual(['raised unsuppressed'])
  })

  test('what was active is silenced, and what was seen stays seen', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 10)])
    await acknowledge(machine)
    await follow(machine, 'workshop')
    await follow(machine, 'parked')
    expect(await alarmsOf(machine)).toMatchObject([{ state: 'suppressed', suppressedBy: 'parked' }])
    await follow(machine, 'in_service')
    expect(await alarmsOf(machine)).toMatchObject([{ state: 'acknowledged' }])
    expect(await eventsOf(machine)).toEqual(['raised acknowledged suppressed unsuppressed'])
  })
})

describe('acknowledging', () => {
  test('says who and what, once', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 10)])
    const alarm = await acknowledge(machine)
    expect(alarm).toMatchObject({
      acknowledgedBy: 'ann',
      note: 'seen',
      acknowledgedAt: new Date(at(400)).toISOString(),
    })
    expect(alarmSchema.parse(alarm)).toEqual(alarm)
    await expect(acknowledge(machine)).rejects.toThrow(NothingToAcknowledge)
    const audit = await records.db.selectFrom('audit').selectAll().where('subject', '=', alarm.id).execute()
    expect(audit).toMatchObject([{ by: 'ann', action: 'alarm.acknowledge', reason: 'seen' }])
  })

  test('what is not there', async () => {
    await expect(acknowledgeAlarm(records.db, 'A-0', { user: 'ann', note: null, now: 0 })).rejects.toThrow(AlarmUnknown)
    await expect(alarmWithHistory(records.db, 'A-0')).rejects.toThrow(AlarmUnknown)
  })
})

test('lists are newest first, by pages, and can be narrowed', async () => {
  const machine = await newMachine()
  for (const [i, key] of ['a.high', 'b.high', 'c.high', 'd.high', 'e.high'].entries())
    await record([transition(machine, 'raised', i < 3 ? 10 : 20, { key, severity: i === 4 ? 'S4' : 'S2' })])
  const ids: string[] = []
  let after: string | undefined
  do {
    const page = await listAlarms(records.db, { machine, limit: 2, after })
    ids.push(...page.items.map(({ id }) => id))
    after = page.next ?? undefined
  } while (after !== undefined)
  expect(ids).toHaveLength(5)
  expect(new Set(ids).size).toBe(5)
  const narrowed = await listAlarms(records.db, { machine, severity: 'S4', state: 'unacknowledged', limit: 10 })
  expect(narrowed).toMatchObject({ items: [{ id: ids.find((id) => id === narrowed.items[0]?.id) }], next: null })
  expect((await listAlarms(records.db, { machine, state: 'normal', limit: 10 })).items).toEqual([])
})

describe('episodes found when the past is judged again', () => {
  const episode = (machine: string, from: number, to: number | null, more: Partial<Transition> = {}): Episode => {
    const late = { receivedAt: at(300), ...more }
    const raised = transition(machine, 'raised', from, late)
    const cleared = to === null ? null : transition(machine, 'cleared', to, late)
    return { raised, worst: raised, cleared, until: at(100) }
  }

  test('a new one is over, and history', async () => {
    const machine = await newMachine()
    await recordAgain([episode(machine, 10, 20)])
    expect(await shortOf(machine)).toEqual(['returned S2 10 20 historical'])
    expect(await eventsOf(machine)).toEqual(['raised cleared'])
  })

  test('one that lasts to the end of what was judged is over there: now is for the live readings to say', async () => {
    const machine = await newMachine()
    await recordAgain([episode(machine, 10, null)])
    expect(await shortOf(machine)).toEqual(['returned S2 10 100 historical'])
    await record([transition(machine, 'raised', 101, { receivedAt: at(301) })])
    expect(await shortOf(machine)).toEqual(['unacknowledged S2 10'])
  })

  test('judged twice it is recorded once', async () => {
    const machine = await newMachine()
    await recordAgain([episode(machine, 10, 20), episode(machine, 40, 50)])
    const before = await eventsOf(machine)
    await recordAgain([episode(machine, 10, 20), episode(machine, 40, 50)])
    expect(await eventsOf(machine)).toEqual(before)
    expect(await shortOf(machine)).toEqual(['returned S2 10 50 historical'])
  })

  test('what is active began earlier, and stays active', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 60)])
    await recordAgain([episode(machine, 30, null)])
    expect(await shortOf(machine)).toEqual(['unacknowledged S2 30'])
    expect(await eventsOf(machine)).toEqual(['raised'])
  })

  test('what cleared after a gap had really cleared within it', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 10), transition(machine, 'cleared', 61)])
    await acknowledge(machine)
    await recordAgain([episode(machine, 10, 25)])
    expect(await shortOf(machine)).toEqual(['normal S2 10 25'])
  })

  test('that it was worse is told to those who act on it', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 10)])
    const worst = transition(machine, 'severity', 20, { severity: 'S4', receivedAt: at(300) })
    const worse = { ...episode(machine, 10, null), worst }
    await recordAgain([worse])
    await recordAgain([worse])
    expect(await eventsOf(machine)).toEqual(['raised severity'])
    expect(await shortOf(machine)).toEqual(['unacknowledged S2 10'])
  })

  test('after it was seen and over, another one is a new alarm', async () => {
    const machine = await newMachine()
    await record([transition(machine, 'raised', 60), transition(machine, 'cleared', 70)])
    await acknowledge(machine)
    await recordAgain([episode(machine, 10, 20)])
    expect(await shortOf(machine)).toEqual(['returned S2 10 20 historical', 'normal S2 60 70'])
  })

  test('of a parked machine it is silent', async () => {
    const machine = await newMachine()
    await recordAgain([episode(machine, 10, 20)], 'parked')
    expect(await alarmsOf(machine)).toMatchObject([{ state: 'normal', suppressedBy: 'parked', historical: true }])
  })
})

describe('a backlog that comes in any way leads to the alarms of a machine that was never offline', () => {
  /** Hot from minute 15 to 25 and from 70 on; the link is down from 10 to 60. */
  const hot = (time: number) => ({ oil_c: (time >= at(15) && time < at(25)) || time >= at(70) ? 97 : 80 })
  const sets = every(10 * second, start, at(90), hot)
  const isBacklog = ({ measuredAt }: ReadingSet) => measuredAt > at(10) && measuredAt <= at(60)
  const live = sets.filter((one) => !isBacklog(one))
  const backlog = sets.filter(isBacklog)

  /** As the pipeline does it: what is not late is observed, the rest judged again at every tenth message. */
  async function receive(machine: string, messages: readonly ReadingSet[][]): Promise<void> {
    const own = { ...context({ signals: oil }, machine) }
    const detector = machineDetector(own)
    const stored: ReadingSet[] = []
    let late: ReadingSet[] = []
    for (const [i, message] of [...messages, []].entries()) {
      stored.push(...message)
      const ordered = [...message].sort((a, b) => a.measuredAt - b.measuredAt)
      const past = ordered.filter((one) => detector.isLate(one))
      late.push(...past)
      await record(detector.observe(ordered.filter((one) => !past.includes(one))))
      if (late.length === 0 || (i % 10 !== 0 && i < messages.length)) continue
      const times = late.map(({ measuredAt }) => measuredAt)
      const readings = stored.flatMap(({ measuredAt, values }) =>
        [...values].map(([signal, value]) => ({ machine, signal, measuredAt, value })),
      )
      const span = { from: Math.min(...times), to: Math.max(...times), receivedAt: at(90) }
      await recordAgain(judgeAgain({ ...own, state: detector.state() }, readings, span))
      late = []
    }
  }

  const single = (all: readonly ReadingSet[]) => all.map((one) => [one])
  const before = live.filter(({ measuredAt }) => measuredAt <= at(10))
  const after = live.filter(({ measuredAt }) => measuredAt > at(60))
  const mixed = after.flatMap((one, i) => [[one], backlog.filter((_, j) => j % after.length === i)])
  for (const { name, messages } of [
    { name: 'in order', messages: single(sets) },
    { name: 'as one array', messages: [...single(before), backlog, ...single(after)] },
    { name: 'afterwards, oldest first', messages: [...single(live), ...single(backlog)] },
    { name: 'afterwards, newest first', messages: [...single(live), ...single(backlog.toReversed())] },
    { name: 'afterwards, as one array in reverse', messages: [...single(live), backlog.toReversed()] },
    { name: 'mixed with live readings, out of order', messages: [...single(before), ...mixed] },
  ]) {
    test(name, async () => {
      const machine = await newMachine()
      await receive(machine, messages)
      expect(await shortOf(machine)).toEqual(['unacknowledged S3 15.5'])
      const [alarm] = await alarmsOf(machine)
      const { history } = await alarmWithHistory(records.db, alarm?.id ?? '')
      expect(history.map(({ kind, at: time }) => `${kind} ${(Date.parse(time) - start) / minute}`)).toEqual([
        'raised 15.5',
        'cleared 26',
        'raised 70.5',
      ])
    })
  }

  test('one reading out of order and a redelivery change nothing', async () => {
    const machine = await newMachine()
    const stray = set(at(30), { oil_c: 80 })
    await receive(machine, [...single(sets), [stray], [stray]])
    expect(await shortOf(machine)).toEqual(['unacknowledged S3 15.5'])
    expect(await eventsOf(machine)).toEqual(['raised cleared raised'])
  })
})
