import type { Task } from '../catalogue/schema.ts'

const DAY_MS = 86_400_000
/** A window is this part of the interval before and after the due point … */
export const WINDOW_PART = 0.1
/** … and for hours at most this wide on either side. */
const WIDEST_HOURS = 50
/** A date beyond this is no date. */
const FARTHEST_MS = 50 * 365 * DAY_MS

/** A counter of the machine as the programme looks at it: service hours, or m³. */
export interface Counter {
  readonly value: number
  /** Event time of `value`, epoch ms. */
  readonly at: number
  /** The first reading: what lies before it is unknown. */
  readonly start: number
  /** Mean use per day; undefined: not known. */
  readonly perDay: number | undefined
}

/**
 * The window of a counter point: ±10 % of the interval (of the point itself, where it comes once), for hours at most
 * ±50 h, unless the catalogue gives another.
 *
 * @param index of the one-time point; undefined: recurring
 * @param base the interval, or the one-time point's value
 */
export function counterWindow(
  { points, window }: Pick<Task, 'points' | 'window'>,
  counter: 'hours' | 'm3',
  index: number | undefined,
  base: number,
): { before: number; after: number } {
  const given = counter === 'hours' ? window?.[index ?? points.length] : undefined
  if (given) return { before: given.beforeHours, after: given.afterHours }
  const width = WINDOW_PART * base
  const narrow = counter === 'hours' ? Math.min(width, WIDEST_HOURS) : width
  return { before: narrow, after: narrow }
}

/** When a counter passed a value, by its mean use; as late as known where that is unknown. */
export function crossedAt(due: number | undefined, counter: Counter | undefined): number | undefined {
  if (due === undefined || !counter || counter.value < due) return undefined
  return counter.perDay ? counter.at - ((counter.value - due) / counter.perDay) * DAY_MS : counter.at
}

/** What a counter stood at then, by its mean use. */
export function valueAt(counter: Counter | undefined, at: number): number | undefined {
  if (!counter) return undefined
  const since = Math.max(0, counter.at - at) / DAY_MS
  return Math.max(counter.start, counter.value - since * (counter.perDay ?? 0))
}

/** When a counter gets to a value, by its mean use, from where it was read last; never in the past. */
export function forecast(counter: Counter | undefined, value: number, now: number): number | undefined {
  if (!counter?.perDay || counter.value >= value) return undefined
  const at = counter.at + ((value - counter.value) / counter.perDay) * DAY_MS
  return at - now > FARTHEST_MS ? undefined : Math.max(now, at)
}
