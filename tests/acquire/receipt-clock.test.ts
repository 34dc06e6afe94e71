import { expect, test } from 'vitest'
import { openReceiptClock } from '../../src/acquire/receipt-clock.ts'

const start = Date.UTC(2026, 0, 1)
const second = 1_000
const minute = 60_000
const hour = 3_600_000

/** A host whose clock can be put, and whose time passes when it is told to. */
function host() {
  let ticks = 5_000.25
  let put = 0
  const steps: number[] = []
  const backs: number[] = []
  const wall = () => Math.floor(start + ticks - 5_000.25 + put)
  const clock = openReceiptClock({
    wall,
    monotonic: () => ticks,
    onStep: (_, byMs) => steps.push(Math.round(byMs / second) * second),
    onStepBack: (byMs) => backs.push(Math.round(byMs / second) * second),
  })
  return {
    clock,
    steps,
    backs,
    put: (byMs: number) => (put += byMs),
    pass: (ms: number) => (ticks += ms),
    now: () => clock.at(wall()) - start,
    /** Lets time pass as a busy service does. @returns receipts of it */
    run(ms: number, devicesMs?: number): number[] {
      const receipts: number[] = []
      for (const until = ticks + ms; ticks < until; ticks += second) {
        receipts.push(clock.at(wall()) - start)
        if (receipts.length % 5 === 0) clock.heed(devicesMs)
      }
      return receipts
    },
  }
}

const near = (value: number | undefined, wanted: number) =>
  expect(Math.abs((value ?? Number.NaN) - wanted)).toBeLessThan(50)

test('receipts follow the host', () => {
  const { run, now, steps, backs } = host()
  run(hour)
  near(now(), hour)
  expect([steps, backs]).toEqual([[], []])
})

test('a host that is put back by ten minutes puts no receipt back, where devices agree with the time before', () => {
  const { run, put, now, clock, steps, backs } = host()
  run(hour, -200)
  put(-10 * minute)
  const receipts = run(hour, -200)
  expect(receipts).toEqual([...receipts].sort((a, b) => a - b))
  near(now(), 2 * hour)
  near(clock.lead(), 10 * minute)
  expect([steps, backs]).toEqual([[], [10 * minute]])
  put(10 * minute)
  run(minute, -200)
  near(now(), 2 * hour + minute)
  expect(clock.lead()).toBe(0)
  expect(steps).toEqual([])
})

test('a host that was ten minutes ahead and is put right is followed, as soon as devices say so', () => {
  const { run, put, now, clock, steps } = host()
  put(10 * minute)
  run(hour, -10 * minute)
  near(now(), hour + 10 * minute)
  put(-10 * minute)
  run(10 * second, -10 * minute)
  near(now(), hour + 10 * second)
  expect(clock.lead()).toBe(0)
  expect(steps).toEqual([10 * minute, -10 * minute])
})

test('where no device is heard, the host is followed after ten minutes', () => {
  const { run, put, now } = host()
  run(hour)
  put(-2 * hour)
  run(9 * minute)
  near(now(), hour + 9 * minute)
  run(2 * minute)
  near(now(), 11 * minute - hour)
})

test('a step forward is followed at once, as after a sleep', () => {
  const { run, put, now, steps } = host()
  run(minute, 0)
  put(8 * hour)
  near(now(), minute + 8 * hour)
  expect(steps).toEqual([8 * hour])
})

test('a small correction back is made up for without a step', () => {
  const { run, put, now, steps, backs } = host()
  run(minute)
  put(-400)
  const receipts = run(minute)
  expect(receipts).toEqual([...receipts].sort((a, b) => a - b))
  near(now(), 2 * minute - 400)
  expect([steps, backs]).toEqual([[], []])
})

test('a host that was put back while we were down is found out by the last receipt', () => {
  const { run, now, clock, backs } = host()
  clock.startFrom(start + 10 * minute)
  near(now(), 10 * minute)
  expect(backs).toEqual([10 * minute])
  run(minute, -200)
  near(now(), 11 * minute)
})

test('a last receipt from the far future is not believed', () => {
  const { now, clock } = host()
  clock.startFrom(start + 2 * hour)
  near(now(), 0)
  clock.startFrom(start - hour)
  near(now(), 0)
})

test('messages of one chunk, which have one time, have one receipt', () => {
  const { clock, pass } = host()
  const receipt = clock.at(start)
  pass(3)
  expect(clock.at(start)).toBe(receipt)
})
