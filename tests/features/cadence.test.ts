import { expect, test } from 'vitest'
import { isLearned, learnInterval, longestWithoutGap, unknownCadence } from '../../src/features/cadence.ts'

const second = 1_000
const learn = (...seconds: number[]) => {
  const cadence = unknownCadence()
  for (const delta of seconds) learnInterval(cadence, delta * second)
  return cadence
}

for (const { name, deltas, catalogue, longest } of [
  { name: 'nothing seen, two minutes are believed', deltas: [], catalogue: 10, longest: 120 },
  { name: 'nothing seen, the catalogue says more', deltas: [], catalogue: 600, longest: 1800 },
  { name: 'two intervals are not enough', deltas: [1, 1], catalogue: 10, longest: 120 },
  { name: 'three are', deltas: [1, 1, 1], catalogue: 10, longest: 3 },
  { name: 'slower than the catalogue', deltas: [60, 60, 60], catalogue: 10, longest: 180 },
  { name: 'a night does not count', deltas: [10, 36_000, 10, 10], catalogue: 10, longest: 30 },
  { name: 'not even of two middle ones', deltas: [10, 10, 3600, 3600], catalogue: 10, longest: 30 },
  {
    name: 'only the last eight count',
    deltas: [...Array(20).fill(1), ...Array(5).fill(60)],
    catalogue: 10,
    longest: 180,
  },
  { name: 'the order does not matter', deltas: [5, 9, 1, 7, 3, 8, 2], catalogue: 10, longest: 15 },
]) {
  test(`longest time without a gap: ${name}`, () => {
    expect(longestWithoutGap(learn(...deltas), catalogue * second)).toBe(longest * second)
  })
}

test('three intervals are learned', () => {
  expect([learn(1, 1), learn(1, 1, 1)].map(isLearned)).toEqual([false, true])
})
