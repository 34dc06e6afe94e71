import { describe, expect, test } from 'vitest'
import { type DetectorState, machineDetector } from '../../src/detect/machine-detector.ts'
import type { ReadingSet } from '../../src/reading.ts'
import {
  context,
  every,
  hour,
  minute,
  minuteSummaries,
  oil,
  type RuleText,
  second,
  set,
  short,
  start,
} from './story.ts'

/** Steps on full minutes: 80 °C, from minute 5 on 90, from 10 on 97, from 20 on 80. */
function heat(at: number): Record<string, number> {
  const passed = (at - start) / minute
  if (passed < 5 || passed >= 20) return { oil_c: 80 }
  return { oil_c: passed < 10 ? 90 : 97 }
}

const heatAlarm = ['raised oil_c.high S2 6', 'severity oil_c.high S3 10.5', 'cleared oil_c.high S3 21']
const end = start + 25 * minute

describe('one story, sent in different ways, is one alarm', () => {
  for (const { name, sets, expected = heatAlarm } of [
    { name: 'every second', sets: every(second, start, end, heat) },
    { name: 'every ten seconds', sets: every(10 * second, start, end, heat) },
    { name: 'every minute', sets: every(minute, start, end, heat) },
    {
      name: 'as a summary of each minute, whose highest value still counts in the minute of the fall',
      sets: minuteSummaries(start, end, heat),
      expected: [...heatAlarm.slice(0, 2), 'cleared oil_c.high S3 22'],
    },
  ]) {
    test(name, () => {
      expect(
        machineDetector(context({ signals: oil }))
          .observe(sets)
          .map(short),
      ).toEqual(expected)
    })
  }
})

test('what happened is said with value, limit and since when', () => {
  const [raised, worse, cleared] = machineDetector(context({ signals: oil })).observe(
    every(10 * second, start, end, heat),
  )
  expect(raised).toEqual({
    machine: 'm-1',
    key: 'oil_c.high',
    kind: 'raised',
    at: start + 6 * minute,
    since: start + 5 * minute,
    receivedAt: start + 6 * minute + 200,
    severity: 'S2',
    rule: 'oil_c.high',
    signal: 'oil_c',
    component: 'oil',
    failureMode: 'limit.oil_c.high',
    value: 90,
    limit: 85,
    unit: '°C',
  })
  expect(worse).toMatchObject({ value: 97, limit: 95, since: start + 10 * minute })
  expect(cleared).toMatchObject({ value: 80, since: start + 5 * minute })
})

test('a machine that sends every minute raises at its second reading', () => {
  const detector = machineDetector(context({ signals: oil }))
  expect(detector.observe([set(start, { oil_c: 97 })])).toEqual([])
  expect(detector.observe([set(start + minute, { oil_c: 97 })]).map(short)).toEqual(['raised oil_c.high S3 0.5'])
})

describe('gaps are unknown', () => {
  const at = (minutes: number, celsius: number) => set(start + minutes * minute, { oil_c: celsius })
  const settled = [0, 1, 2, 3, 4, 5].map((minutes) => at(minutes - 10, 80)) // a minute between readings
  for (const { name, sets, expected } of [
    {
      name: 'an on-delay does not run through a gap',
      sets: [at(0, 90), at(30, 90)],
      expected: [],
    },
    {
      name: 'it starts anew after the gap',
      sets: [at(0, 90), at(30, 90), at(31, 90)],
      expected: ['raised oil_c.high S2 31'],
    },
    {
      name: 'an active alarm stays through a gap',
      sets: [at(0, 90), at(1, 90), at(30, 90), at(31, 90)],
      expected: ['raised oil_c.high S2 1'],
    },
    {
      name: 'an off-delay does not run through a gap',
      sets: [at(0, 90), at(1, 90), at(2, 80), at(30, 80)],
      expected: ['raised oil_c.high S2 1'],
    },
    {
      name: 'and starts anew after it',
      sets: [at(0, 90), at(1, 90), at(2, 80), at(30, 80), at(31, 80)],
      expected: ['raised oil_c.high S2 1', 'cleared oil_c.high S2 31'],
    },
    {
      name: 'one reading left out is no gap',
      sets: [at(0, 90), at(2, 90)],
      expected: ['raised oil_c.high S2 1'],
    },
  ]) {
    test(name, () => {
      const detector = machineDetector(context({ signals: oil }))
      expect(detector.observe([...settled, ...sets]).map(short)).toEqual(expected)
    })
  }
})

describe('levels and delays', () => {
  const judge = (rule: RuleText, values: number[], sent: 'periodic' | 'on_change' = 'periodic') =>
    machineDetector(context({ signals: { x: { sent, rules: { limit: rule } } } }))
      .observe(values.map((x, i) => set(start + i * 10 * second, { x })))
      .map(({ kind, at }) => `${kind} ${(at - start) / second}`)
  const high = { direction: 'high', warn: { limit: 10 }, deadband: 2, offDelaySeconds: 20 }
  const low = { ...high, direction: 'low' }
  for (const { name, rule, values, expected } of [
    { name: 'the limit itself is not over it', rule: high, values: [10], expected: [] },
    { name: 'unless it is inclusive', rule: { ...high, inclusive: true }, values: [10], expected: ['raised 0'] },
    { name: 'no delay: at once', rule: high, values: [11], expected: ['raised 0'] },
    { name: 'inside the deadband it stays', rule: high, values: [11, 9, 9, 9, 9], expected: ['raised 0'] },
    { name: 'at the clear level it clears', rule: high, values: [11, 8, 8, 8], expected: ['raised 0', 'cleared 30'] },
    {
      name: 'a hit in between starts the off-delay anew',
      rule: high,
      values: [11, 8, 9, 8, 8, 8],
      expected: ['raised 0', 'cleared 50'],
    },
    { name: 'low: below the limit', rule: low, values: [10, 9, 12, 12, 12], expected: ['raised 10', 'cleared 40'] },
    {
      name: 'a dip starts the on-delay anew',
      rule: { ...high, warn: { limit: 10, onDelaySeconds: 20 } },
      values: [11, 11, 10, 11, 11, 11],
      expected: ['raised 50'],
    },
  ])
    test(name, () => expect(judge(rule, values)).toEqual(expected))
})

test('two rules of one signal in one direction are one alarm, and the worse one shows', () => {
  const detector = machineDetector(
    context({
      signals: {
        x: {
          rules: {
            high: { direction: 'high', warn: { limit: 10 }, deadband: 1, offDelaySeconds: 0 },
            over_air: {
              direction: 'high',
              measure: { difference: 'air' },
              critical: { limit: 20 },
              deadband: 1,
              offDelaySeconds: 0,
            },
          },
        },
        air: {},
      },
    }),
  )
  const found = detector.observe([
    set(start, { air: 0, x: 11 }),
    set(start + minute, { air: 0, x: 25 }),
    set(start + 2 * minute, { air: 10, x: 25 }),
    set(start + 3 * minute, { air: 10, x: 5 }),
  ])
  expect(found.map(({ kind, severity, rule, at }) => [kind, severity, rule, (at - start) / minute])).toEqual([
    ['raised', 'S2', 'x.high', 0],
    ['severity', 'S3', 'x.over_air', 1],
    ['severity', 'S2', 'x.high', 2],
    ['cleared', 'S3', 'x.high', 3],
  ])
})

describe('oil pressure is judged only above 1400 rpm', () => {
  const pressure = context({
    signals: {
      rpm: { unit: 'rpm' },
      kpa: {
        unit: 'kPa',
        rules: {
          low: {
            direction: 'low',
            warn: { limit: 200, onDelaySeconds: 5 },
            deadband: 30,
            offDelaySeconds: 10,
            when: [{ signal: 'rpm', above: 1400 }],
          },
        },
      },
    },
  })
  const run = (sets: ReadingSet[]) => machineDetector(pressure).observe(sets).map(short)
  const running = (kpa: number, rpm: number) => (at: number) => ({ kpa: at > start + minute ? kpa : 350, rpm })
  for (const { name, sets, expected } of [
    { name: 'low at working speed', sets: every(second, start, start + 2 * minute, running(150, 1800)), expected: 1 },
    { name: 'low at idle', sets: every(second, start, start + 2 * minute, running(150, 800)), expected: 0 },
    {
      name: 'in a summary in which the engine started, nothing can be told',
      sets: every(minute, start, start + 9 * minute, () => ({
        kpa: { min: 0, mean: 200, max: 400, n: 60 },
        rpm: { min: 0, mean: 1450, max: 1800, n: 60 },
      })),
      expected: 0,
    },
    { name: 'speed never sent', sets: every(second, start, start + 2 * minute, () => ({ kpa: 0 })), expected: 0 },
  ])
    test(name, () => expect(run(sets)).toHaveLength(expected))

  test('the speed before a stop does not judge the pressure after it', () => {
    const warm = every(10 * second, start, start + minute, () => ({ kpa: 350, rpm: 1800 }))
    const stopped = every(10 * second, start + minute, start + 2 * minute, () => ({ kpa: 0 }))
    expect(run([...warm, ...stopped])).toEqual([])
  })

  test('a speed that is no longer sent does not count where it may be unknown', () => {
    const rule = {
      direction: 'high',
      warn: { limit: 85, onDelaySeconds: 60 },
      deadband: 3,
      when: [{ signal: 'rpm', above: 500, orUnknown: true }],
    }
    const detector = machineDetector(context({ signals: { rpm: {}, oil_c: { rules: { high: rule } } } }))
    const sets = every(10 * second, start, start + 10 * minute, (at) => ({
      oil_c: 90,
      ...(at < start + minute ? { rpm: 900 } : {}),
    }))
    expect(detector.observe(sets.slice(0, 3))).toEqual([])
    expect(
      detector.observe(every(10 * second, start + hour, start + hour + 10 * minute, () => ({ oil_c: 90 }))),
    ).toHaveLength(1)
  })

  test('an engine that is switched off ends the alarm, silence does not', () => {
    const detector = machineDetector(pressure)
    detector.observe(every(second, start, start + 2 * minute, () => ({ kpa: 150, rpm: 1800 })))
    expect(detector.observe([set(start + hour, { kpa: 150 })])).toEqual([])
    const off = every(10 * second, start + hour, start + 2 * hour, () => ({ rpm: 0 }))
    expect(detector.observe(off)).toMatchObject([{ kind: 'cleared', at: start + 90 * minute + 10 * second }])
  })
})

describe('modes', () => {
  const rule = { direction: 'high', warn: { limit: 10 }, deadband: 1, offDelaySeconds: 60, modes: ['working'] }
  const sent = context({ signals: { x: { rules: { high: rule } }, rpm: {} } })
  const derived = context({
    signals: { x: { rules: { high: rule } }, rpm: {} },
    modeFrom: [
      { mode: 'working', when: [{ signal: 'rpm', above: 1000 }] },
      { mode: 'off', when: [{ signal: 'rpm', below: 100 }] },
    ],
  })
  for (const { name, machine, sets, expected } of [
    { name: 'an unknown mode is none of them', machine: sent, sets: [set(start, { x: 20 })], expected: [] },
    { name: 'as sent', machine: sent, sets: [set(start, { x: 20, mode: 2 })], expected: ['raised'] },
    { name: 'another one', machine: sent, sets: [set(start, { x: 20, mode: 1 })], expected: [] },
    {
      name: 'a mode holds until the next',
      machine: sent,
      sets: [
        set(start, { mode: 2 }),
        ...every(minute, start, start + 30 * minute, () => ({ x: 5 })),
        set(start + 31 * minute, { x: 20 }),
      ],
      expected: ['raised'],
    },
    {
      name: 'but not through an outage',
      machine: sent,
      sets: [
        set(start, { mode: 2 }),
        ...every(minute, start, start + 30 * minute, () => ({ x: 5 })),
        set(start + 60 * minute, { x: 20 }),
      ],
      expected: [],
    },
    {
      name: 'as it follows from signals',
      machine: derived,
      sets: [set(start, { x: 20, rpm: 1500 })],
      expected: ['raised'],
    },
    { name: 'nothing follows', machine: derived, sets: [set(start, { x: 20, rpm: 500 })], expected: [] },
    {
      name: 'its end ends the alarm, also when the signal is no longer sent',
      machine: sent,
      sets: [
        set(start, { x: 20, mode: 2 }),
        set(start + minute, { mode: 0 }),
        ...every(10 * second, start + minute, start + 3 * minute, () => ({ rpm: 0 })),
      ],
      expected: ['raised', 'cleared'],
    },
    {
      name: 'a pause does not end it',
      machine: sent,
      sets: [
        set(start, { x: 20, mode: 2 }),
        set(start + minute, { mode: 1 }),
        ...every(minute, start + minute, start + 25 * minute, () => ({ x: 1 })),
      ],
      expected: ['raised'],
    },
    {
      name: 'half an hour of rest does',
      machine: sent,
      sets: [
        set(start, { x: 20, mode: 2 }),
        set(start + minute, { mode: 1 }),
        ...every(minute, start + minute, start + 35 * minute, () => ({ x: 1 })),
      ],
      expected: ['raised', 'cleared'],
    },
    {
      name: 'normal values of short strokes of work add up',
      machine: sent,
      sets: [
        set(start, { x: 20, mode: 2 }),
        ...every(10 * second, start, start + 5 * minute, (at) => ({ x: 5, mode: at % minute === 0 ? 2 : 1 })),
      ],
      expected: ['raised', 'cleared'],
    },
  ])
    test(name, () =>
      expect(
        machineDetector(machine)
          .observe(sets)
          .map(({ kind }) => kind),
      ).toEqual(expected),
    )

  test('the mode of now has its name', () => {
    const detector = machineDetector(derived)
    expect(detector.currentMode()).toBeUndefined()
    detector.observe([set(start, { rpm: 1500 })])
    expect(detector.currentMode()).toBe('working')
  })
})

describe('signals sent on change', () => {
  const link = context({
    signals: {
      link: {
        sent: 'on_change',
        rules: { low: { direction: 'low', warn: { limit: 50, onDelaySeconds: 120 }, deadband: 5 } },
      },
      rpm: {},
    },
  })
  const rpm = (from: number, to: number) =>
    every(10 * second, start + from * minute, start + to * minute, () => ({ rpm: 900 }))

  test('hold until the next value, so that others carry the delay on', () => {
    const found = machineDetector(link).observe([...rpm(-2, 0), set(start, { link: 40 }), ...rpm(0, 5)])
    expect(found.map(short)).toEqual(['raised link.low S2 2'])
  })

  test('the next value ends them', () => {
    const found = machineDetector(link).observe([
      ...rpm(-2, 0),
      set(start, { link: 40 }),
      ...rpm(0, 1),
      set(start + minute, { link: 90 }),
      ...rpm(1, 5),
    ])
    expect(found).toEqual([])
  })

  test('time alone carries the delay on while the machine counts as heard', () => {
    const everyMinute = every(minute, start - 5 * minute, start, () => ({ rpm: 900 }))
    const detector = machineDetector(link)
    detector.observe([...everyMinute, set(start, { link: 40 }, start)])
    expect(detector.tick(start + 119 * second)).toEqual([])
    expect(detector.tick(start + 126 * second).map(short)).toEqual(['raised link.low S2 2'])
    const silent = machineDetector(link)
    silent.observe([...everyMinute, set(start, { link: 40 }, start)])
    expect(silent.tick(start + hour)).toEqual([])
  })

  test('offline, they are unknown', () => {
    const detector = machineDetector(link)
    detector.observe([...rpm(-2, 0), set(start, { link: 40 })])
    detector.status(start + 5 * second, start + 5 * second, false)
    expect(detector.observe(rpm(1, 10))).toEqual([])
  })

  test('a status that is delivered again is not news', () => {
    const detector = machineDetector(link)
    detector.status(start - hour, start - hour, false)
    detector.observe([...rpm(-2, 0), set(start, { link: 40 })])
    detector.status(start - hour, start + second, false)
    expect(detector.observe(rpm(0, 5)).map(short)).toEqual(['raised link.low S2 2'])
  })
})

describe('measures', () => {
  const round = (value: number) => Math.round(value * 100) / 100
  const judge = (rule: RuleText, sets: ReadingSet[], x: object = {}, parameters: Record<string, number> = {}) =>
    machineDetector(context({ signals: { x: { rules: { rule }, ...x }, other: {}, load: {} }, parameters }))
      .observe(sets)
      .map(({ kind, at, value }) => [kind, round((at - start) / minute), value === null ? null : round(value)])
  const steady = (to: number, values: (minutes: number) => Record<string, number>, step = 10 * second) =>
    every(step, start, start + to * minute, (at) => values((at - start) / minute))
  const at = { direction: 'high', deadband: 1, offDelaySeconds: 0 } as const

  for (const { name, rule, sets, x, parameters, expected } of [
    {
      name: 'mean over a window, not its peaks',
      rule: { ...at, measure: { stat: 'mean', windowSeconds: 60 }, warn: { limit: 300 } },
      sets: steady(10, (m) => ({ x: m % 1 === 0 ? 900 : 100 })),
      expected: [],
    },
    {
      name: 'a window goes on over pauses of the work',
      rule: {
        ...at,
        measure: { stat: 'mean', windowSeconds: 60 },
        warn: { limit: 10 },
        when: [{ signal: 'load', above: 0 }],
      },
      sets: steady(6, (m) => ({ x: 20, load: m % 1 < 0.4 ? 1 : 0 })),
      expected: [['raised', 1.33, 20]],
    },
    {
      name: 'restarted, strokes that are too short never fill it',
      rule: {
        ...at,
        measure: { stat: 'mean', windowSeconds: 60, restart: true },
        warn: { limit: 10 },
        when: [{ signal: 'load', above: 0 }],
      },
      sets: steady(6, (m) => ({ x: 20, load: m % 1 < 0.4 ? 1 : 0 })),
      expected: [],
    },
    {
      name: 'share of the time above a level',
      rule: { ...at, measure: { stat: 'share_above', windowSeconds: 600, level: 340 }, warn: { limit: 20 } },
      sets: steady(20, (m) => ({ x: m > 15 ? 350 : 100 }), 5 * second),
      expected: [['raised', 16.92, 20.35]],
    },
    {
      name: 'range within a window',
      rule: { ...at, measure: { stat: 'range', windowSeconds: 10 }, warn: { limit: 50 } },
      sets: every(second, start, start + minute, (t) => ({ x: t === start + 30 * second ? 120 : 180 })),
      expected: [
        ['raised', 0.5, 60],
        ['cleared', 0.67, 0],
      ],
    },
    {
      name: 'no peak within half an hour needs half an hour',
      rule: { ...at, direction: 'low', measure: { stat: 'max', windowSeconds: 1800 }, warn: { limit: 80 } },
      sets: steady(50, () => ({ x: 5 })),
      expected: [['raised', 30.17, 5]],
    },
    {
      name: 'a peak in between is enough',
      rule: { ...at, direction: 'low', measure: { stat: 'max', windowSeconds: 1800 }, warn: { limit: 80 } },
      sets: steady(120, (m) => ({ x: m % 20 < 1 ? 120 : 5 })),
      expected: [],
    },
    {
      name: 'a counter that rises thrice within a day, whatever is missing in between',
      rule: { ...at, inclusive: true, measure: { stat: 'increase', windowSeconds: 86_400 }, warn: { limit: 3 } },
      sets: [0, 1, 1, 2, 3].map((x, i) => set(start + i * 4 * hour, { x })),
      x: { counter: true },
      expected: [['raised', 960, 3]],
    },
    {
      name: 'a counter that was reset has not risen',
      rule: { ...at, inclusive: true, measure: { stat: 'increase', windowSeconds: 86_400 }, warn: { limit: 3 } },
      sets: [100, 101, 0, 1, 2].map((x, i) => set(start + i * hour, { x })),
      x: { counter: true },
      expected: [],
    },
    {
      name: 'slope per hour',
      rule: { ...at, measure: { stat: 'slope_per_h', windowSeconds: 1800 }, warn: { limit: 11 } },
      sets: steady(60, (m) => ({ x: m < 30 ? m / 6 : 5 + (m - 30) / 5 })),
      expected: [['raised', 44.83, 11]],
    },
    {
      name: 'change in percent of where the window began',
      rule: { ...at, direction: 'low', measure: { startPercent: true, windowSeconds: 3600 }, warn: { limit: -15 } },
      sets: steady(120, (m) => ({ x: m < 60 ? 100 : 100 - (m - 60) / 2 }), minute),
      expected: [['raised', 91, -15.5]],
    },
    {
      name: 'difference to another signal, as it was last',
      rule: { ...at, measure: { difference: 'other' }, warn: { limit: 35 } },
      sets: [set(start, { other: 20 }), set(start + 10 * second, { x: 50 }), set(start + 20 * second, { x: 56 })],
      expected: [['raised', 0.33, 36]],
    },
    {
      name: 'a signal that is too old is no comparison',
      rule: { ...at, measure: { difference: 'other' }, warn: { limit: 35 } },
      sets: [set(start, { other: 20 }), ...steady(5, () => ({ x: 30 })), set(start + 5 * minute, { x: 56 })],
      expected: [],
    },
    {
      name: 'percent of another signal',
      rule: { ...at, direction: 'low', measure: { signalPercent: 'other' }, warn: { limit: -10 } },
      sets: [set(start, { other: 20, x: 19 }), set(start + minute, { other: 20, x: 17 })],
      expected: [['raised', 1, -15]],
    },
    {
      name: 'a mean is compared with the mean over the same time, so that both may change',
      rule: {
        ...at,
        direction: 'low',
        measure: { stat: 'mean', windowSeconds: 60, signalPercent: 'other' },
        warn: { limit: -10 },
      },
      sets: steady(10, (m) => ({ other: m < 5 ? 12 : 20, x: m < 5 ? 12 : 20 })),
      expected: [],
    },
    {
      name: 'gap to another signal, of the larger',
      rule: { ...at, measure: { gapPercent: 'other' }, warn: { limit: 20 } },
      sets: [set(start, { other: 100, x: 85 }), set(start + minute, { other: 100, x: 75 })],
      expected: [['raised', 1, 25]],
    },
    {
      name: 'fraction of a rating',
      rule: { ...at, deadband: 0.1, measure: { ratedFraction: 'flow' }, warn: { limit: 0.05 } },
      sets: [set(start, { x: 8 }), set(start + minute, { x: 12 })],
      parameters: { flow: 200 },
      expected: [['raised', 1, 0.06]],
    },
    {
      name: 'without the rating nothing is said',
      rule: { ...at, measure: { ratedFraction: 'flow' }, warn: { limit: 0.05 } },
      sets: [set(start, { x: 1200 })],
      expected: [],
    },
    {
      name: 'an increase per increase of another counter',
      rule: { ...at, measure: { stat: 'increase', windowSeconds: 3600, per: 'other' }, warn: { limit: 15 } },
      sets: steady(180, (m) => ({ x: m < 90 ? 12 * m : 1080 + 18 * (m - 90), other: m }), minute),
      x: { counter: true },
      expected: [['raised', 121, 15.32]],
    },
    {
      name: 'an increase per increase is counted over the work, not over its pauses',
      rule: {
        ...at,
        measure: { stat: 'increase', windowSeconds: 3600, per: 'other' },
        warn: { limit: 15 },
        when: [{ signal: 'load', above: 0 }],
      },
      sets: steady(600, (m) => {
        const works = m % 90 < 10
        const volume = Math.floor(m / 90) * 10 + Math.min(10, m % 90)
        return { load: works ? 1 : 0, x: Math.floor(12 * volume), other: Math.floor(volume) }
      }),
      x: { counter: true },
      expected: [],
    },
    {
      name: 'what people measure is compared with the first time',
      rule: { ...at, measure: { baselineDifference: true }, warn: { limit: 1 } },
      sets: [set(start, { x: 0.4 }), set(start + 2000 * hour, { x: 1.2 }), set(start + 4000 * hour, { x: 1.6 })],
      x: { sent: 'manual' },
      expected: [['raised', 240_000, 1.2]],
    },
  ] as const) {
    test(name, () => expect(judge(rule as RuleText, [...sets], x, parameters)).toEqual(expected))
  }
})

describe('the machine’s own normal', () => {
  const machine = context({
    signals: {
      bar: {
        unit: 'bar',
        rules: {
          rise: {
            direction: 'high',
            measure: { baselinePercent: true, like: [{ signal: 'load', band: 10 }] },
            warn: { limit: 25, onDelaySeconds: 120 },
            deadband: 3,
          },
        },
      },
      load: {},
    },
  })
  /** 50 bar and 2 more for each unit of load, with a little noise. */
  const work = (hours: number, from = 0, factor = 1, load = (at: number) => ((at / minute) % 3) * 10 + 5) =>
    every(minute, start + from * hour, start + (from + hours) * hour, (at) => ({
      mode: 2,
      load: load(at),
      bar: factor * (50 + 2 * load(at) + Math.sin(at)),
    }))

  test('is unknown for fifty hours', () => {
    const detector = machineDetector(machine)
    expect(detector.observe([...work(40), ...work(1, 40, 2)])).toEqual([])
  })

  test('is compared in the same band of load', () => {
    const detector = machineDetector(machine)
    expect(detector.observe([...work(51), ...work(1, 51)])).toEqual([])
    expect(detector.observe(work(1, 52, 1.4)).map(({ kind, unit }) => [kind, unit])).toEqual([['raised', '%']])
  })

  test('says nothing of a load it has never seen', () => {
    const detector = machineDetector(machine)
    expect(detector.observe([...work(51), ...work(1, 51, 3, () => 95)])).toEqual([])
  })

  test('is not left by one or two readings of a machine that seldom reports', () => {
    const mean = context({
      signals: {
        bar: {
          rules: {
            rise: {
              direction: 'high',
              measure: { stat: 'mean', windowSeconds: 120, baselinePercent: true },
              warn: { limit: 25 },
              deadband: 3,
            },
          },
        },
      },
    })
    const sent = (hours: number, from: number, bar: number) =>
      every(minute, start + from * hour, start + (from + hours) * hour, () => ({ mode: 2, bar }))
    const detector = machineDetector(mean)
    detector.observe(sent(51, 0, 100))
    expect(detector.observe([...sent(2 / 60, 51, 200), ...sent(1, 51 + 2 / 60, 100)])).toEqual([])
    expect(detector.observe(sent(1, 53, 150)).map(({ kind }) => kind)).toEqual(['raised'])
  })

  test('does not take what is wrong for normal', () => {
    const detector = machineDetector(machine)
    detector.observe(work(51))
    const found = detector.observe([...work(100, 51, 1.4), ...work(1, 151)])
    expect(found.map(({ kind }) => kind)).toEqual(['raised', 'cleared'])
  })
})

describe('two controllers of one machine that are never quite in step', () => {
  const machine = context({ signals: { ...oil, rpm: {} } })

  test('are both judged as they come', () => {
    const detector = machineDetector(machine)
    const found = every(10 * second, start, start + 5 * minute, () => ({})).flatMap(({ measuredAt }) => {
      const engine = set(measuredAt, { rpm: 900 })
      const hydraulics = set(measuredAt - 3 * second, { oil_c: 90 })
      return [engine, hydraulics].flatMap((one) => (detector.isLate(one) ? [] : detector.observe([one])))
    })
    expect(found.map(({ kind, since, at }) => [kind, at - since])).toEqual([['raised', minute]])
    expect(detector.newestMeasuredAt()).toBe(start + 5 * minute)
  })

  for (const { name, one, late } of [
    { name: 'the same instant is not late', one: set(start, { oil_c: 90 }), late: false },
    { name: 'nor is a little behind', one: set(start - 30 * second, { oil_c: 90 }), late: false },
    { name: 'but more is', one: set(start - 31 * second, { oil_c: 90 }), late: true },
    { name: 'and what is older than its own signals', one: set(start - second, { oil_c: 90, rpm: 800 }), late: true },
    { name: 'a signal that no rule knows makes nothing late', one: set(start - second, { other: 1 }), late: false },
  ]) {
    test(name, () => {
      const detector = machineDetector(machine)
      detector.observe([set(start, { rpm: 900 })])
      expect(detector.isLate(one)).toBe(late)
    })
  }
})

test('a restart at any moment changes nothing', () => {
  const machine = context({
    signals: {
      ...oil,
      rpm: {},
      link: {
        sent: 'on_change',
        rules: { low: { direction: 'low', warn: { limit: 50, onDelaySeconds: 120 }, deadband: 5 } },
      },
      bar: {
        rules: {
          mean: {
            direction: 'high',
            measure: { stat: 'mean', windowSeconds: 300 },
            warn: { limit: 70 },
            deadband: 2,
            modes: ['working'],
          },
          rise: { direction: 'high', measure: { baselineFactor: true }, warn: { limit: 3 }, deadband: 2 },
        },
      },
    },
  })
  const sets = every(30 * second, start, end, (at) => ({
    ...heat(at),
    rpm: 1000,
    bar: 60 + 15 * Math.sin(at / 200_000),
    ...(at === start + 8 * minute ? { link: 20 } : {}),
    ...(at % (5 * minute) === 0 ? { mode: 2 } : {}),
  }))
  const whole = machineDetector(machine).observe(sets)
  let state: DetectorState | undefined
  const pieces = sets.flatMap((one) => {
    const detector = machineDetector(machine, state)
    const found = detector.observe([one])
    state = JSON.parse(JSON.stringify(detector.state()))
    return found
  })
  expect(whole.length).toBeGreaterThan(4)
  expect(pieces).toEqual(whole)
})

describe('other rules', () => {
  const hot = every(10 * second, start, start + 15 * minute, heat)
  const changed = (rules: Record<string, RuleText>) => context({ signals: { oil_c: { rules } } })

  test('the alarm of a rule that is gone clears', () => {
    const detector = machineDetector(context({ signals: oil }))
    detector.observe(hot)
    expect(detector.replaceContext(changed({})).map(short)).toEqual(['cleared oil_c.high S3 15'])
  })

  test('a level that is gone leaves the other one', () => {
    const detector = machineDetector(context({ signals: oil }))
    detector.observe(hot)
    const { critical: _, ...high } = oil.oil_c.rules.high
    expect(detector.replaceContext(changed({ high })).map(short)).toEqual(['severity oil_c.high S2 15'])
  })

  test('another limit counts from the next reading on', () => {
    const detector = machineDetector(context({ signals: oil }))
    detector.observe(hot)
    const high = { ...oil.oil_c.rules.high, warn: { limit: 110 }, critical: { limit: 120 } }
    expect(detector.replaceContext(changed({ high }))).toEqual([])
    const next = every(10 * second, start + 15 * minute, start + 17 * minute, heat)
    expect(detector.observe(next).map(({ kind }) => kind)).toEqual(['severity', 'cleared'].slice(1))
  })

  test('another type that takes the same limit for another failure says so', () => {
    const detector = machineDetector(context({ signals: oil }))
    detector.observe(hot)
    const next = context({ signals: { oil_c: { ...oil.oil_c, component: 'slew' } } })
    expect(detector.replaceContext(next)).toMatchObject([{ kind: 'severity', severity: 'S3', component: 'slew' }])
    expect(detector.replaceContext(next)).toEqual([])
  })

  test('a rule that went while the service was down clears its alarm at the next word of the machine', () => {
    const before = machineDetector(context({ signals: oil }))
    before.observe(hot)
    const after = machineDetector(changed({}), before.state())
    const again = machineDetector(changed({}), after.state())
    expect(again.tick(end).map(short)).toEqual(['cleared oil_c.high S3 15'])
  })
})

describe('no data', () => {
  const day = 24 * hour
  const silent = () => {
    const detector = machineDetector(context({ signals: oil }))
    // an old backlog: what counts is that it was received now
    detector.observe([set(start - 30 * day, { oil_c: 50 }, start)])
    return detector
  }

  test('is raised a day after the machine was last heard, and ends with its next word', () => {
    const detector = silent()
    expect(detector.tick(start + day - 1)).toEqual([])
    expect(detector.tick(start + day)).toMatchObject([
      {
        kind: 'raised',
        key: 'no_data',
        severity: 'S1',
        failureMode: 'EN-10',
        signal: null,
        at: start + day,
        since: start,
      },
    ])
    expect(detector.tick(start + 2 * day)).toEqual([])
    expect(detector.heard(start + 3 * day)).toMatchObject([{ kind: 'cleared', key: 'no_data', at: start + 3 * day }])
  })

  test('one that has never been heard is not missed', () => {
    expect(machineDetector(context({ signals: oil })).tick(start + day)).toEqual([])
  })

  test('the will of a machine is not its word, its own status is', () => {
    const detector = silent()
    detector.tick(start + day)
    expect(detector.status(start + 2 * day, start + 2 * day, false)).toEqual([])
    expect(detector.status(start + 2 * day, start + 2 * day, true)).toMatchObject([{ kind: 'cleared' }])
  })

  test('a service that was down itself waits an hour before it misses anybody', () => {
    const listeningSince = start + 5 * day
    const detector = machineDetector({ ...context({ signals: oil }), listeningSince }, silent().state())
    expect(detector.tick(listeningSince + hour - 1)).toEqual([])
    expect(detector.tick(listeningSince + hour)).toMatchObject([{ kind: 'raised', at: listeningSince + hour }])
  })
})
