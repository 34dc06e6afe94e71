import { describe, expect, onTestFinished, test } from 'vitest'
import type { SignalValue, Summary } from '../../src/reading.ts'
import type { BucketFunction, StoredReading, TelemetryStore } from '../../src/store/telemetry-store.ts'
import { setsOf } from './sets-of.ts'

const T0 = Date.UTC(2026, 0, 1)
const DAY = 86_400_000
const EVER = { from: T0 - 400 * DAY, to: T0 + 400 * DAY }

/** What every adapter of the telemetry store promises. Each test gets an empty store from `open`. */
export function telemetryStoreContract(name: string, open: () => Promise<TelemetryStore>): void {
  async function opened(readings: readonly StoredReading[] = []): Promise<TelemetryStore> {
    const store = await open()
    onTestFinished(() => store.close())
    await store.append(setsOf(readings))
    return store
  }

  describe(`${name} keeps what it was given`, () => {
    test.each([
      { is: 'a fraction that no decimal names', value: 0.1 + 0.2 },
      { is: 'a negative number', value: -273.15 },
      { is: 'zero', value: 0 },
      { is: 'the largest number', value: Number.MAX_VALUE },
      { is: 'the smallest number', value: Number.MIN_VALUE },
      { is: 'a large integer', value: Number.MAX_SAFE_INTEGER },
    ])('exactly: $is', async ({ value }) => {
      const store = await opened([reading('m', 's', T0 + 1, value)])
      expect(await store.range({ machine: 'm', signal: 's', ...EVER }, 10)).toEqual([[T0 + 1, value]])
      expect(await store.latest('m')).toEqual([{ signal: 's', measuredAt: T0 + 1, value }])
    })

    test('at the millisecond', async () => {
      const times = [T0 - 1, T0, T0 + 1, T0 + 999, T0 + 1000]
      const store = await opened(times.map((at, index) => reading('m', 's', at, index)))
      expect(await store.range({ machine: 'm', signal: 's', ...EVER }, 10)).toEqual(
        times.map((at, index) => [at, index]),
      )
    })

    test('summaries whole, and as their mean in a range', async () => {
      const summary = { min: -1.5, mean: 20.25, max: 99, n: 7 }
      const store = await opened([reading('m', 's', T0, summary), reading('m', 's', T0 + 1, 5)])
      expect(await store.range({ machine: 'm', signal: 's', ...EVER }, 10)).toEqual([
        [T0, 20.25],
        [T0 + 1, 5],
      ])
      expect(await store.history({ machine: 'm', ...EVER })).toEqual([
        reading('m', 's', T0, summary),
        reading('m', 's', T0 + 1, 5),
      ])
      expect(await store.find([{ machine: 'm', signal: 's', measuredAt: T0 }])).toEqual([
        reading('m', 's', T0, summary),
      ])
    })

    test.each([
      'with space',
      "it's",
      'double "quoted"',
      'comma,equals=x',
      'back\\slash',
      '液压油温度',
      '🏗️',
      '__proto__',
      'constructor',
      '$1',
      'a\nb',
      "'; DROP TABLE reading; --",
    ])('under the signal name %j', async (signal) => {
      const store = await opened([reading('m', signal, T0, 1), reading('m', 'other', T0, 2)])
      expect(await store.range({ machine: 'm', signal, ...EVER }, 10)).toEqual([[T0, 1]])
      expect(await store.find([{ machine: 'm', signal, measuredAt: T0 }])).toEqual([reading('m', signal, T0, 1)])
      expect(inOrder(await store.latest('m')).map((latest) => latest.signal)).toEqual(['other', signal].sort())
    })

    test('apart for machines whose names differ in case, dots and dashes', async () => {
      const machines = ['TC-1', 'tc-1', 'TC.1', 'TC_1', '-', '.']
      const store = await opened(machines.map((machine, index) => reading(machine, 's', T0, index)))
      for (const [index, machine] of machines.entries())
        expect(await store.range({ machine, signal: 's', ...EVER }, 10)).toEqual([[T0, index]])
    })

    test('100,000 readings in one append', async () => {
      const readings = Array.from({ length: 100_000 }, (_, index) =>
        reading(`m${index % 10}`, `s${Math.floor(index / 10) % 10}`, T0 + Math.floor(index / 100) * 1000, index),
      )
      const store = await opened(readings)
      const points = await store.range({ machine: 'm3', signal: 's7', ...EVER }, 100_000)
      expect(points).toEqual(Array.from({ length: 1000 }, (_, index) => [T0 + index * 1000, index * 100 + 73]))
      expect(await store.buckets({ machine: 'm3', signal: 's7', ...EVER, everyMs: 400 * DAY, fn: 'count' })).toEqual([
        [expect.any(Number), 1000],
      ])
    })
  })

  describe(`${name} overwrites`, () => {
    test.each<{ is: string; before: SignalValue; after: SignalValue }>([
      { is: 'a value', before: 1, after: 2 },
      { is: 'a value by a summary', before: 1, after: { min: 0, mean: 1, max: 3, n: 4 } },
      { is: 'a summary by a value', before: { min: 0, mean: 1, max: 3, n: 4 }, after: 2 },
      { is: 'a summary', before: { min: 0, mean: 1, max: 3, n: 4 }, after: { min: 0, mean: 2, max: 3, n: 5 } },
    ])('$is, and leaves the neighbours', async ({ before, after }) => {
      const neighbours = [reading('m', 's', T0 - 1, 7), reading('m', 's2', T0, 8), reading('m2', 's', T0, 9)]
      const store = await opened([...neighbours, reading('m', 's', T0, before)])
      await store.append(setsOf([reading('m', 's3', T0, 4)]), [reading('m', 's', T0, after)])
      expect(inOrder(await store.history({ machine: 'm', ...EVER }))).toEqual(
        inOrder([
          reading('m', 's', T0 - 1, 7),
          reading('m', 's2', T0, 8),
          reading('m', 's', T0, after),
          reading('m', 's3', T0, 4),
        ]),
      )
      expect(await store.latest('m')).toContainEqual({ signal: 's', measuredAt: T0, value: after })
      expect(await store.history({ machine: 'm2', ...EVER })).toEqual([reading('m2', 's', T0, 9)])
    })

    test('a reading that is not the newest, and the newest stays', async () => {
      const store = await opened([reading('m', 's', T0, 1), reading('m', 's', T0 + 1000, 2)])
      await store.append([], [reading('m', 's', T0, 5)])
      expect(await store.range({ machine: 'm', signal: 's', ...EVER }, 10)).toEqual([
        [T0, 5],
        [T0 + 1000, 2],
      ])
      expect(await store.latest('m')).toEqual([{ signal: 's', measuredAt: T0 + 1000, value: 2 }])
    })
  })

  describe(`${name} answers ranges`, () => {
    const readings = [3, 1, 4, 0, 2].map((second) => reading('m', 's', T0 + second * 1000, second))

    test('in order of time, the start in and the end out', async () => {
      const store = await opened(readings)
      const range = { machine: 'm', signal: 's', from: T0 + 1000, to: T0 + 3000 }
      expect(await store.range(range, 10)).toEqual([
        [T0 + 1000, 1],
        [T0 + 2000, 2],
      ])
      expect((await store.history(range)).map(({ value }) => value)).toEqual([1, 2])
      expect(await store.buckets({ ...range, everyMs: 1000, fn: 'last' })).toEqual([
        [T0 + 1000, 1],
        [T0 + 2000, 2],
      ])
    })

    test('with the oldest points when there are more than the limit', async () => {
      const store = await opened(readings)
      expect(await store.range({ machine: 'm', signal: 's', ...EVER }, 2)).toEqual([
        [T0, 0],
        [T0 + 1000, 1],
      ])
    })

    test('with nothing where there is nothing', async () => {
      const store = await opened(readings)
      for (const query of [
        { machine: 'm', signal: 's', from: T0 + 10_000, to: T0 + 20_000 },
        { machine: 'm', signal: 's', from: T0 + 1000, to: T0 + 1000 },
        { machine: 'm', signal: 's', from: T0 + 3000, to: T0 },
        { machine: 'm', signal: 'unknown', ...EVER },
        { machine: 'unknown', signal: 's', ...EVER },
      ]) {
        expect(await store.range(query, 10)).toEqual([])
        expect(await store.buckets({ ...query, everyMs: 1000, fn: 'mean' })).toEqual([])
        expect(await store.buckets({ ...query, everyMs: DAY, fn: 'mean', timeZone: 'Asia/Shanghai' })).toEqual([])
        expect(await store.history({ ...query, signals: [query.signal] })).toEqual([])
      }
      expect(await store.latest('unknown')).toEqual([])
      expect(await store.find([{ machine: 'unknown', signal: 's', measuredAt: T0 }])).toEqual([])
    })

    test('of several signals of one machine together', async () => {
      const store = await opened([
        reading('m', 'b', T0 + 2, 2),
        reading('m', 'a', T0 + 1, 1),
        reading('m', 'c', T0 + 3, 3),
        reading('other', 'a', T0, 0),
      ])
      const signals = async (wanted?: string[]) =>
        (await store.history({ machine: 'm', ...(wanted && { signals: wanted }), ...EVER })).map(({ signal }) => signal)
      expect(await signals()).toEqual(['a', 'b', 'c'])
      expect(await signals(['c', 'a', 'unknown'])).toEqual(['a', 'c'])
      expect(await signals([])).toEqual([])
    })

    test('while readings are being appended, each answer a whole number of appends', async () => {
      const store = await opened([reading('m', 's', T0, 0)])
      let appending = true
      const appends = (async () => {
        for (let batch = 0; batch < 20; batch++) {
          const readings = Array.from({ length: 1000 }, (_, index) =>
            reading('m', 's', T0 + batch * 1000 + index + 1, batch),
          )
          await store.append(setsOf(readings))
        }
        appending = false
      })()
      const sizes: number[] = []
      const ask = async () => sizes.push((await store.range({ machine: 'm', signal: 's', ...EVER }, 100_000)).length)
      while (appending) await ask()
      await appends
      await ask()
      expect(sizes.filter((size) => size % 1000 !== 1)).toEqual([])
      expect(sizes).toEqual([...sizes].sort((a, b) => a - b))
      expect(sizes.at(-1)).toBe(20_001)
    })
  })

  describe(`${name} puts readings into buckets`, () => {
    const random = seeded(7)
    const many = Array.from({ length: 1500 }, (_, index) => {
      const value = Math.round(random() * 4000) / 10 - 100
      const n = 1 + Math.floor(random() * 60)
      const width = random() * 20
      return reading(
        'm',
        's',
        T0 + index * 7_919 + Math.floor(random() * 5000),
        random() < 0.3 ? { min: value - width, mean: value, max: value + width, n } : value,
      )
    })
    const functions: BucketFunction[] = ['mean', 'min', 'max', 'last', 'count']

    test.each(
      functions.flatMap((fn) => [1_000, 60_000, 900_000, 3 * 3_600_000, 7 * DAY].map((everyMs) => ({ fn, everyMs }))),
    )('$fn over $everyMs ms as a sum by hand does', async ({ fn, everyMs }) => {
      const store = await opened([...many, reading('m', 'other', T0, 1e6), reading('m2', 's', T0, 1e6)])
      const query = { machine: 'm', signal: 's', from: T0 + 12_345, to: T0 + 10_000_000 }
      const points = await store.buckets({ ...query, everyMs, fn })
      const expected = byHand(many, query, fn, (at) => Math.floor(at / everyMs) * everyMs)
      expect(points.map(([start]) => start)).toEqual(expected.map(([start]) => start))
      for (const [index, [, value]] of points.entries()) expect(value).toBeCloseTo(expected[index]?.[1] as number, 9)
    })

    test('before 1970 too', async () => {
      const store = await opened([reading('m', 's', -1, 1), reading('m', 's', -1000, 2), reading('m', 's', -1001, 3)])
      const query = { machine: 'm', signal: 's', from: -10_000, to: 10_000, everyMs: 1000, fn: 'count' as const }
      expect(await store.buckets(query)).toEqual([
        [-2000, 1],
        [-1000, 2],
      ])
    })

    test.each([
      // The clocks go forward on 29 March 2026 at 01:00 UTC: a day of 23 hours.
      { zone: 'Europe/Berlin', first: '2026-03-28T00:00+01:00', hours: [24, 23, 24], every: DAY },
      { zone: 'Europe/Berlin', first: '2026-10-24T00:00+02:00', hours: [24, 25, 24], every: DAY },
      { zone: 'Asia/Shanghai', first: '2026-03-28T00:00+08:00', hours: [24, 24, 24], every: DAY },
      { zone: 'America/St_Johns', first: '2026-03-07T00:00-03:30', hours: [24, 23, 24], every: DAY },
      { zone: 'Asia/Kathmandu', first: '2026-03-07T00:00+05:45', hours: [24, 24], every: DAY },
      // There, clocks jump at midnight: the day begins at 01:00.
      { zone: 'Asia/Beirut', first: '2026-03-28T00:00+02:00', hours: [24, 23, 24], every: DAY },
      // Days are counted from 1 January 1970: 26 March 2026 is day 20,538, which begins a bucket of three.
      { zone: 'Europe/Berlin', first: '2026-03-26T00:00+01:00', hours: [72, 71], every: 3 * DAY },
    ])('by the days of $zone from $first', async ({ zone, first, hours, every }) => {
      const start = Date.parse(first)
      const total = hours.reduce((sum, hour) => sum + hour, 0)
      const store = await opened(
        Array.from({ length: total }, (_, hour) => reading('m', 's', start + hour * 3_600_000, hour)),
      )
      const expected: [number, number][] = []
      let at = start
      for (const length of hours) {
        expected.push([at, length])
        at += length * 3_600_000
      }
      const query = { machine: 'm', signal: 's', from: start, to: at, everyMs: every, timeZone: zone }
      expect(await store.buckets({ ...query, fn: 'count' })).toEqual(expected)
      // A range that begins within a day: its bucket still bears the day's start.
      const later = await store.buckets({ ...query, from: start + 3_600_000, fn: 'count' })
      expect(later[0]).toEqual([start, (hours[0] as number) - 1])
    })
  })

  describe(`${name} knows the newest`, () => {
    test('of each signal, whatever order they came in', async () => {
      const store = await opened([
        reading('m', 'a', T0 + 5, 5),
        reading('m', 'b', T0 + 1, 1),
        reading('m2', 'a', T0 + 9, 9),
      ])
      await store.append(setsOf([reading('m', 'a', T0 + 2, 2)]))
      await store.append(setsOf([reading('m', 'b', T0 + 3, { min: 1, mean: 2, max: 3, n: 4 })]))
      expect(inOrder(await store.latest('m'))).toEqual([
        { signal: 'a', measuredAt: T0 + 5, value: 5 },
        { signal: 'b', measuredAt: T0 + 3, value: { min: 1, mean: 2, max: 3, n: 4 } },
      ])
    })

    test('time of every machine and signal', async () => {
      const store = await opened([
        reading('m', 'a', T0 + 5, 5),
        reading('m', 'a', T0, 1),
        reading('m2', 'b', T0 + 9, 9),
      ])
      expect(inOrder([...(await store.highWaterMarks())])).toEqual([
        { machine: 'm', signal: 'a', measuredAt: T0 + 5 },
        { machine: 'm2', signal: 'b', measuredAt: T0 + 9 },
      ])
    })

    test('is nobody in an empty store', async () => {
      expect([...(await (await opened()).highWaterMarks())]).toEqual([])
    })
  })

  test(`${name} finds hundreds of identities at once and leaves out what is absent`, async () => {
    const store = await opened(
      Array.from({ length: 1000 }, (_, index) => reading(`m${index % 7}`, `s${index % 3}`, T0 + index * 1000, index)),
    )
    const asked = Array.from({ length: 600 }, (_, index) => ({
      machine: `m${index % 7}`,
      signal: `s${index % 3}`,
      measuredAt: T0 + index * 1000 + (index % 2), // every second one is absent
    }))
    const found = await store.find([...asked, { machine: 'm0', signal: 'unknown', measuredAt: T0 }])
    const expected = asked.flatMap((identity, index) => (index % 2 === 0 ? [{ ...identity, value: index }] : []))
    expect(inOrder(found)).toEqual(inOrder(expected))
    expect(await store.find([])).toEqual([])
  })

  describe(`${name} drops what is old`, () => {
    test('and counts it; what is at the edge stays', async () => {
      const store = await opened([
        ...[0, 1, 2, 3].map((second) => reading('m', 's', T0 + second * 1000, second)),
        reading('m', 's', T0 + 500, { min: 1, mean: 2, max: 3, n: 4 }),
        reading('old', 's', T0, 1),
      ])
      expect(await store.dropBefore(T0 + 2000)).toBe(4)
      expect(await store.range({ machine: 'm', signal: 's', ...EVER }, 10)).toEqual([
        [T0 + 2000, 2],
        [T0 + 3000, 3],
      ])
      expect(await store.latest('old')).toEqual([])
      expect([...(await store.highWaterMarks())]).toEqual([{ machine: 'm', signal: 's', measuredAt: T0 + 3000 }])
      expect(await store.dropBefore(T0 + 2000)).toBe(0)
    })
  })

  describe(`${name} gives the readings of one machine to another`, () => {
    const summary: Summary = { min: 1, mean: 2, max: 3, n: 4 }

    test('and where both hold an identity the target keeps its own', async () => {
      const store = await opened([
        reading('a', 's', T0, 1),
        reading('a', 's', T0 + 1, summary),
        reading('a', 's', T0 + 2, 3),
        reading('b', 's', T0 + 1, 22),
        reading('b', 's', T0 + 2, summary),
        reading('c', 's', T0, 7),
      ])
      expect(await store.reassign({ from: 'a', to: 'b' })).toBe(1)
      expect(await store.history({ machine: 'b', ...EVER })).toEqual([
        reading('b', 's', T0, 1),
        reading('b', 's', T0 + 1, 22),
        reading('b', 's', T0 + 2, summary),
      ])
      expect(await store.history({ machine: 'a', ...EVER })).toEqual([])
      expect(await store.latest('a')).toEqual([])
      expect(await store.latest('c')).toEqual([{ signal: 's', measuredAt: T0, value: 7 }])
    })

    test('of an interval alone, to one that is new, and the newest of both follow', async () => {
      const store = await opened([0, 1, 2, 3].map((second) => reading('a', 's', T0 + second, second)))
      expect(await store.reassign({ from: 'a', to: 'new', measuredFrom: T0 + 2, measuredTo: T0 + 4 })).toBe(2)
      expect(await store.latest('a')).toEqual([{ signal: 's', measuredAt: T0 + 1, value: 1 }])
      expect(await store.latest('new')).toEqual([{ signal: 's', measuredAt: T0 + 3, value: 3 }])
      await store.append(setsOf([reading('a', 's', T0 + 9, 9), reading('new', 's', T0 + 9, 10)]))
      expect(inOrder([...(await store.highWaterMarks())])).toEqual([
        { machine: 'a', signal: 's', measuredAt: T0 + 9 },
        { machine: 'new', signal: 's', measuredAt: T0 + 9 },
      ])
    })

    test('that has none, which is no error', async () => {
      const store = await opened([reading('a', 's', T0, 1)])
      expect(await store.reassign({ from: 'unknown', to: 'a' })).toBe(0)
      expect(await store.reassign({ from: 'a', to: 'a' })).toBe(0)
      expect(await store.latest('a')).toHaveLength(1)
    })
  })
}

function reading(machine: string, signal: string, measuredAt: number, value: SignalValue): StoredReading {
  return { machine, signal, measuredAt, value }
}

function inOrder<T extends { machine?: string; signal: string; measuredAt: number }>(items: readonly T[]): T[] {
  const key = ({ machine = '', signal, measuredAt }: T) => `${machine}\0${signal}\0${measuredAt}`
  return [...items].sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

/** Numbers from 0 to 1 that are the same in every run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32
    return state / 2 ** 32
  }
}

function byHand(
  readings: readonly StoredReading[],
  { from, to }: { from: number; to: number },
  fn: BucketFunction,
  startOf: (measuredAt: number) => number,
): [number, number][] {
  const buckets = new Map<number, StoredReading[]>()
  for (const one of [...readings].sort((a, b) => a.measuredAt - b.measuredAt)) {
    if (one.measuredAt < from || one.measuredAt >= to) continue
    const start = startOf(one.measuredAt)
    buckets.set(start, [...(buckets.get(start) ?? []), one])
  }
  const whole = (value: SignalValue): Summary =>
    typeof value === 'number' ? { min: value, mean: value, max: value, n: 1 } : value
  return [...buckets].map(([start, inside]) => {
    const all = inside.map(({ value }) => whole(value))
    const n = all.reduce((sum, one) => sum + one.n, 0)
    const results: Record<BucketFunction, number> = {
      mean: all.reduce((sum, one) => sum + one.mean * one.n, 0) / n,
      min: Math.min(...all.map(({ min }) => min)),
      max: Math.max(...all.map(({ max }) => max)),
      last: (all.at(-1) as Summary).mean,
      count: n,
    }
    return [start, results[fn]]
  })
}
