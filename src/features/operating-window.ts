import { highest, level, lowest, type SignalValue } from '../reading.ts'

export type Statistic = 'mean' | 'max' | 'min' | 'range' | 'increase' | 'slope_per_h' | 'share_above'

export interface WindowSpec {
  readonly statistic: Statistic
  readonly lengthMs: number
  /** What `share_above` compares with. */
  readonly level: number
  /** How much of the window must be filled before the statistic says anything, 0 to 1. */
  readonly fill: number
}

/** One slot of the window. Plain numbers, so that the state survives as JSON. */
export interface Slot {
  slot: number
  /** ms that the readings in it stand for. */
  weight: number
  sum: number
  /** Σ weight · clock, for the slope. */
  clockSum: number
  min: number
  max: number
  above: number
  last: number
}

/**
 * The recent past of one signal, as slots of a twelfth of the window each, so that its size does not depend on how
 * often the machine sends. Its clock runs only while the rule applies: a window of 30 minutes is 30 minutes of that work.
 */
export interface OperatingWindow {
  /** ms of work so far. */
  clock: number
  /** Level at the window's start: of the newest reading that has left it, or the first of all. */
  before: number | null
  /** Clock when the window began to fill. */
  start: number
  readonly slots: Slot[]
}

const SLOTS = 12
const HOUR_MS = 3_600_000

export function emptyWindow(): OperatingWindow {
  return { clock: 0, before: null, start: 0, slots: [] }
}

/**
 * Adds a reading.
 *
 * @param elapsedMs the time that it stands for: since the reading before, 0 for the first
 */
export function extendWindow(window: OperatingWindow, spec: WindowSpec, value: SignalValue, elapsedMs: number): void {
  window.clock += elapsedMs
  const slotMs = spec.lengthMs / SLOTS
  const number = Math.floor(window.clock / slotMs)
  let spare: Slot | undefined
  while (window.slots.length > 0 && (window.slots[0] as Slot).slot <= number - SLOTS) {
    spare = window.slots.shift() as Slot
    window.before = spare.last
  }
  const mean = level(value)
  const weight = Math.min(elapsedMs, spec.lengthMs)
  let slot = window.slots.at(-1)
  if (slot?.slot !== number) {
    slot = spare ?? ({} as Slot)
    slot.slot = number
    slot.weight = 0
    slot.sum = 0
    slot.clockSum = 0
    slot.min = Number.POSITIVE_INFINITY
    slot.max = Number.NEGATIVE_INFINITY
    slot.above = 0
    window.slots.push(slot)
  }
  slot.weight += weight
  slot.sum += weight * mean
  slot.clockSum += weight * window.clock
  slot.min = Math.min(slot.min, lowest(value))
  slot.max = Math.max(slot.max, highest(value))
  slot.above += weight * shareAbove(value, spec.level)
  slot.last = mean
  window.before ??= mean
}

/** The statistic of the window, or undefined while too little of it is filled. */
export function statisticOf(window: OperatingWindow, spec: WindowSpec): number | undefined {
  const { slots } = window
  const last = slots.at(-1)
  if (last === undefined) return undefined
  if (window.clock - window.start < spec.fill * spec.lengthMs) return undefined
  switch (spec.statistic) {
    case 'mean':
      return ratio(total(slots, 'sum'), total(slots, 'weight'))
    case 'share_above':
      return ratio(100 * total(slots, 'above'), total(slots, 'weight'))
    case 'max':
      return maximum(slots)
    case 'min':
      return minimum(slots)
    case 'range':
      return maximum(slots) - minimum(slots)
    case 'increase':
      return last.last - (window.before as number)
    case 'slope_per_h':
      return slopePerHour(slots)
  }
}

/** Level when the window began, and now: what a change in percent is taken from. */
export function startAndEnd(window: OperatingWindow, spec: WindowSpec): { start: number; end: number } | undefined {
  const last = window.slots.at(-1)
  if (last === undefined || window.before === null) return undefined
  if (window.clock - window.start < spec.fill * spec.lengthMs) return undefined
  return { start: window.before, end: last.last }
}

/** Within a summary the values are taken as evenly spread. */
function shareAbove(value: SignalValue, limit: number): number {
  if (typeof value === 'number') return value > limit ? 1 : 0
  if (value.min > limit) return 1
  if (value.max <= limit) return 0
  return (value.max - limit) / (value.max - value.min)
}

function ratio(a: number, b: number): number | undefined {
  return b > 0 ? a / b : undefined
}

function total(slots: readonly Slot[], field: 'sum' | 'weight' | 'above'): number {
  let sum = 0
  for (const slot of slots) sum += slot[field]
  return sum
}

function maximum(slots: readonly Slot[]): number {
  let max = Number.NEGATIVE_INFINITY
  for (const slot of slots) if (slot.max > max) max = slot.max
  return max
}

function minimum(slots: readonly Slot[]): number {
  let min = Number.POSITIVE_INFINITY
  for (const slot of slots) if (slot.min < min) min = slot.min
  return min
}

/** Weighted least squares through the slots' means. */
function slopePerHour(slots: readonly Slot[]): number | undefined {
  const weight = total(slots, 'weight')
  if (weight === 0) return undefined
  let clockSum = 0
  for (const slot of slots) clockSum += slot.clockSum
  const meanClock = clockSum / weight
  const meanLevel = total(slots, 'sum') / weight
  let covariance = 0
  let variance = 0
  for (const slot of slots) {
    if (slot.weight === 0) continue
    const clock = slot.clockSum / slot.weight - meanClock
    covariance += slot.weight * clock * (slot.sum / slot.weight - meanLevel)
    variance += slot.weight * clock * clock
  }
  return variance > 0 ? (covariance / variance) * HOUR_MS : undefined
}
