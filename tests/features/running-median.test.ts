import { describe, expect, test } from 'vitest'
import { addToMedian, emptyMedian, medianOf } from '../../src/features/running-median.ts'

const of = (values: Iterable<number>) => {
  const median = emptyMedian()
  for (const value of values) addToMedian(median, value)
  return medianOf(median)
}

/** Repeatable numbers in [0, 1). */
function* noise(count: number): Generator<number> {
  let state = 1
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    yield state / 2 ** 32
  }
}

test('nothing has no median', () => expect(of([])).toBeUndefined())

describe('few values are exact', () => {
  for (const { values, median } of [
    { values: [3], median: 3 },
    { values: [9, 1, 5], median: 5 },
    { values: [5, 4, 3, 2, 1], median: 3 },
  ])
    test(values.join(), () => expect(of(values)).toBe(median))
})

test('many values are close to the true median', () => {
  expect(of(noise(5_000))).toBeCloseTo(0.5, 1)
  expect(of([...noise(5_000)].map((x) => x ** 2))).toBeCloseTo(0.25, 1)
})

test('outliers do not move it', () => {
  expect(of([...noise(2_000)].map((x, i) => (i % 50 === 0 ? 1e6 : x)))).toBeLessThan(0.6)
})

test('the same value for ever is that value', () => expect(of(Array(1_000).fill(7))).toBe(7))

test('it goes on from JSON as if nothing had been', () => {
  const values = [...noise(300)]
  let median = emptyMedian()
  for (const value of values) {
    addToMedian(median, value)
    median = JSON.parse(JSON.stringify(median))
  }
  expect(medianOf(median)).toBe(of(values))
})
