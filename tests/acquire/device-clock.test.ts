import { expect, test } from 'vitest'
import {
  type ClockJump,
  clockDrift,
  type DeviceClock,
  deviceClock,
  hearClock,
  latestOffset,
} from '../../src/acquire/device-clock.ts'
import { seeded } from './seeded.ts'

const start = Date.UTC(2026, 0, 1)
const second = 1_000
const minute = 60_000
const hour = 3_600_000
const tenYears = 3_653 * 24 * hour

/** A device that sends every ten seconds over a network of 100 to 900 ms, with whatever clock. */
function device(ahead: (at: number) => number = () => 0) {
  const clock = deviceClock()
  const jumps: ClockJump[] = []
  const random = seeded(4711)
  const hear = (measuredAt: number, receivedAt: number) => {
    const jump = hearClock(clock, measuredAt, receivedAt)
    if (jump) jumps.push(jump)
  }
  const live = (from: number, to: number, everyMs = 10 * second) => {
    for (let at = from; at < to; at += everyMs) hear(at + ahead(at), at + 100 + Math.floor(random() * 800))
  }
  return { clock, jumps, hear, live }
}

const round = (offset: number) => Math.round(offset / second) + 0 // no −0

test('the fastest readings show where the clock stands', () => {
  const { clock, jumps, live } = device()
  expect(latestOffset(clock)).toBeNaN()
  live(start, start + hour)
  expect(clock.offset).toBeGreaterThan(-130)
  expect(clock.offset).toBeLessThanOrEqual(-100)
  expect(clock.lateness).toBeGreaterThan(250)
  expect(clock.lateness).toBeLessThan(550)
  expect(clock).toMatchObject({ wasRight: true, live: 360, backlog: 0, episode: undefined })
  expect(jumps).toEqual([])
})

test('drift is seen through the noise of the network', () => {
  for (const ppm of [-80, 0, 20]) {
    const { clock, live } = device((at) => ((at - start) * ppm) / 1e6)
    live(start, start + 3 * minute)
    expect(clockDrift(clock)).toBeNaN()
    live(start + 3 * minute, start + 30 * hour)
    expect(Math.abs(clockDrift(clock) - ppm)).toBeLessThan(1)
  }
})

for (const jump of [hour, -hour, tenYears, -tenYears, 2 * minute, -2 * minute]) {
  test(`a clock that is put by ${jump / minute} min is found out, once`, () => {
    const at = start + hour
    const { clock, jumps, live } = device((now) => (now < at ? 0 : jump))
    live(start, at + hour)
    expect(jumps).toHaveLength(1)
    expect(jumps[0]?.at).toBeGreaterThanOrEqual(at)
    expect(jumps[0]?.at).toBeLessThan(at + minute)
    expect(round((jumps[0]?.to ?? 0) - (jumps[0]?.from ?? 0))).toBe(jump / second)
    expect(round(clock.offset)).toBe(jump / second)
    expect(clock).toMatchObject({ backlog: 0, live: 720 })
  })
}

test('the newest word of a clock that runs ahead is heard at once', () => {
  const { clock, hear, live } = device()
  live(start, start + hour)
  hear(start + 2 * hour, start + hour)
  expect(latestOffset(clock)).toBe(hour)
  live(start + hour, start + hour + minute)
  expect(round(latestOffset(clock))).toBe(0)
})

test('one reading from the future is no jump', () => {
  const { clock, jumps, hear, live } = device()
  live(start, start + hour)
  hear(start + tenYears, start + hour)
  live(start + hour, start + 2 * hour)
  expect(jumps).toEqual([])
  expect(round(clock.offset)).toBe(0)
})

function backlogOf(from: number, to: number): number[] {
  return Array.from({ length: (to - from) / (10 * second) }, (_, i) => from + i * 10 * second)
}

for (const { name, order } of [
  { name: 'oldest first', order: (times: number[]) => times },
  { name: 'newest first', order: (times: number[]) => times.reverse() },
]) {
  test(`backlog, ${name}, is no clock that was put back`, () => {
    const { clock, jumps, hear, live } = device()
    live(start, start + hour)
    const back = start + 3 * hour
    hear(back, back + 200)
    const times = order(backlogOf(start + hour, back - 6 * minute))
    for (const [i, at] of times.entries()) hear(at, back + 300 + i * 5)
    live(back + 10 * second, back + hour)
    expect(jumps).toEqual([])
    expect(round(clock.offset)).toBe(0)
    expect(clock.backlog).toBe(times.length)
    expect(clock.episode).toMatchObject({
      readings: times.length,
      oldest: start + hour,
      newest: back - 6 * minute - 10_000,
    })
    const { rising = 0, falling = 0 } = clock.episode ?? {}
    expect([rising, falling].sort((a, b) => a - b)).toEqual([0, times.length - 1])
  })
}

test('backlog that is sent slowly, between what is live, is told apart from it', () => {
  const { clock, jumps, hear, live } = device()
  live(start, start + hour)
  const back = start + 3 * hour
  for (let i = 0; i < 360; i++) {
    const now = back + i * 10 * second
    hear(now, now + 200)
    hear(start + hour + i * 10 * second, now + 5_000) // at the pace of time itself
  }
  expect(jumps).toEqual([])
  expect(clock).toMatchObject({ backlog: 360, live: 720 })
  expect(clock.episode).toMatchObject({ readings: 360, live: 359 })
})

test('a device that begins with its backlog has the right clock as soon as it is live', () => {
  const { clock, jumps, hear, live } = device()
  for (const [i, at] of backlogOf(start, start + hour)
    .reverse()
    .entries())
    hear(at, start + 3 * hour + i * 5)
  expect(clock.wasRight).toBe(false)
  live(start + 3 * hour + 10 * second, start + 4 * hour)
  expect(jumps).toEqual([])
  expect(round(clock.offset)).toBe(0)
  expect(clock.wasRight).toBe(true)
})

test('a device that reports in arrays once in ten minutes is no clock that jumps', () => {
  const { clock, jumps, hear } = device()
  for (let at = start + 10 * minute; at < start + 6 * hour; at += 10 * minute)
    for (const measuredAt of backlogOf(at - 10 * minute, at)) hear(measuredAt + 10 * second, at + 300)
  expect(jumps).toEqual([])
  expect(clock.offset).toBe(-300)
})

test('a clock is the same size after a year as after a day', () => {
  const { clock, live } = device()
  live(start, start + 24 * hour, minute)
  const size = JSON.stringify({ ...clock, history: Array.from(clock.history) }).length
  live(start + 24 * hour, start + 366 * 24 * hour, 10 * minute)
  const later: DeviceClock = clock
  expect(JSON.stringify({ ...later, history: Array.from(later.history) }).length).toBeLessThan(size * 1.2)
})
