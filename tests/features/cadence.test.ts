import { expect, test } from 'vitest'
import {
  isLearned,
  learnInterval,
  longestWithoutGap,
  restoreCadence,
  saveCadence,
  unknownCadence,
} from '../../src/features/cadence.ts'

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

for (const { name, deltas } of [
  { name: 'unknown', deltas: [] },
  { name: 'begun', deltas: [1, 2] },
  { name: 'steady', deltas: Array(20).fill(10) },
  { name: 'changing', deltas: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] },
]) {
  test(`a cadence goes on from JSON as if nothing had been: ${name}`, () => {
    const [kept, restored] = [
      learn(...deltas),
      restoreCadence(JSON.parse(JSON.stringify(saveCadence(learn(...deltas))))),
    ]
    for (const delta of [3, 50, 50, 2, 50, 50, 50]) {
      learnInterval(kept, delta * second)
      learnInterval(restored, delta * second)
      expect(longestWithoutGap(restored, 10 * second)).toBe(longestWithoutGap(kept, 10 * second))
    }
  })
}
