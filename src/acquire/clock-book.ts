import type { ClockPolicies } from '../machines/clock-policies.ts'
import {
  type ClockJump,
  candidateShift,
  type DeviceClock,
  deviceClock,
  hearClock,
  latestOffset,
  restartClock,
} from './device-clock.ts'
import { type HostVerdict, judgeHost, LEAST_DEVICES } from './host-clock.ts'
import { CLOCK_TOLERANCE_MS, mendTime, refusalOf } from './judge-time.ts'
import { median } from './median.ts'
import type { Refusal, SpooledMessage, StatedTime } from './message.ts'

/** A device's clock jumped, and not ours. */
export interface DeviceJump extends ClockJump {
  readonly device: string
}

/** The clocks of devices, and our own by theirs, in memory. Times in epoch ms. */
export interface ClockBook {
  /**
   * When something was measured. Never throws.
   *
   * @param item place of the set in its message: without a clock, sets of one message are told apart by a millisecond each
   * @returns epoch ms, or why it cannot be used
   */
  judge(device: string, stated: StatedTime, message: SpooledMessage, item: number): number | Refusal
  /** Whether a device has no clock, and the time of its receipt is taken. */
  hasNoClock(device: string, receivedAt: number): boolean
  /** What stands in the spool before this position has been judged once: judged again, it says nothing new of clocks. */
  heardTo(position: number): void
  /**
   * Judges our own clock anew where devices came to be ahead.
   * @returns whether what was refused may be right by now
   */
  reconsider(): boolean
  /** Judges our own clock by the devices heard lately. */
  host(): HostVerdict
  /** Times of receipt were put forward by so much (negative: back): what devices seem to do then is no jump of theirs. */
  receiptsStepped(at: number, byMs: number): void
  /** Jumps of devices that are certain by now and not told yet. */
  takeJumps(): DeviceJump[]
  /** The device's clock is read in another way from now on. */
  restart(device: string): void
  clock(device: string): DeviceClock | undefined
  clocks(): Iterable<readonly [device: string, clock: DeviceClock]>
}

/** Who was not heard for so long does not judge our clock. */
const VOTE_MS = 10 * 60_000
/** A jump is held back for so long, to see whether all make the same. */
const HOLD_MS = 30_000
/** Of a clock that jumps more often than this, the jumps between are only counted. */
const OFTEN_MS = 60_000
/** Jumps of the same size differ by less. */
const SAME_MS = 60_000
const STEPS_KEPT_MS = 24 * 3_600_000
/** Ids that nobody registered cost memory too. */
const MOST_DEVICES = 50_000

/** @param saved what was known before a restart */
export function openClockBook(
  policies: Pick<ClockPolicies, 'at'>,
  saved: Iterable<readonly [device: string, clock: DeviceClock]> = [],
): ClockBook {
  const known = new Map(saved)
  const ahead = new Set<string>() // devices whose newest reading was refused
  let aheadBefore = 0
  let heardPosition = 0
  let lastReceipt = Number.NEGATIVE_INFINITY
  let verdict = judgeHost([])
  let held: DeviceJump[] = []
  let recent: DeviceJump[] = []
  let steps: { at: number; byMs: number }[] = []

  function hear(device: string, measuredAt: number, receivedAt: number, isRefused: boolean): void {
    let clock = known.get(device)
    if (!clock) {
      if (known.size >= MOST_DEVICES) return
      clock = deviceClock()
      known.set(device, clock)
    }
    lastReceipt = receivedAt
    if (isRefused) {
      clock.refused++
      ahead.add(device)
    } else if (ahead.size > 0) ahead.delete(device)
    const jump = hearClock(clock, measuredAt, receivedAt)
    if (!jump || hasNoClock(device, receivedAt)) return
    if (receivedAt - clock.jumpedAt < OFTEN_MS) {
      clock.jumps++
      return
    }
    clock.jumpedAt = receivedAt
    const found = { device, ...jump }
    held.push(found)
    recent.push(found)
  }

  /** Receipts may have been put back since. */
  function isNear(receivedAt: number, ms: number): boolean {
    return Math.abs(lastReceipt - receivedAt) <= ms
  }

  function hasNoClock(device: string, receivedAt: number): boolean {
    return policies.at(device, receivedAt)?.policy.kind === 'no_clock'
  }

  function judgeAll(): HostVerdict {
    const votes: { offset: number; wasRight: boolean }[] = []
    for (const [device, clock] of known) {
      if (!isNear(clock.heardAt, VOTE_MS) || hasNoClock(device, lastReceipt)) continue
      const offset = latestOffset(clock)
      if (!Number.isNaN(offset)) votes.push({ offset, wasRight: clock.wasRight })
    }
    verdict = judgeHost(votes)
    return verdict
  }

  /** How far most of those that are heard moved together, which is our own clock's doing; NaN where they did not. */
  function commonShift(): number {
    const shifts = new Map(recent.map(({ device, from, to }) => [device, to - from]))
    for (const [device, clock] of known) {
      const shift = candidateShift(clock)
      if (!Number.isNaN(shift) && isNear(clock.heardAt, VOTE_MS)) shifts.set(device, shift)
    }
    const shift = median(shifts.values())
    const alike = [...shifts.values()].filter((other) => Math.abs(other - shift) <= SAME_MS).length
    return alike >= LEAST_DEVICES && alike * 2 > verdict.devices ? shift : Number.NaN
  }

  return {
    judge(device, stated, message, item) {
      const { receivedAt } = message
      const applied = policies.at(device, receivedAt)
      const arrival = receivedAt + verdict.behindMs
      const measuredAt = mendTime(stated, applied?.mend, arrival)
      const refusal = refusalOf(measuredAt, stated, applied !== undefined, arrival)
      const isNews = message.position >= heardPosition
      if (isNews && isLive(message) && (!refusal || refusal.reason === 'clock')) {
        const isRefused = refusal !== undefined && applied?.policy.kind !== 'no_clock'
        hear(device, measuredAt, receivedAt, isRefused)
      }
      if (applied?.policy.kind === 'no_clock') return receivedAt + item
      return refusal ?? measuredAt
    },
    hasNoClock,
    heardTo(position) {
      heardPosition = Math.max(heardPosition, position)
    },
    reconsider() {
      const grown = ahead.size > aheadBefore
      aheadBefore = ahead.size
      if (!grown || ahead.size < LEAST_DEVICES) return false
      const before = verdict.behindMs
      return judgeAll().behindMs > before + CLOCK_TOLERANCE_MS / 2
    },
    host: judgeAll,
    receiptsStepped(at, byMs) {
      steps = [...steps.filter((step) => at - step.at <= STEPS_KEPT_MS), { at, byMs }]
    },
    takeJumps() {
      recent = recent.filter(({ at }) => isNear(at, VOTE_MS))
      const due = held.filter(({ at }) => !isNear(at, HOLD_MS))
      if (due.length === 0) return due
      held = held.filter(({ at }) => isNear(at, HOLD_MS))
      const ours = [commonShift(), ...steps.map(({ byMs }) => -byMs)]
      const theirs = due.filter(({ from, to }) => !ours.some((shift) => Math.abs(to - from - shift) <= SAME_MS))
      for (const { device, at, from, to } of theirs) {
        const clock = known.get(device) as DeviceClock
        clock.jumps++
        clock.lastJump = { at, from, to }
      }
      return theirs
    },
    restart(device) {
      const before = known.get(device)
      if (before) known.set(device, restartClock(before))
      ahead.delete(device)
    },
    clock: (device) => known.get(device),
    clocks: () => known,
  }
}

/** Whether it came from the device itself just now. A status may be a will from long ago. */
function isLive({ kind, origin }: SpooledMessage): boolean {
  return kind === 'telemetry' && origin === 'mqtt'
}
