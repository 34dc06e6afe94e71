import { expect, test } from 'vitest'
import { addLate, type LateRange, lateSpans, settledLate } from '../../src/detect/late-ranges.ts'
import { hour, minute, second, start } from './story.ts'

const add = (measuredAt: readonly number[]): LateRange[] =>
  measuredAt.reduce<LateRange[]>((ranges, at, i) => addLate(ranges, at, start + i), [])

test('late readings that lie near to each other are one range, in whatever order they come', () => {
  const times = [0, 10, 20, 30].map((minutes) => start - hour + minutes * minute)
  const range = { from: times[0], to: times[3], firstReceivedAt: start, lastReceivedAt: start + 3 }
  expect(add(times)).toEqual([range])
  expect(add(times.toReversed())).toEqual([range])
})

test('far ones stay apart, in order, until what lies between them joins them', () => {
  const apart = add([start - hour, start - 5 * hour])
  expect(apart.map(({ from }) => from)).toEqual([start - 5 * hour, start - hour])
  const between = Array.from({ length: 20 }, (_, i) => start - 5 * hour + i * 15 * minute)
  expect(between.reduce((ranges, at) => addLate(ranges, at, start + 9), apart)).toHaveLength(1)
})

test('a range is judged when nothing was added for 2 s, or when it is 10 s old', () => {
  const [range] = add([start - hour])
  const ranges = range ? [range] : []
  expect(settledLate(ranges, start + 2 * second - 1)).toEqual({ settled: [], growing: ranges })
  expect(settledLate(ranges, start + 2 * second)).toEqual({ settled: ranges, growing: [] })
  const growing = addLate(ranges, start - hour, start + 9 * second)
  expect(settledLate(growing, start + 10 * second - 1).settled).toEqual([])
  expect(settledLate(growing, start + 10 * second).settled).toEqual(growing)
})

test('a long range is judged piece by piece, without hole or overlap', () => {
  const [range] = [{ from: start, to: start + 13 * hour, firstReceivedAt: 0, lastReceivedAt: 0 }]
  const spans = lateSpans(range as LateRange)
  expect(spans).toHaveLength(3)
  expect(spans[0]?.from).toBe(start)
  expect(spans.at(-1)?.to).toBe(start + 13 * hour)
  expect(spans.slice(1).map(({ from }) => from)).toEqual(spans.slice(0, -1).map(({ to }) => to + 1))
})
