/**
 * The words that every stage shares. Times are epoch milliseconds UTC inside, RFC 3339 at the API.
 */

/** What a signal was over an interval that ends at `measuredAt`, from `n` samples; in the signal's unit. */
export interface Summary {
  readonly min: number
  readonly mean: number
  readonly max: number
  readonly n: number
}

/** A finite number in the signal's unit (booleans are 1 and 0), or a summary of an interval. */
export type SignalValue = number | Summary

/** The signal under which a machine's `mode` is stored: the catalogue's mode code, an integer. */
export const MODE_SIGNAL = 'mode'

/** Stored as 1 with every set whose device has no clock: its time of measuring is that of its receipt. */
export const ARRIVAL_SIGNAL = 'time_is_arrival'

/**
 * One judged reading set: what one machine measured at one instant. `values` holds only usable values (finite,
 * plausible, no fill code), never none; a mode that came with the set is in it as `mode` with its code.
 */
export interface ReadingSet {
  /** The id of the topic, before binding. */
  readonly device: string
  /** The machine bound to the device at `measuredAt`. */
  readonly machine: string
  readonly measuredAt: number
  readonly receivedAt: number
  readonly seq: number | undefined
  readonly values: ReadonlyMap<string, SignalValue>
}

/** Highest value of the interval: what an over-limit rule looks at. */
export function highest(value: SignalValue): number {
  return typeof value === 'number' ? value : value.max
}

/** Lowest value of the interval: what an under-limit rule looks at. */
export function lowest(value: SignalValue): number {
  return typeof value === 'number' ? value : value.min
}

/** The mean of the interval, or the value itself. */
export function level(value: SignalValue): number {
  return typeof value === 'number' ? value : value.mean
}
