import type { ClockMend } from './clock-policy.ts'
import type { Refusal, StatedTime } from './message.ts'

/** So much ahead of arrival a clock may be. */
export const CLOCK_TOLERANCE_MS = 5 * 60_000

const EARLIEST = Date.UTC(2000, 0, 1) // before it: a clock that was never set, or seconds taken for milliseconds
const LATEST = Date.UTC(2100, 0, 1) // after it: microseconds or nanoseconds taken for milliseconds

/**
 * A time as its device states it, mended by what is known of the device's clock.
 *
 * @param mend of the device's clock policy; undefined: it is taken at its word
 * @param arrival when it was received by a clock that is right, epoch ms
 * @returns epoch ms; NaN where there is none
 */
export function mendTime({ measuredAt }: StatedTime, mend: ClockMend | undefined, arrival: number): number {
  // what no Date can be cannot be mended either
  return mend && Math.abs(measuredAt) < LATEST ? mend(measuredAt, arrival + CLOCK_TOLERANCE_MS) : measuredAt
}

/**
 * Why a time cannot be used; undefined: it can.
 *
 * @param measuredAt of `mendTime`
 * @param hasPolicy whether something is known of the device's clock
 */
export function refusalOf(
  measuredAt: number,
  { zoneless }: StatedTime,
  hasPolicy: boolean,
  arrival: number,
): Refusal | undefined {
  if (Number.isNaN(measuredAt)) return { reason: 'time', detail: 'ts is missing, or no time' }
  if (zoneless && !hasPolicy) return { reason: 'time', detail: 'ts has no zone, and no clock policy names it' }
  if (measuredAt < EARLIEST || measuredAt >= LATEST) {
    return { reason: 'time', detail: 'ts lies outside of the years 2000 to 2099' }
  }
  if (measuredAt <= arrival + CLOCK_TOLERANCE_MS) return undefined
  return { reason: 'clock', detail: `measured ${lengthOf(measuredAt - arrival)} after it was received` }
}

/** A length of time for people: `7 min`, `8.0 h`, `3653 d`. */
export function lengthOf(ms: number): string {
  const minutes = ms / 60_000
  if (minutes < 1) return `${(ms / 1_000).toFixed(1)} s`
  if (minutes < 120) return `${Math.round(minutes)} min`
  if (minutes < 48 * 60) return `${(minutes / 60).toFixed(1)} h`
  return `${Math.round(minutes / 1_440)} d`
}
