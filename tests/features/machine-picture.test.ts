import { describe, expect, test } from 'vitest'
import {
  FAILS,
  HOLDS,
  machinePicture,
  prepareCondition,
  signalTable,
  UNKNOWN,
} from '../../src/features/machine-picture.ts'
import type { SignalValue } from '../../src/reading.ts'
import { context, every, hour, minute, second, set, start } from '../detect/story.ts'

const { profile } = context({
  signals: { rpm: {}, link: { sent: 'on_change' }, tilt: { sent: 'manual' } },
  modeFrom: [
    { mode: 'working', when: [{ signal: 'rpm', above: 1000 }] },
    { mode: 'idle', when: [{ signal: 'rpm', above: 300 }] },
  ],
})
const table = signalTable(profile)
const index = (name: string) => table.indexOf.get(name) as number

describe('conditions', () => {
  const summary = { min: 900, mean: 1200, max: 1500, n: 9 }
  for (const { name, value, condition, truth } of [
    { name: 'above', value: 1500, condition: { above: 1400 }, truth: HOLDS },
    { name: 'not above its own limit', value: 1400, condition: { above: 1400 }, truth: FAILS },
    { name: 'below', value: 1500, condition: { below: 1400 }, truth: FAILS },
    { name: 'between', value: 1500, condition: { above: 1400, below: 1600 }, truth: HOLDS },
    { name: 'equal', value: 1, condition: { equals: 1 }, truth: HOLDS },
    { name: 'not equal', value: 2, condition: { equals: 1 }, truth: FAILS },
    { name: 'all of a summary', value: summary, condition: { above: 800 }, truth: HOLDS },
    { name: 'none of a summary', value: summary, condition: { above: 1500 }, truth: FAILS },
    { name: 'some of a summary', value: summary, condition: { above: 1000 }, truth: UNKNOWN },
    { name: 'some of a summary, but never that', value: summary, condition: { above: 1000, below: 800 }, truth: FAILS },
    { name: 'never read', value: undefined, condition: { above: 1 }, truth: UNKNOWN },
    {
      name: 'never read, but allowed',
      value: undefined,
      condition: { above: 1, orUnknown: true as const },
      truth: HOLDS,
    },
  ]) {
    test(name, () => {
      const picture = machinePicture(profile)
      picture.take(set(start, value === undefined ? { other: 1 } : { rpm: value as SignalValue }))
      expect(picture.holds(prepareCondition(table, { signal: 'rpm', ...condition }), start)).toBe(truth)
    })
  }

  test('on a signal that the type does not have nothing holds', () => {
    expect(machinePicture(profile).holds(prepareCondition(table, { signal: 'no_such', above: 1 }), start)).toBe(UNKNOWN)
  })
})

describe('how long a value is known', () => {
  const picture = machinePicture(profile)
  for (const one of every(10 * second, start - hour, start, () => ({ rpm: 900 }))) picture.take(one)
  picture.take(set(start, { rpm: 900, link: 1, tilt: 2 }))

  test('a periodic one for three of its intervals', () => {
    expect(picture.asOf(index('rpm'), start + 30 * second)).toBe(900)
    expect(picture.asOf(index('rpm'), start + 31 * second)).toBeUndefined()
  })

  test('one sent on change until the machine was offline, one by hand for ever', () => {
    const again = machinePicture(profile, JSON.parse(JSON.stringify(picture.state())))
    again.take(set(start + 2 * minute, { rpm: 900 }))
    expect(again.asOf(index('link'), again.newest())).toBe(1)
    again.take(set(start + hour, { rpm: 900 }))
    expect(again.returned()).toBe(true)
    expect(again.asOf(index('link'), again.newest())).toBeUndefined()
    expect(again.asOf(index('tilt'), again.newest())).toBe(2)
  })

  test('offline by its own word or its will', () => {
    const again = machinePicture(profile, picture.state())
    again.status(start, false)
    expect(again.asOf(index('link'), start)).toBeUndefined()
    again.take(set(start + second, { rpm: 900 }))
    expect(again.asOf(index('link'), start + second)).toBeUndefined()
  })
})

test('what held before a machine went offline does not hold when it says that it is back', () => {
  const picture = machinePicture(profile)
  picture.take(set(start, { rpm: 900, link: 1 }))
  picture.status(start + second, false)
  picture.status(start + 2 * second, true)
  const again = machinePicture(profile, JSON.parse(JSON.stringify(picture.state())))
  again.take(set(start + 3 * second, { rpm: 900 }))
  expect(again.asOf(index('link'), again.newest())).toBeUndefined()
  again.take(set(start + 4 * second, { link: 1 }))
  expect(again.asOf(index('link'), again.newest())).toBe(1)
})

describe('the mode', () => {
  for (const { name, values, mode } of [
    { name: 'as sent', values: { mode: 1, rpm: 1500 }, mode: 'idle' },
    { name: 'the first that follows from signals', values: { rpm: 1500 }, mode: 'working' },
    { name: 'the next', values: { rpm: 500 }, mode: 'idle' },
    { name: 'none', values: { rpm: 0 }, mode: undefined },
    { name: 'a code that the type does not have', values: { mode: 99, rpm: 500 }, mode: 'idle' },
  ]) {
    test(name, () => {
      const picture = machinePicture(profile)
      picture.take(set(start, values as Record<string, number>))
      expect(picture.mode(start)).toBe(mode)
    })
  }

  test('is told by the oldest signal that it follows from', () => {
    const picture = machinePicture(profile)
    picture.take(set(start, { rpm: 1500 }))
    picture.take(set(start + 10 * second, { link: 1 }))
    expect(picture.mode(picture.newest())).toBe('working')
    expect(picture.modeToldAt()).toBe(start)
  })
})
