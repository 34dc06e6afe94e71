import { expect, test } from 'vitest'
import { type ClockVote, judgeHost } from '../../src/acquire/host-clock.ts'

const minute = 60_000
const hour = 3_600_000
const right = (...offsets: number[]): ClockVote[] => offsets.map((offset) => ({ offset, wasRight: true }))
const fresh = (...offsets: number[]): ClockVote[] => offsets.map((offset) => ({ offset, wasRight: false }))

for (const { name, votes, offsetMs, behindMs = 0, warning } of [
  { name: 'nobody is heard', votes: [], offsetMs: undefined },
  { name: 'all agree with us', votes: right(-200, -300, -250, 100), offsetMs: 225 },
  { name: 'one device alone is ahead', votes: right(10 * minute), offsetMs: -10 * minute },
  { name: 'two devices are ahead', votes: right(10 * minute, 10 * minute), offsetMs: -10 * minute },
  {
    name: 'three devices are ahead by the same',
    votes: right(10 * minute, 10 * minute + 400, 10 * minute - 300),
    offsetMs: -10 * minute,
    behindMs: 10 * minute,
    warning: '600 s behind',
  },
  {
    name: 'most devices are ahead by the same',
    votes: [...right(10 * minute, 10 * minute, 10 * minute, 10 * minute - 500), ...right(0, -hour)],
    offsetMs: -10 * minute,
    behindMs: 10 * minute,
    warning: '600 s behind',
  },
  { name: 'half of the devices are ahead', votes: right(hour, hour, 0, 0), offsetMs: -hour / 2 },
  {
    name: 'all are ahead, each by something else',
    votes: right(hour, 2 * hour, 5 * hour, 9 * hour),
    offsetMs: -3.5 * hour,
  },
  {
    name: 'a new fleet is ahead by a zone',
    votes: fresh(8 * hour, 8 * hour - 500, 8 * hour + 900, 8 * hour),
    offsetMs: -8 * hour,
    warning: 'local time',
  },
  {
    name: 'a fleet that was right is ahead by a zone',
    votes: right(8 * hour, 8 * hour - 500, 8 * hour + 900, 8 * hour),
    offsetMs: -8 * hour,
    behindMs: 8 * hour,
    warning: 'behind',
  },
  {
    name: 'a new fleet is ahead by what no zone makes',
    votes: fresh(7 * minute, 7 * minute, 7 * minute),
    offsetMs: -7 * minute,
    behindMs: 7 * minute,
    warning: 'behind',
  },
  { name: 'all are slow', votes: right(-2 * minute, -2 * minute, -2 * minute), offsetMs: 2 * minute },
  { name: 'we are ahead of all', votes: right(-hour, -hour, -hour), offsetMs: hour, warning: '3600 s ahead' },
]) {
  test(`our clock, judged by the devices: ${name}`, () => {
    const verdict = judgeHost(votes)
    expect(Math.abs((verdict.offsetMs ?? 0) - (offsetMs ?? 0))).toBeLessThanOrEqual(300)
    expect(Math.abs(verdict.behindMs - behindMs)).toBeLessThanOrEqual(300)
    if (warning) expect(verdict.warning).toContain(warning)
    else expect(verdict.warning).toBeUndefined()
  })
}
