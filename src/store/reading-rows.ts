import { level, type SignalValue } from '../reading.ts'
import type { StoredSet } from './telemetry-store.ts'

/** Rows of a table, by column. */
export interface PlainRows {
  readonly count: number
  readonly machine: Float64Array
  readonly signal: Float64Array
  readonly measuredAt: Float64Array
  /** Of a summary its mean. */
  readonly value: Float64Array
}

export interface SummaryRows extends PlainRows {
  readonly low: Float64Array
  readonly high: Float64Array
  readonly n: Float64Array
}

export interface ReadingRows {
  readonly plain: PlainRows
  readonly summary: SummaryRows
}

/**
 * Turns sets into rows, a row per value. They are ordered by signal and machine: equal things that stand beside each
 * other take half of the space on disk.
 *
 * @param machineIdOf integer id of a machine, from 0
 * @param signalIdOf integer id of a signal, from 0
 */
export function readingRows(
  sets: readonly StoredSet[],
  machineIdOf: (machine: string) => number,
  signalIdOf: (signal: string) => number,
): ReadingRows {
  const groups = new Map<number, StoredSet[]>()
  for (const set of sets) {
    const machine = machineIdOf(set.machine)
    const group = groups.get(machine)
    if (group) group.push(set)
    else groups.set(machine, [set])
  }

  const signals: number[] = [] // of the values, in the order of the walk
  const plainOf: number[] = [] // rows by signal
  const summariesOf: number[] = []
  const count = (value: SignalValue, name: string) => {
    const signal = signalIdOf(name)
    const counts = typeof value === 'number' ? plainOf : summariesOf
    signals.push(signal)
    counts[signal] = (counts[signal] ?? 0) + 1
  }
  for (const group of groups.values()) {
    for (const { values } of group) values.forEach(count)
  }

  const plain = plainRows(placesFrom(plainOf))
  const summary = summaryRows(placesFrom(summariesOf))
  let at = 0
  let machine = 0
  let measuredAt = 0
  const write = (value: SignalValue) => {
    const signal = signals[at++] as number
    const isPlain = typeof value === 'number'
    const rows = isPlain ? plain : summary
    const places = isPlain ? plainOf : summariesOf
    const row = places[signal] as number
    places[signal] = row + 1
    rows.machine[row] = machine
    rows.signal[row] = signal
    rows.measuredAt[row] = measuredAt
    rows.value[row] = level(value)
    if (isPlain) return
    summary.low[row] = value.min
    summary.high[row] = value.max
    summary.n[row] = value.n
  }
  for (const [id, group] of groups) {
    machine = id
    for (const set of group) {
      measuredAt = set.measuredAt
      set.values.forEach(write)
    }
  }
  return { plain, summary }
}

/** Turns numbers of rows by signal into the place of each signal's first one. @returns how many rows there are */
function placesFrom(bySignal: number[]): number {
  let count = 0
  for (let signal = 0; signal < bySignal.length; signal++) {
    const rows = bySignal[signal] ?? 0
    bySignal[signal] = count
    count += rows
  }
  return count
}

function plainRows(count: number): PlainRows {
  const column = () => new Float64Array(count)
  return { count, machine: column(), signal: column(), measuredAt: column(), value: column() }
}

function summaryRows(count: number): SummaryRows {
  const column = () => new Float64Array(count)
  return { ...plainRows(count), low: column(), high: column(), n: column() }
}
