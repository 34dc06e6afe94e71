import { expect, test } from 'vitest'
import { timeClusters } from '../../src/store/time-clusters.ts'

const hour = 3_600_000
const clusters = (...hours: number[]) =>
  timeClusters(hours.map((at) => ({ measuredAt: at * hour }))).map((cluster) =>
    cluster.map(({ measuredAt }) => measuredAt / hour),
  )

for (const { name, given, wanted } of [
  { name: 'one', given: [5], wanted: [[5]] },
  { name: 'within an hour of each other', given: [2, 1, 3, 2], wanted: [[1, 2, 2, 3]] },
  { name: 'one far from the others', given: [20, 0, 20.5, 21], wanted: [[0], [20, 20.5, 21]] },
  { name: 'three places', given: [50, 1, 20, 51], wanted: [[1], [20], [50, 51]] },
]) {
  test(`asked for by time: ${name}`, () => expect(clusters(...given)).toEqual(wanted))
}

test('of many places, those with the widest gaps are told apart, and nothing is lost', () => {
  const hours = Array.from({ length: 200 }, (_, i) => i * 2 + (i >= 100 ? 1_000 : 0))
  const found = clusters(...hours)
  expect(found).toHaveLength(32)
  expect(found.flat()).toEqual(hours)
  expect(found.some((cluster) => cluster[0] === 1_200)).toBe(true)
})
