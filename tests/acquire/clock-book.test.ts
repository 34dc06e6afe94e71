import { expect, test } from 'vitest'
import { type ClockBook, openClockBook } from '../../src/acquire/clock-book.ts'
import { clockMend } from '../../src/acquire/clock-policy.ts'
import type { SpooledMessage } from '../../src/acquire/message.ts'
import type { AppliedPolicy } from '../../src/machines/clock-policies.ts'

const start = Date.UTC(2026, 0, 1)
const second = 1_000
const minute = 60_000
const hour = 3_600_000

/** Devices that send every ten seconds, `clocks` apart from us, with the policies that are given. */
function fleet(policies: Record<string, AppliedPolicy> = {}, saved: Parameters<typeof openClockBook>[1] = []) {
  const book = openClockBook({ at: (device) => policies[device] }, saved)
  let position = 0
  const judge = (device: string, measuredAt: number, receivedAt: number, more: Partial<SpooledMessage> = {}) => {
    const message: SpooledMessage = {
      receivedAt,
      topic: `machines/${device}/telemetry`,
      payload: Buffer.alloc(0),
      qos: 1,
      retained: false,
      kind: 'telemetry',
      origin: 'mqtt',
      position,
      next: position + 100,
      ...more,
    }
    position = Math.max(position, message.next)
    const judged = book.judge(device, { measuredAt, zoneless: false }, message, 0)
    book.heardTo(message.next)
    return typeof judged === 'number' ? judged : judged.reason
  }
  /** @returns reasons of what was refused */
  const run = (from: number, to: number, clocks: Record<string, number>) => {
    const refused: string[] = []
    for (let at = from; at < to; at += 10 * second) {
      for (const [device, ahead] of Object.entries(clocks)) {
        const judged = judge(device, at + ahead, at + 200)
        if (typeof judged === 'string') refused.push(`${device} ${judged}`)
        if (book.reconsider()) refused.pop() // the batch is judged again
      }
      book.host()
    }
    return refused
  }
  return { book, judge, run }
}

const names = (count: number) => Array.from({ length: count }, (_, i) => `m-${i}`)
const all = (count: number, ahead: number) => Object.fromEntries(names(count).map((name) => [name, ahead]))
const countsOf = (book: ClockBook, device: string) => {
  const { live, backlog, refused, jumps } = book.clock(device) ?? {}
  return { live, backlog, refused, jumps }
}

test('one device that is ahead is refused, and the others are the reason why it is known to be wrong', () => {
  const { book, run } = fleet()
  const refused = run(start, start + 5 * minute, { ...all(5, 0), odd: hour })
  expect(new Set(refused)).toEqual(new Set(['odd clock']))
  expect(countsOf(book, 'odd')).toMatchObject({ refused: 30 })
  expect(book.host()).toMatchObject({ devices: 6, behindMs: 0, warning: undefined })
})

test('one or two devices that are ahead are refused: nobody can say that it is us', () => {
  for (const count of [1, 2]) {
    const { book, run } = fleet()
    expect(run(start, start + 2 * minute, all(count, 10 * minute))).toHaveLength(12 * count)
    expect(book.host()).toMatchObject({ behindMs: 0, warning: undefined })
  }
})

test('a host that begins ten minutes behind refuses next to nothing of a fleet, and goes on when it is put right', () => {
  const { book, run } = fleet()
  const refused = run(start, start + 5 * minute, all(8, 10 * minute))
  expect(refused).toEqual(['m-0 clock', 'm-1 clock'])
  expect(book.host()).toMatchObject({ devices: 8, warning: expect.stringContaining('behind') })
  expect(Math.abs(book.host().behindMs - 10 * minute)).toBeLessThan(second)

  book.receiptsStepped(start + 15 * minute, 10 * minute)
  expect(run(start + 15 * minute, start + 20 * minute, all(8, 0))).toEqual([])
  expect(book.host()).toMatchObject({ behindMs: 0, warning: undefined })
  expect(book.takeJumps()).toEqual([])
})

test('after a restart, devices that were right before show that it is the host which is wrong, by whatever it is', () => {
  const before = fleet()
  before.run(start, start + 10 * minute, all(6, 0))
  const saved = Array.from(before.book.clocks(), ([id, clock]) => [id, { ...clock, heardAt: Number.NaN }] as const)
  const { book, run } = fleet({}, saved)
  const refused = run(start - 8 * hour, start - 8 * hour + 5 * minute, all(6, 8 * hour))
  expect(refused).toHaveLength(2)
  expect(book.host().behindMs).toBeGreaterThan(7.9 * hour)
  expect(book.takeJumps()).toEqual([])
})

test('a new fleet that sends local time is refused, and the reason is named', () => {
  const { book, run } = fleet()
  expect(run(start, start + minute, all(6, 8 * hour))).toHaveLength(36)
  expect(book.host()).toMatchObject({ behindMs: 0, warning: expect.stringContaining('local time') })
})

test('a jump of one device is told once, one of all of them is ours', () => {
  const { book, run } = fleet()
  run(start, start + 10 * minute, all(5, 0))
  run(start + 10 * minute, start + 20 * minute, { ...all(5, 0), 'm-2': -hour })
  const [jump, ...others] = book.takeJumps()
  expect(others).toEqual([])
  expect(jump).toMatchObject({ device: 'm-2', to: -hour - 200 })
  expect(countsOf(book, 'm-2')).toMatchObject({ jumps: 1, backlog: 0 })
  expect(book.takeJumps()).toEqual([])

  run(start + 20 * minute, start + 30 * minute, { ...all(5, -hour), 'm-2': -2 * hour })
  expect(book.takeJumps()).toEqual([])
})

test('a clock that jumps all the time is told once a minute, and counted', () => {
  const { book, judge } = fleet()
  for (let i = 0; i < 600; i++)
    judge('wild', start + i * second + Math.floor(Math.max(0, i - 120) / 5) * 2 * minute, start + i * second)
  const told = book.takeJumps()
  expect(told.length).toBeGreaterThan(5)
  expect(told.length).toBeLessThanOrEqual(10)
  expect(book.clock('wild')?.jumps).toBeGreaterThan(90)
})

test('what devices seem to do when receipts were put back or forward is not told', () => {
  const { book, run } = fleet()
  run(start, start + 10 * minute, { lone: 0 })
  book.receiptsStepped(start + 10 * minute, -3 * minute)
  run(start + 10 * minute, start + 20 * minute, { lone: 3 * minute })
  expect(book.takeJumps()).toEqual([])
})

test('only what devices send themselves, and for the first time, says something of their clocks', () => {
  const { book, judge } = fleet()
  judge('m', start, start)
  judge('m', start, start, { position: 0, next: 100 })
  judge('m', start, start, { origin: 'replay' })
  judge('m', start, start, { kind: 'status' })
  judge('m', Number.NaN, start)
  expect(countsOf(book, 'm')).toMatchObject({ live: 1 })
})

test('devices without a clock do not judge ours, and their jumps are no news', () => {
  const none = { policy: { kind: 'no_clock' }, mend: undefined } as const
  const { book, run } = fleet(Object.fromEntries(names(5).map((name) => [name, none])))
  run(start, start + 5 * minute, all(5, 7 * minute))
  expect(book.host()).toMatchObject({ devices: 0, behindMs: 0, warning: undefined })
  run(start + 5 * minute, start + 10 * minute, { 'm-0': 99 * minute })
  expect(book.takeJumps()).toEqual([])
})

test('a fleet can show that we are behind after what was received lay in the future', () => {
  const { book, run } = fleet()
  run(start + 24 * hour, start + 24 * hour + minute, all(6, 0))
  book.receiptsStepped(start, -24 * hour)
  expect(run(start, start + minute, all(6, 7 * minute)).length).toBeLessThanOrEqual(3)
  expect(book.host()).toMatchObject({ devices: 6, warning: expect.stringContaining('behind') })
})

test('a policy is applied before anything is judged', () => {
  const offset = { kind: 'offset', offsetMs: hour } as const
  const { book, judge } = fleet({
    ahead: { policy: offset, mend: clockMend(offset) },
    lost: { policy: { kind: 'no_clock' }, mend: undefined },
  })
  expect(judge('ahead', start + hour, start)).toBe(start)
  expect(judge('lost', Number.NaN, start)).toBe(start)
  expect(judge('lost', start + 24 * hour, start)).toBe(start)
  expect(book.hasNoClock('lost', start)).toBe(true)
  expect(countsOf(book, 'lost')).toMatchObject({ refused: 0 })
  expect(countsOf(book, 'ahead')).toMatchObject({ live: 1, refused: 0 })
})
