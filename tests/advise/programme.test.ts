import { expect, test } from 'vitest'
import { type DuePoint, duePoints, operatorTasks, type Standing } from '../../src/advise/programme.ts'
import { siteCalendar } from '../../src/advise/programme-calendar.ts'
import type { Counter } from '../../src/advise/programme-counter.ts'
import { nextVisit, outlook, type Planned } from '../../src/advise/programme-window.ts'
import type { Task } from '../../src/catalogue/schema.ts'

const DAY = 86_400_000
const utc = siteCalendar('UTC')
const day = (text: string) => Date.parse(text.length === 10 ? `${text}T00:00:00Z` : text)

const spotHours = [100, 250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7500, 9000, 10_000]
const tasks = {
  DAILY: task({ performer: 'operator', every: { hours: 10 }, calendar: { days: 1 } }),
  ENG_250: task({ every: { hours: 250 }, calendar: { months: 6 } }),
  FUEL_500: task({ every: { hours: 500 }, calendar: { months: 3 } }),
  VALVE_ADJ: task({ every: { hours: 2000 } }),
  BOLT_SLEW: task({ points: [{ hours: 100 }], every: { hours: 500 }, calendar: { months: 12 } }),
  PLATES: task({ every: { m3: 30_000 } }),
  ROPE_MONTHLY: task({ performer: 'customer', calendar: { months: 1 } }),
  ROUTINE: task({ points: [{ months: 1 }, { months: 3 }, { months: 6 }], calendar: { years: 1 } }),
  WARRANTY_END: task({ points: [{ hours: 2900, months: 11 }] }),
  SPOT: task({
    points: spotHours.map((hours) => ({ hours })),
    window: spotHours.map((_, i) =>
      i < 2 ? { beforeHours: 20, afterHours: 30 } : { beforeHours: 50, afterHours: 50 },
    ),
  }),
} satisfies Record<string, Task>
type TaskId = keyof typeof tasks

function task(fields: Partial<Task>): Task {
  const text = { en: 'x', zh: 'x' }
  return { name: text, work: text, performer: 'service', points: [], parts: [], ...fields }
}

function only(...ids: TaskId[]): Map<string, Task> {
  return new Map(ids.map((id) => [id, tasks[id]]))
}

interface At {
  now?: string
  delivered?: string | null
  joined?: string
  hours?: number
  start?: number
  perDay?: number
  m3?: number
  startM3?: number
}

function standing({
  now = '2026-01-01',
  delivered = '2026-01-01',
  joined = delivered ?? now,
  hours,
  start = 0,
  perDay,
  m3,
  startM3 = 0,
}: At): Standing {
  const counter = (value: number | undefined, from: number): Counter | undefined =>
    value === undefined ? undefined : { value, at: day(now), start: from, perDay }
  return {
    now: day(now),
    calendar: utc,
    deliveredAt: delivered === null ? null : day(delivered),
    joinedAt: day(joined),
    hours: counter(hours, start),
    volume: counter(m3, startM3),
  }
}

function plan(ids: readonly TaskId[], at: Standing, kept: readonly DuePoint[] = []): Planned[] {
  return duePoints(only(...ids), at, kept).map((point) => {
    const own = tasks[point.task as TaskId]
    return { task: own, point, outlook: outlook(own, point, at) }
  })
}

/** The points still to come: n, hours or m³, date. */
function coming(ids: TaskId[], at: At) {
  return plan(ids, standing(at))
    .filter(({ point }) => !point.unknown && !point.reached)
    .map(({ point }) => [
      point.n,
      point.dueHours ?? point.dueM3,
      point.dueAt && new Date(point.dueAt).toISOString().slice(0, 10),
    ])
}

for (const { name, ids, at, expected } of [
  {
    name: 'a new machine: the first multiple, or the first half year',
    ids: ['ENG_250'],
    at: { hours: 0 },
    expected: [[1, 250, '2026-07-01']],
  },
  {
    name: 'multiples count from zero, not from the first reading',
    ids: ['ENG_250'],
    at: { hours: 6300, start: 6300, delivered: null },
    expected: [[26, 6500, '2026-07-01']],
  },
  {
    name: 'the calendar counts from delivery, and what lay before joining is past',
    ids: ['FUEL_500'],
    at: { hours: 10, delivered: '2024-11-15', joined: '2026-01-01' },
    expected: [[1, 500, '2026-02-15']],
  },
  {
    name: 'a multiple before the first reading is past',
    ids: ['VALVE_ADJ'],
    at: { hours: 2001, start: 2001 },
    expected: [[2, 4000, undefined]],
  },
  {
    name: 'nothing is known of the hours yet: the first multiple stands',
    ids: ['VALVE_ADJ'],
    at: {},
    expected: [[1, 2000, undefined]],
  },
  {
    name: 'a one-time point, then the interval',
    ids: ['BOLT_SLEW'],
    at: { hours: 0 },
    expected: [
      [1, 100, undefined],
      [2, 500, '2027-01-01'],
    ],
  },
  { name: 'cubic metres', ids: ['PLATES'], at: { m3: 81_000, startM3: 81_000 }, expected: [[3, 90_000, undefined]] },
  {
    name: 'months after handover, then years',
    ids: ['ROUTINE'],
    at: { hours: 0 },
    expected: [
      [1, undefined, '2026-02-01'],
      [2, undefined, '2026-04-01'],
      [3, undefined, '2026-07-01'],
      [4, undefined, '2027-01-01'],
    ],
  },
  {
    name: 'months after a handover that nobody told us are no points',
    ids: ['ROUTINE'],
    at: { delivered: null },
    expected: [[4, undefined, '2027-01-01']],
  },
  {
    name: 'one point by whichever comes first',
    ids: ['WARRANTY_END'],
    at: { hours: 0 },
    expected: [[1, 2900, '2026-12-01']],
  },
  {
    name: 'a combined point is past when one of its sides is',
    ids: ['WARRANTY_END'],
    at: { hours: 10, delivered: '2024-01-01', joined: '2026-01-01' },
    expected: [],
  },
  {
    name: 'the spot inspections ahead of a machine that joined with 6,300 h',
    ids: ['SPOT'],
    at: { hours: 6300, start: 6300 },
    expected: [
      [10, 7500, undefined],
      [11, 9000, undefined],
      [12, 10_000, undefined],
    ],
  },
  { name: 'an operator task is no due point', ids: ['DAILY'], at: { hours: 95 }, expected: [] },
] satisfies { name: string; ids: TaskId[]; at: At; expected: unknown[] }[]) {
  test(`due points: ${name}`, () => expect(coming(ids, at)).toEqual(expected))
}

test('what lies before the first hour reading is unknown and never near', () => {
  const before = plan(['SPOT', 'ENG_250', 'VALVE_ADJ'], standing({ hours: 6300, start: 6300 })).filter(
    ({ point }) => point.unknown,
  )
  expect(before.map(({ point }) => point.dueHours)).toEqual([
    100, 250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 6250, 6000,
  ])
  expect(before.every((one) => one.outlook.state === 'unknown' && !one.outlook.near)).toBe(true)
})

for (const { id, n, opens, closes } of [
  { id: 'ENG_250', n: 1, opens: 225, closes: 275 },
  { id: 'FUEL_500', n: 1, opens: 450, closes: 550 },
  { id: 'VALVE_ADJ', n: 1, opens: 1950, closes: 2050 },
  { id: 'BOLT_SLEW', n: 1, opens: 90, closes: 110 },
  { id: 'SPOT', n: 1, opens: 80, closes: 130 },
  { id: 'SPOT', n: 2, opens: 230, closes: 280 },
  { id: 'SPOT', n: 3, opens: 450, closes: 550 },
  { id: 'SPOT', n: 12, opens: 9950, closes: 10_050 },
] satisfies { id: TaskId; n: number; opens: number; closes: number }[]) {
  test(`window of ${id} ${n}: ${opens} to ${closes} h`, () => {
    const [found] = plan([id], standing({ hours: 0 })).filter(({ point }) => point.n === n)
    expect([found?.outlook.opensHours, found?.outlook.closesHours]).toEqual([opens, closes])
  })
}

test('a window in m³ is ten per cent of the interval', () => {
  const [plates] = plan(['PLATES'], standing({ m3: 0 }))
  expect([plates?.outlook.opensM3, plates?.outlook.closesM3]).toEqual([27_000, 33_000])
})

for (const { name, id, at, state, near } of [
  { name: 'an hour before its window', id: 'FUEL_500', at: { hours: 449 }, state: 'upcoming', near: false },
  { name: 'when its window opens', id: 'FUEL_500', at: { hours: 450 }, state: 'open', near: true },
  { name: 'when its window is over', id: 'FUEL_500', at: { hours: 550 }, state: 'overdue', near: true },
  {
    name: '15 days ahead of its date',
    id: 'FUEL_500',
    at: { hours: 0, now: '2026-03-17' },
    state: 'upcoming',
    near: false,
  },
  { name: '14 days ahead of its date', id: 'FUEL_500', at: { hours: 0, now: '2026-03-18' }, state: 'open', near: true },
  {
    name: 'two weeks after its date, or a tenth of the interval',
    id: 'FUEL_500',
    at: { hours: 0, now: '2026-04-10' },
    state: 'overdue',
    near: true,
  },
  {
    name: 'with 8 h a day and 120 h to go, 15 days',
    id: 'VALVE_ADJ',
    at: { hours: 1880, perDay: 8 },
    state: 'upcoming',
    near: false,
  },
  {
    name: 'with 8 h a day and 112 h to go, 14 days',
    id: 'VALVE_ADJ',
    at: { hours: 1888, perDay: 8 },
    state: 'upcoming',
    near: true,
  },
  {
    name: 'with as many hours to go and no known use',
    id: 'VALVE_ADJ',
    at: { hours: 1888 },
    state: 'upcoming',
    near: false,
  },
  {
    name: 'a short interval: half of it is less than 14 days',
    id: 'SPOT',
    at: { hours: 40, perDay: 10 },
    state: 'upcoming',
    near: false,
  },
  {
    name: 'a short interval: half of it is ahead',
    id: 'SPOT',
    at: { hours: 50, perDay: 10 },
    state: 'upcoming',
    near: true,
  },
] satisfies { name: string; id: TaskId; at: At; state: string; near: boolean }[]) {
  test(`${id} ${name}: ${state}${near ? ', told' : ''}`, () => {
    const [first] = plan([id], standing(at))
    expect([first?.outlook.state, first?.outlook.near]).toEqual([state, near])
  })
}

test('the date of an hour task is the mean use from the last reading on', () => {
  const [valve] = plan(['VALVE_ADJ'], standing({ hours: 1000, perDay: 10 }))
  expect(valve?.outlook.forecastAt).toBe(day('2026-01-01') + 100 * DAY)
  expect(plan(['VALVE_ADJ'], standing({ hours: 1000 }))[0]?.outlook.forecastAt).toBeUndefined()
})

test('the calendar counts on from where the hours were first', () => {
  const points = plan(['ENG_250'], standing({ now: '2026-03-11', hours: 260, perDay: 10 })).map(({ point }) => point)
  expect(points.map(({ n, dueHours, reached }) => [n, dueHours, reached?.by])).toEqual([
    [1, 250, 'counter'],
    [2, 500, undefined],
  ])
  // 250 h were there on 10 March; half a year after that, not after delivery
  expect(points[1]?.dueAt).toBe(day('2026-09-10'))
})

test('the hours go on by their multiples where the calendar was first', () => {
  const points = plan(['ENG_250'], standing({ now: '2027-01-02', hours: 100 })).map(({ point }) => point)
  expect(points.map(({ n, dueHours, dueAt, reached }) => [n, dueHours, dueAt, reached?.by])).toEqual([
    [1, 250, day('2026-07-01'), 'calendar'],
    [2, 250, day('2027-01-01'), 'calendar'],
    [3, 250, day('2027-07-01'), undefined],
  ])
})

test('hours whose window was open when the calendar was first are done with it', () => {
  const points = plan(['ENG_250'], standing({ now: '2026-07-02', hours: 230 })).map(({ point }) => point)
  expect(points.map(({ dueHours, dueAt }) => [dueHours, dueAt])).toEqual([
    [250, day('2026-07-01')],
    [500, day('2027-01-01')],
  ])
})

test('a point that was told stays what it is when the use changes', () => {
  const [told] = plan(['VALVE_ADJ'], standing({ hours: 1888, perDay: 8 }))
  const kept = told ? [{ ...told.point, remindedAt: day('2026-01-01') }] : []
  const later = plan(['VALVE_ADJ'], standing({ hours: 4010, now: '2026-12-01' }), kept)
  expect(later.map(({ point }) => [point.n, point.dueHours, point.remindedAt !== undefined])).toEqual([
    [1, 2000, true],
    [2, 4000, false],
    [3, 6000, false],
  ])
})

test('calendar tasks told while no hours were known do not bring back the past when they are', () => {
  const [told] = plan(['FUEL_500'], standing({ now: '2026-04-02' }))
  const kept = told ? [{ ...told.point, remindedAt: day('2026-03-18') }] : []
  const points = plan(['FUEL_500'], standing({ now: '2026-04-03', hours: 6300, start: 6300 }), kept)
  expect(points.map(({ point }) => [point.n, point.dueHours])).toEqual([
    [1, 500],
    [2, 6500],
  ])
})

test('nothing changes before what an outlook says next', () => {
  const at = standing({ hours: 100, perDay: 8 })
  for (const { outlook: own } of plan(['FUEL_500', 'VALVE_ADJ', 'BOLT_SLEW'], at)) {
    expect(own.nextHours ?? Infinity).toBeGreaterThan(100)
    expect(own.nextAt ?? Infinity).toBeGreaterThan(at.now)
  }
  expect(plan(['FUEL_500'], at)[0]?.outlook.nextHours).toBe(450)
})

function visitAt(at: At, ids: TaskId[]) {
  return nextVisit(plan(ids, standing(at))).map(({ point }) => `${point.task} ${point.dueHours ?? point.dueM3 ?? ''}`)
}

for (const { name, ids, at, expected } of [
  {
    name: 'tasks of one due point',
    ids: ['ENG_250', 'FUEL_500', 'BOLT_SLEW', 'SPOT', 'VALVE_ADJ'],
    at: { hours: 450, start: 300 },
    expected: ['ENG_250 500', 'FUEL_500 500', 'BOLT_SLEW 500', 'SPOT 500'],
  },
  { name: 'nothing near', ids: ['ENG_250', 'FUEL_500'], at: { hours: 300, start: 300 }, expected: [] },
  {
    name: 'a customer task is never in it',
    ids: ['FUEL_500', 'ROPE_MONTHLY'],
    at: { hours: 450, start: 300, now: '2026-01-25' },
    expected: ['FUEL_500 500'],
  },
  {
    name: 'a date within the window of another',
    ids: ['ROUTINE', 'VALVE_ADJ'],
    at: { hours: 1888, start: 300, perDay: 8, now: '2026-01-16' },
    expected: ['ROUTINE ', 'VALVE_ADJ 2000'],
  },
  {
    name: 'windows that passed while nobody looked',
    ids: ['SPOT', 'FUEL_500'],
    at: { hours: 1100, start: 300 },
    expected: ['SPOT 500', 'SPOT 1000', 'FUEL_500 500', 'FUEL_500 1000'],
  },
] satisfies { name: string; ids: TaskId[]; at: At; expected: string[] }[]) {
  test(`a visit: ${name}`, () => expect(visitAt(at, ids).sort()).toEqual(expected.sort()))
}

for (const { name, zone, from, span, times, expected } of [
  {
    name: 'a month that lacks the day ends on its last',
    zone: 'UTC',
    from: '2026-01-31T08:00:00Z',
    span: { months: 1 },
    times: 1,
    expected: '2026-02-28T08:00:00Z',
  },
  {
    name: 'months do not drift after a short one',
    zone: 'UTC',
    from: '2026-01-31T08:00:00Z',
    span: { months: 1 },
    times: 2,
    expected: '2026-03-31T08:00:00Z',
  },
  {
    name: 'a leap day',
    zone: 'UTC',
    from: '2024-02-29T00:00:00Z',
    span: { years: 1 },
    times: 1,
    expected: '2025-02-28T00:00:00Z',
  },
  {
    name: 'the local day counts, not that of UTC',
    zone: 'Asia/Shanghai',
    from: '2026-01-30T17:00:00Z',
    span: { months: 1 },
    times: 1,
    expected: '2026-02-27T17:00:00Z',
  },
  {
    name: 'the time of day stays over a clock change',
    zone: 'Europe/Berlin',
    from: '2026-03-01T07:00:00Z',
    span: { months: 1 },
    times: 1,
    expected: '2026-04-01T06:00:00Z',
  },
  {
    name: 'weeks',
    zone: 'UTC',
    from: '2026-01-01T00:00:00Z',
    span: { weeks: 2 },
    times: 3,
    expected: '2026-02-12T00:00:00Z',
  },
]) {
  test(`calendar: ${name}`, () => {
    const added = siteCalendar(zone).add(Date.parse(from), span, times)
    expect(new Date(added).toISOString()).toBe(new Date(expected).toISOString())
  })
}

test('calendar: the first time that is not before an instant', () => {
  for (const span of [{ days: 1 }, { weeks: 1 }, { months: 1 }, { months: 6 }, { years: 1 }]) {
    const times = utc.timesUntil(day('2020-01-31'), span, day('2026-05-07'))
    expect(utc.add(day('2020-01-31'), span, times)).toBeGreaterThanOrEqual(day('2026-05-07'))
    expect(utc.add(day('2020-01-31'), span, times - 1)).toBeLessThan(day('2026-05-07'))
  }
})

test('an operator task is a counter: last, next, remaining', () => {
  const [daily] = operatorTasks(
    only('DAILY', 'ENG_250'),
    standing({ hours: 6304, start: 6300, now: '2026-01-05T06:00:00Z' }),
  )
  expect(daily).toMatchObject({
    task: 'DAILY',
    lastHours: 6300,
    nextHours: 6310,
    remainingHours: 6,
    nextAt: day('2026-01-06'),
  })
  expect(operatorTasks(only('DAILY'), standing({ hours: 6304, start: 6303 }))[0]?.lastHours).toBeNull()
  expect(operatorTasks(only('DAILY'), standing({}))[0]).toMatchObject({
    lastHours: null,
    nextHours: null,
    remainingHours: null,
  })
})
