import { expect, test } from 'vitest'
import { latencyHistogram } from '../../../src/commands/bench/latency-histogram.ts'

test('a percentile is at most 1/32 above the time it stands for, from microseconds to minutes', () => {
  for (const ms of [0, 0.001, 0.063, 0.064, 0.065, 1, 3.999, 47.3, 1_000, 123_456]) {
    const histogram = latencyHistogram()
    histogram.note(ms)
    const told = histogram.percentile(0.99)
    expect(told).toBeGreaterThanOrEqual(ms)
    expect(told).toBeLessThanOrEqual(ms * (1 + 1 / 32) + 0.002)
  }
})

test('percentiles count what was noted, here or added', () => {
  const one = latencyHistogram()
  const other = latencyHistogram()
  for (let ms = 1; ms <= 98; ms++) one.note(ms)
  for (const ms of [500, 500]) other.note(ms)
  one.add(other.counts)
  expect(one.percentile(0.5)).toBeCloseTo(50, -1)
  expect(one.percentile(0.98)).toBeLessThan(105)
  expect(one.percentile(0.99)).toBeGreaterThanOrEqual(500)
})

test('without any time there is no percentile', () => expect(latencyHistogram().percentile(0.5)).toBeNaN())
