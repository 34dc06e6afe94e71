import { expect, test } from 'vitest'
import { addLate, type LateRange, type LateSpan, nextSpan } from '../../src/detect/late-ranges.ts'
import { hour, minute, second, start } from './story.ts'

const add = (measuredAt: readonly number[]): readonly LateRange[] =>
  measuredAt.reduce<readonly LateRange[]>(
    (ranges, at, i) => addLate(ranges, [{ measuredAt: at, receivedAt: start + i }]),
    [],
  )

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
  const late = between.map((measuredAt) => ({ measuredAt, receivedAt: start + 9 }))
  expect(late.reduce((ranges, reading) => addLate(ranges, [reading]), apart)).toHaveLength(1)
  expect(addLate(apart, late)).toHaveLength(1)
})

test('a range is judged when nothing was added for 2 s, or when it is 10 s old', () => {
  const ranges = add([start - hour])
  const span = { from: start - hour, to: start - hour, others: [] }
  expect(nextSpan(ranges, start + 2 * second - 1)).toBeUndefined()
  expect(nextSpan(ranges, start + 2 * second)).toEqual({ ...span, receivedAt: start })
  const growing = addLate(ranges, [{ measuredAt: start - hour, receivedAt: start + 9 * second }])
  expect(nextSpan(growing, start + 10 * second - 1)).toBeUndefined()
  expect(nextSpan(growing, start + 10 * second)).toEqual({ ...span, receivedAt: start + 9 * second })
})

test('a long range is judged piece by piece, without hole or overlap, and the others wait', () => {
  const long = { from: start, to: start + 13 * hour, firstReceivedAt: 0, lastReceivedAt: 0 }
  const fresh = { from: start - hour, to: start - hour, firstReceivedAt: start, lastReceivedAt: start }
  const spans: LateSpan[] = []
  for (let next = nextSpan([fresh, long], start); next; next = nextSpan(next.others, start)) spans.push(next)
  expect(spans).toHaveLength(3)
  expect(spans[0]?.from).toBe(start)
  expect(spans.at(-1)).toMatchObject({ to: start + 13 * hour, others: [fresh] })
  expect(spans.slice(1).map(({ from }) => from)).toEqual(spans.slice(0, -1).map(({ to }) => to + 1))
})

test('readings of years, each far from the next, make few ranges, and none is left out', () => {
  const late = Array.from({ length: 50_000 }, (_, i) => ({ measuredAt: start - i * hour, receivedAt: start }))
  const ranges = addLate([], late)
  expect(ranges.length).toBeLessThanOrEqual(500)
  const covered = (at: number) => ranges.some(({ from, to }) => from <= at && at <= to)
  expect(late.filter(({ measuredAt }) => !covered(measuredAt))).toEqual([])
})
