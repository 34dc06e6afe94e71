import { expect, test } from 'vitest'
import { type ClockPolicy, clockMend } from '../../src/acquire/clock-policy.ts'
import { lengthOf, mendTime, refusalOf } from '../../src/acquire/judge-time.ts'

const arrival = Date.UTC(2026, 0, 1, 12)
const minute = 60_000
const hour = 3_600_000

type Mended = Exclude<ClockPolicy, { kind: 'no_clock' }>
function judge(measuredAt: number, policy?: Mended, { at = arrival, zoneless = false } = {}) {
  const stated = { measuredAt, zoneless }
  const mended = mendTime(stated, policy && clockMend(policy), at)
  return refusalOf(mended, stated, policy !== undefined, at) ?? mended
}

for (const { name, stated, reason } of [
  { name: 'just measured', stated: arrival },
  { name: '5 min ahead', stated: arrival + 5 * minute },
  { name: 'more than 5 min ahead', stated: arrival + 5 * minute + 1, reason: 'clock' },
  { name: 'ten years ahead', stated: arrival + 3653 * 24 * hour, reason: 'clock' },
  { name: 'ten years behind: it may be backlog', stated: arrival - 3653 * 24 * hour },
  { name: 'seconds', stated: arrival / 1000, reason: 'time' },
  { name: 'microseconds', stated: arrival * 1000, reason: 'time' },
  { name: 'none', stated: Number.NaN, reason: 'time' },
  { name: 'before 2000', stated: Date.UTC(2000, 0, 1) - 1, reason: 'time' },
  { name: 'the far future', stated: 1e300, reason: 'time' },
]) {
  test(`without a policy: ${name}`, () => {
    const judged = judge(stated)
    if (reason) expect(judged).toMatchObject({ reason })
    else expect(judged).toBe(stated)
  })
}

test('text without a zone needs a policy', () => {
  const local = Date.UTC(2026, 0, 1, 20)
  expect(judge(local, undefined, { zoneless: true })).toMatchObject({ reason: 'time' })
  expect(judge(local, { kind: 'zone', zone: 'Asia/Shanghai' }, { zoneless: true })).toBe(arrival)
  expect(judge(arrival + hour, { kind: 'offset', offsetMs: hour }, { zoneless: true })).toBe(arrival)
})

test('a known offset is taken off, ahead as behind, and what it leads to is judged', () => {
  expect(judge(arrival + hour, { kind: 'offset', offsetMs: hour })).toBe(arrival)
  expect(judge(arrival - hour, { kind: 'offset', offsetMs: -hour })).toBe(arrival)
  const tenYears = 3653 * 24 * hour
  expect(judge(arrival + tenYears, { kind: 'offset', offsetMs: tenYears })).toBe(arrival)
  expect(judge(Date.UTC(1996, 0, 1, 12), { kind: 'offset', offsetMs: -10958 * 24 * hour })).toBe(arrival)
  expect(judge(arrival + hour, { kind: 'offset', offsetMs: 2 * minute })).toMatchObject({ reason: 'clock' })
  expect(judge(1e300, { kind: 'zone', zone: 'Europe/Berlin' })).toMatchObject({ reason: 'time' })
})

const berlin: Mended = { kind: 'zone', zone: 'Europe/Berlin' }
for (const { name, shows, at, received = '2026-12-01T00:00Z' } of [
  { name: 'winter', shows: '2026-01-10T13:00Z', at: '2026-01-10T12:00Z' },
  { name: 'summer', shows: '2026-07-10T14:00Z', at: '2026-07-10T12:00Z' },
  { name: 'before the clocks go forward', shows: '2026-03-29T01:59Z', at: '2026-03-29T00:59Z' },
  { name: 'after they went forward', shows: '2026-03-29T03:00Z', at: '2026-03-29T01:00Z' },
  {
    name: 'the hour that is skipped, on a clock not put forward yet',
    shows: '2026-03-29T02:30Z',
    at: '2026-03-29T01:30Z',
  },
  {
    name: 'the repeated hour, live in its first pass',
    shows: '2026-10-25T02:30Z',
    received: '2026-10-25T00:30Z',
    at: '2026-10-25T00:30Z',
  },
  {
    name: 'the repeated hour, live in its second pass',
    shows: '2026-10-25T02:30Z',
    received: '2026-10-25T01:30Z',
    at: '2026-10-25T01:30Z',
  },
  { name: 'the repeated hour, as backlog', shows: '2026-10-25T02:30Z', at: '2026-10-25T01:30Z' },
  { name: 'after the repeated hour', shows: '2026-10-25T03:00Z', at: '2026-10-25T02:00Z' },
]) {
  test(`a clock on local time: ${name}`, () => {
    const judged = judge(Date.parse(shows), berlin, { at: Date.parse(received) })
    expect(new Date(judged as number)).toEqual(new Date(at))
  })
}

test('lengths are told in the unit that people use', () => {
  expect([1_500, 7 * minute, 8 * hour, 3653 * 24 * hour].map(lengthOf)).toEqual(['1.5 s', '7 min', '8.0 h', '3653 d'])
})
