import { describe, expect, test } from 'vitest'
import {
  emptyWindow,
  extendWindow,
  type Statistic,
  startAndEnd,
  statisticOf,
  type WindowSpec,
} from '../../src/features/operating-window.ts'
import type { SignalValue } from '../../src/reading.ts'

const second = 1_000
const spec = (statistic: Statistic, more: Partial<WindowSpec> = {}): WindowSpec => ({
  statistic,
  lengthMs: 120 * second,
  level: Number.POSITIVE_INFINITY,
  fill: 0,
  ...more,
})

function filled(values: readonly SignalValue[], of: WindowSpec, everyMs = 10 * second) {
  const window = emptyWindow()
  for (const [i, value] of values.entries()) extendWindow(window, of, value, i === 0 ? 0 : everyMs)
  return window
}

const ramp = Array.from({ length: 40 }, (_, i) => i)

describe('statistics of the last two minutes, read every ten seconds', () => {
  for (const { name, values, of, expected } of [
    { name: 'mean', values: [9, 2, 4], of: spec('mean'), expected: 3 },
    { name: 'mean of one reading is not known', values: [9], of: spec('mean'), expected: undefined },
    {
      name: 'mean of summaries',
      values: [
        { min: 0, mean: 4, max: 9, n: 5 },
        { min: 0, mean: 6, max: 9, n: 5 },
      ],
      of: spec('mean'),
      expected: 6,
    },
    { name: 'max of summaries', values: [{ min: 0, mean: 4, max: 9, n: 5 }], of: spec('max'), expected: 9 },
    { name: 'min of summaries', values: [{ min: 1, mean: 4, max: 9, n: 5 }], of: spec('min'), expected: 1 },
    { name: 'max forgets', values: [100, ...ramp], of: spec('max'), expected: 39 },
    { name: 'min forgets', values: ramp, of: spec('min'), expected: 28 },
    { name: 'range', values: [1, 5, 3], of: spec('range'), expected: 4 },
    { name: 'increase, from where the window began', values: ramp, of: spec('increase'), expected: 12 },
    { name: 'slope per hour', values: ramp, of: spec('slope_per_h'), expected: 360 },
    { name: 'slope of a level', values: Array(20).fill(5), of: spec('slope_per_h'), expected: 0 },
    {
      name: 'share above, in percent of the time',
      values: [0, 0, 9, 0, 9],
      of: spec('share_above', { level: 5 }),
      expected: 50,
    },
    {
      name: 'share above within a summary, as if evenly spread',
      values: [0, { min: 0, mean: 5, max: 10, n: 9 }],
      of: spec('share_above', { level: 7.5 }),
      expected: 25,
    },
    { name: 'not filled', values: [1, 2, 3], of: spec('max', { fill: 0.5 }), expected: undefined },
    { name: 'filled', values: [1, 2, 3, 4, 5, 6, 7], of: spec('max', { fill: 0.5 }), expected: 7 },
  ]) {
    test(name, () => {
      const value = statisticOf(filled(values as SignalValue[], of), of)
      expect(value === undefined ? undefined : Math.round(value * 1e6) / 1e6).toBe(expected)
    })
  }
})

test('an empty window says nothing', () => {
  expect(statisticOf(emptyWindow(), spec('max'))).toBeUndefined()
  expect(startAndEnd(emptyWindow(), spec('increase'))).toBeUndefined()
})

test('start and end are levels two minutes apart', () => {
  const of = spec('increase')
  expect(startAndEnd(filled(ramp, of), of)).toEqual({ start: 27, end: 39 })
})

test('its size does not depend on the cadence', () => {
  const of = spec('mean')
  const window = filled(Array(5_000).fill(1), of, 100)
  expect(window.slots.length).toBeLessThanOrEqual(13)
  expect(statisticOf(window, of)).toBeCloseTo(1)
})

test('readings further apart than the window are each the whole window', () => {
  const of = spec('mean')
  expect(statisticOf(filled([1, 2, 3], of, 600 * second), of)).toBe(3)
})
