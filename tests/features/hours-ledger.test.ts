import { expect, test } from 'vitest'
import type { Profile } from '../../src/catalogue/catalogue.ts'
import { hoursLedger, type LedgerEvent } from '../../src/features/hours-ledger.ts'
import { meanUse } from '../../src/features/hours-ledger-use.ts'
import type { ReadingSet, SignalValue } from '../../src/reading.ts'

const T0 = Date.UTC(2026, 0, 5)
const MIN = 60_000
const H = 60 * MIN
const DAY = 24 * H

const text = { en: 'x', zh: 'x' }
const hourCounter = { unit: 'h', counter: true, sent: 'periodic', intervalSeconds: 60 }
const pumpTruck = {
  type: 'boom_pump',
  name: text,
  serviceCounter: {
    signals: ['pumping_hours_h', 'pto_hours_h', 'engine_hours_h'],
    running: [{ signal: 'engine_speed_rpm', above: 300 }],
    volume: 'pumped_volume_m3',
  },
  signals: new Map<string, unknown>([
    ['pumping_hours_h', hourCounter],
    ['pto_hours_h', hourCounter],
    ['engine_hours_h', hourCounter],
    ['idle_hours_h', hourCounter],
    ['pumped_volume_m3', { unit: 'm³', counter: true, sent: 'periodic', intervalSeconds: 60 }],
    ['engine_speed_rpm', { unit: 'rpm', counter: false, sent: 'periodic', intervalSeconds: 1 }],
  ]),
} as unknown as Profile
const digger = {
  ...pumpTruck,
  type: 'excavator',
  serviceCounter: { ...pumpTruck.serviceCounter, signals: ['engine_hours_h'], volume: undefined },
} as Profile

function set(measuredAt: number, values: Record<string, SignalValue>): ReadingSet {
  return {
    device: 'm',
    machine: 'm',
    measuredAt,
    receivedAt: measuredAt,
    seq: undefined,
    values: new Map(Object.entries(values)),
  }
}
const hours = (at: number, engine_hours_h: SignalValue) => set(at, { engine_hours_h })
const doubts = (events: readonly LedgerEvent[]) =>
  events.filter((e) => e.type === 'doubt').map((e) => [e.kind, e.value])

test('the first hour reading is the starting point, and later ones count exactly', () => {
  const ledger = hoursLedger(digger)
  expect(ledger.status().hours).toBeUndefined()
  ledger.observe([hours(T0, 4321.55)])
  expect(ledger.status()).toMatchObject({
    hours: 4321.55,
    source: 'engine_hours_h',
    at: T0,
    start: { hours: 4321.55, at: T0 },
  })
  ledger.observe([hours(T0 + H, { min: 4321.55, mean: 4322, max: 4322.5, n: 60 })])
  expect(ledger.status()).toMatchObject({ hours: 4322.5, at: T0 + H, start: { hours: 4321.55 } })
})

for (const { name, at, value, expected } of [
  { name: 'as many hours as passed are use', at: T0 + 10 * H, value: 110, expected: [] },
  { name: '0.1 h more than passed is still use', at: T0 + 10 * H, value: 110.1, expected: [] },
  { name: 'more than that is a jump', at: T0 + 10 * H, value: 110.2, expected: [['counter_jump', 110.2]] },
  { name: 'a jump of thousands of hours is one', at: T0 + DAY, value: 10_099, expected: [['counter_jump', 10_099]] },
  {
    name: 'a whole hour at once is one, when the counter was not seen to step before',
    at: T0 + MIN,
    value: 101,
    expected: [['counter_jump', 101]],
  },
  { name: 'a fall is one', at: T0 + 10 * H, value: 99.9, expected: [['counter_fall', 99.9]] },
  { name: 'a late reading is none', at: T0 - H, value: 80, expected: [] },
  { name: 'another value of the same instant is none', at: T0, value: 120, expected: [] },
]) {
  test(`hour counter: ${name}`, () => {
    const ledger = hoursLedger(digger)
    ledger.observe([hours(T0, 100)])
    expect(doubts(ledger.observe([hours(at, value)]))).toEqual(expected)
    if (expected.length > 0 || at <= T0) expect(ledger.status().hours).toBe(100)
    if (expected.length === 0 && at > T0) expect(ledger.status().hours).toBe(value)
  })
}

test('a display of whole hours that steps once an hour is use', () => {
  const ledger = hoursLedger(digger)
  const events: LedgerEvent[] = []
  for (let minute = 0; minute <= 600; minute++) {
    events.push(...ledger.observe([hours(T0 + minute * MIN, 100 + Math.floor((minute + 30) / 60))]))
  }
  // its very first step comes after half an hour only, which time makes good
  expect(events.map((event) => event.type)).toEqual(['doubt', 'settled'])
  expect(ledger.status().hours).toBe(110)
})

test('a spike moves nothing, and settles when the counter reads on', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([hours(T0, 6300)])
  expect(doubts(ledger.observe([hours(T0 + MIN, 16_299)]))).toEqual([['counter_jump', 16_299]])
  expect(ledger.observe([hours(T0 + 2 * MIN, 6300.03)])).toEqual([
    { type: 'settled', kind: 'counter_jump', signal: 'engine_hours_h', at: T0 + MIN },
  ])
  expect(ledger.status().hours).toBe(6300.03)
})

test('time alone does not make a jump plausible, and it is one event however long it lasts', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([hours(T0, 6300.5)])
  const events: LedgerEvent[] = []
  for (let hour = 1; hour <= 200; hour++) events.push(...ledger.observe([hours(T0 + hour * H, 6350.5 + hour / 4)]))
  expect(doubts(events)).toEqual([['counter_jump', 6350.75]])
  expect(ledger.status()).toMatchObject({ hours: 6300.5, counters: { engine_hours_h: { inDoubt: true } } })
})

for (const { resolution, value, after } of [
  { resolution: 'accept', value: undefined, after: 12 },
  { resolution: 'continue', value: undefined, after: 6307 },
  { resolution: 'set', value: 6290, after: 6297 },
] as const) {
  test(`a new controller counts from 5 h: ${resolution} gives ${after} h, and the ledger goes on from there`, () => {
    const ledger = hoursLedger(digger)
    ledger.observe([hours(T0, 6300)])
    ledger.observe([hours(T0 + DAY, 5)])
    ledger.observe([hours(T0 + DAY + 8 * H, 12)])
    expect(ledger.status().hours).toBe(6300)
    ledger.apply({ kind: 'doubt', signal: 'engine_hours_h', doubtAt: T0 + DAY, resolution, value })
    expect(ledger.status().hours).toBe(after)
    expect(ledger.observe([hours(T0 + DAY + 9 * H, 13)])).toEqual([])
    expect(ledger.status().hours).toBe(after + 1)
  })
}

test('a counter that falls after the jump that is accepted goes on from what was accepted', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([hours(T0, 6300), hours(T0 + MIN, 6700), hours(T0 + H, 10), hours(T0 + 2 * H, 11)])
  ledger.apply({ kind: 'doubt', signal: 'engine_hours_h', doubtAt: T0 + MIN, resolution: 'accept', value: undefined })
  expect(ledger.status().hours).toBe(6701)
  ledger.observe([hours(T0 + 3 * H, 12)])
  expect(ledger.status().hours).toBe(6702)
})

test('a decision about a doubt that has settled changes nothing', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([hours(T0, 6300), hours(T0 + MIN, 9000), hours(T0 + 2 * MIN, 6300)])
  ledger.apply({ kind: 'doubt', signal: 'engine_hours_h', doubtAt: T0 + MIN, resolution: 'accept', value: undefined })
  expect(ledger.status().hours).toBe(6300)
})

test('a first reading that was wrong is no starting point once it is decided', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([hours(T0, 0), hours(T0 + MIN, 6300)])
  ledger.apply({ kind: 'doubt', signal: 'engine_hours_h', doubtAt: T0 + MIN, resolution: 'accept', value: undefined })
  expect(ledger.status()).toMatchObject({ hours: 6300, start: { hours: 6300 } })
})

test('the best counter of the list is the service counter, though another came a little earlier', () => {
  const ledger = hoursLedger(pumpTruck)
  ledger.observe([hours(T0, 6300), set(T0 + MIN, { pumping_hours_h: 2900, pumped_volume_m3: 81_000 })])
  expect(ledger.status()).toMatchObject({
    hours: 2900,
    source: 'pumping_hours_h',
    start: { hours: 2900 },
    volumeM3: 81_000,
    startVolumeM3: 81_000,
  })
})

test('a change of source does not move the hours: a better one that comes later, a silent one that hands over', () => {
  const ledger = hoursLedger(pumpTruck)
  ledger.observe([hours(T0, 6300), hours(T0 + 2 * H, 6301)])
  ledger.observe([set(T0 + 3 * H, { pumping_hours_h: 2900 })])
  expect(ledger.status()).toMatchObject({ hours: 6301, source: 'pumping_hours_h', start: { hours: 6300 } })
  ledger.observe([set(T0 + 4 * H, { pumping_hours_h: 2900.5, engine_hours_h: 6302 })])
  expect(ledger.status().hours).toBeCloseTo(6301.5)
  ledger.observe([hours(T0 + DAY, 6310), hours(T0 + 4 * DAY, 6330)])
  expect(ledger.status()).toMatchObject({ source: 'engine_hours_h' })
  expect(ledger.status().hours).toBeCloseTo(6301.5)
  ledger.observe([hours(T0 + 4 * DAY + H, 6331)])
  expect(ledger.status().hours).toBeCloseTo(6302.5)
})

test('without a counter the running time counts; gaps count nothing', () => {
  const ledger = hoursLedger(digger)
  const rpm = (at: number, engine_speed_rpm: number) => set(at, { engine_speed_rpm })
  for (let minute = 0; minute <= 120; minute++) ledger.observe([rpm(T0 + minute * MIN, minute < 60 ? 1500 : 0)])
  expect(ledger.status()).toMatchObject({ source: 'running_time', start: { hours: 0, at: T0 } })
  expect(ledger.status().hours).toBeCloseTo(1)
  // six hours of silence with the engine on at both ends, then one minute
  ledger.observe([rpm(T0 + 121 * MIN, 1500), rpm(T0 + 481 * MIN, 1500), rpm(T0 + 482 * MIN, 1500)])
  expect(ledger.status().hours).toBeCloseTo(1 + 1 / 60)
})

test('a machine that never told whether it runs has no hours, not zero', () => {
  const ledger = hoursLedger({
    ...pumpTruck,
    serviceCounter: {
      ...pumpTruck.serviceCounter,
      running: [{ signal: 'pto_engaged', equals: 1, orUnknown: true }, ...pumpTruck.serviceCounter.running],
    },
    signals: new Map([
      ...pumpTruck.signals,
      ['pto_engaged', { unit: '–', counter: false, sent: 'on_change', intervalSeconds: 900 }],
    ] as [string, never][]),
  })
  const minutes = (from: number, values: Record<string, SignalValue>) =>
    ledger.observe(Array.from({ length: 60 }, (_, minute) => set(from + minute * MIN, values)))
  minutes(T0, { hyd_oil_temp_c: 60 })
  minutes(T0 + H, { pto_engaged: 1 })
  expect(ledger.status()).toMatchObject({ hours: undefined, source: undefined, start: undefined })
  minutes(T0 + 2 * H, { engine_speed_rpm: 1500 })
  expect(ledger.status()).toMatchObject({ source: 'running_time', start: { hours: 0, at: T0 + 2 * H } })
  expect(ledger.status().hours).toBeCloseTo(59 / 60)
})

test('the first hour reading replaces running time as the starting point', () => {
  const ledger = hoursLedger(digger)
  for (let minute = 0; minute <= 60; minute++) ledger.observe([set(T0 + minute * MIN, { engine_speed_rpm: 1500 })])
  ledger.observe([hours(T0 + 61 * MIN, 6300)])
  expect(ledger.status()).toMatchObject({ hours: 6300, source: 'engine_hours_h', start: { hours: 6300 } })
})

test('a counter that falls silent hands over to running time, which goes on from where the hours stand', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([hours(T0, 6300), hours(T0 + H, 6301)])
  const after = T0 + 4 * DAY
  for (let minute = 0; minute <= 60; minute++) ledger.observe([set(after + minute * MIN, { engine_speed_rpm: 1500 })])
  expect(ledger.status()).toMatchObject({ source: 'running_time', start: { hours: 6300 } })
  expect(ledger.status().hours).toBeGreaterThanOrEqual(6301.7)
  expect(ledger.status().hours).toBeLessThanOrEqual(6302)
  ledger.observe([hours(after + 61 * MIN, 6302.1)])
  expect(ledger.status()).toMatchObject({ source: 'engine_hours_h', start: { hours: 6300 } })
})

test('a meter reading is the last resort: the first is the start, a later one has to be plausible', () => {
  const ledger = hoursLedger(digger)
  expect(ledger.apply({ kind: 'meter', hours: 6300, at: T0 })).toEqual([])
  expect(ledger.status()).toMatchObject({ hours: 6300, source: 'meter_reading', start: { hours: 6300, at: T0 } })
  expect(ledger.apply({ kind: 'meter', hours: 6340, at: T0 + 7 * DAY })).toEqual([])
  expect(ledger.status().hours).toBe(6340)
  expect(doubts(ledger.apply({ kind: 'meter', hours: 63_450, at: T0 + 8 * DAY }))).toEqual([['counter_jump', 63_450]])
  expect(ledger.status().hours).toBe(6340)
  ledger.apply({ kind: 'doubt', signal: 'meter_reading', doubtAt: T0 + 8 * DAY, resolution: 'set', value: 6345 })
  expect(ledger.status().hours).toBe(6345)
})

test('a meter reading gives running time its base, and corrects it later', () => {
  const ledger = hoursLedger(digger)
  for (let minute = 0; minute <= 60; minute++) ledger.observe([set(T0 + minute * MIN, { engine_speed_rpm: 1500 })])
  ledger.apply({ kind: 'meter', hours: 6300, at: T0 + H })
  expect(ledger.status()).toMatchObject({ source: 'running_time', start: { hours: 6300 } })
  ledger.observe([set(T0 + 61 * MIN, { engine_speed_rpm: 1500 })])
  expect(ledger.status().hours).toBeCloseTo(6300 + 1 / 60)
  ledger.apply({ kind: 'meter', hours: 6303, at: T0 + 5 * H })
  expect(ledger.status().hours).toBeCloseTo(6303)
})

test('volume: concrete that no pump can deliver in the time is a jump', () => {
  const ledger = hoursLedger(pumpTruck)
  const volume = (at: number, pumped_volume_m3: number) => ledger.observe([set(at, { pumped_volume_m3 })])
  volume(T0, 1000)
  expect(volume(T0 + H, 1120)).toEqual([])
  expect(doubts(volume(T0 + 2 * H, 5000))).toEqual([['counter_jump', 5000]])
  expect(ledger.status().volumeM3).toBe(1120)
})

test('another type begins with its own service counter', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([set(T0, { engine_hours_h: 6300, pumping_hours_h: 2900 }), hours(T0 + 2 * H, 6302)])
  expect(hoursLedger(pumpTruck, ledger.state()).status()).toMatchObject({
    hours: 2900,
    source: 'pumping_hours_h',
    start: { hours: 2900 },
  })
})

test('another type waits with its counter until the machine is heard again', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([hours(T0, 6300), hours(T0 + 2 * H, 6302)])
  const retyped = hoursLedger(pumpTruck, JSON.parse(JSON.stringify(ledger.state())))
  expect(retyped.status()).toMatchObject({ hours: 6302, source: 'engine_hours_h' })
  const morning = T0 + 12 * H
  retyped.observe([hours(morning, 6302), set(morning + MIN, { pumping_hours_h: 2900 })])
  expect(retyped.status()).toMatchObject({ hours: 2900, source: 'pumping_hours_h', start: { hours: 2900 } })
})

test('stopped and started at every reading, it says the same', () => {
  const story = Array.from({ length: 300 }, (_, i) =>
    i % 7 === 3
      ? set(T0 + i * MIN, { engine_speed_rpm: i % 2 ? 1500 : 0 })
      : hours(T0 + i * MIN, i === 150 ? 9000 : 100 + i / 60),
  )
  const whole = hoursLedger(digger)
  const events = whole.observe(story)
  const parts: LedgerEvent[] = []
  let ledger = hoursLedger(digger)
  for (const one of story) {
    ledger = hoursLedger(digger, JSON.parse(JSON.stringify(ledger.state())))
    parts.push(...ledger.observe([one]))
  }
  expect(parts).toEqual(events)
  expect(ledger.status()).toEqual(whole.status())
})

test('a backlog in any order within one delivery is the same as in order', () => {
  const story = Array.from({ length: 50 }, (_, i) => hours(T0 + i * H, 100 + i / 2))
  const [inOrder, newestFirst] = [hoursLedger(digger), hoursLedger(digger)]
  inOrder.observe(story)
  newestFirst.observe(story.toReversed())
  expect(newestFirst.status()).toEqual(inOrder.status())
})

test('a status is taken when it moved by 0.05 h, not with every reading', () => {
  const ledger = hoursLedger(digger)
  let taken = 0
  for (let second = 0; second <= 3600; second++) {
    ledger.observe([hours(T0 + second * 1000, 100 + second / 3600)])
    if (ledger.takeStatus()) taken++
  }
  expect(taken).toBeGreaterThanOrEqual(19)
  expect(taken).toBeLessThanOrEqual(21)
})

test('mean use: days between two readings are known, days after the last one are not', () => {
  const ledger = hoursLedger(digger)
  for (let day = 0; day <= 20; day++) ledger.observe([hours(T0 + day * DAY, 1000 + day * 8)])
  const { hoursUse } = ledger.status()
  expect(meanUse(hoursUse, T0 + 20 * DAY)).toBeCloseTo(8)
  expect(meanUse(hoursUse, T0 + 35 * DAY)).toBeCloseTo(8)
  expect(meanUse(hoursUse, T0 + 49 * DAY)).toBeUndefined()
})

test('mean use: it looks back 30 days, over silences too, and says nothing before a week is known', () => {
  const ledger = hoursLedger(digger)
  ledger.observe([hours(T0, 1000), hours(T0 + 6 * DAY, 1060)])
  expect(meanUse(ledger.status().hoursUse, T0 + 6 * DAY)).toBeUndefined()
  ledger.observe([hours(T0 + 10 * DAY, 1100), hours(T0 + 60 * DAY, 1200)])
  expect(ledger.status().hoursUse.length).toBeLessThanOrEqual(31)
  expect(meanUse(ledger.status().hoursUse, T0 + 60 * DAY)).toBeCloseTo(2)
})

test('a jump that is accepted is no use of the days it came in', () => {
  const ledger = hoursLedger(digger)
  for (let day = 0; day <= 9; day++) ledger.observe([hours(T0 + day * DAY, 1000 + day * 8)])
  ledger.observe([hours(T0 + 10 * DAY, 5000)])
  ledger.apply({
    kind: 'doubt',
    signal: 'engine_hours_h',
    doubtAt: T0 + 10 * DAY,
    resolution: 'accept',
    value: undefined,
  })
  expect(ledger.status().hours).toBe(5000)
  expect(meanUse(ledger.status().hoursUse, T0 + 10 * DAY)).toBeCloseTo(8)
})
