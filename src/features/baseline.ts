import { addToMedian, emptyMedian, medianOf, type RunningMedian } from './running-median.ts'

/** What is normal for this machine in one mode and band. */
export interface BaselineCell {
  /** ms of work that it was learned from. */
  learnedMs: number
  readonly median: RunningMedian
}

/** What one rule has learned of its machine, by mode and bands of the signals that have to be alike. */
export interface Baseline {
  learnedMs: number
  /** Since the last value that was taken, ms of work: at most one a minute counts, so that cadence does not matter. */
  sinceMs: number
  readonly cells: Record<string, BaselineCell>
}

const ENOUGH_MS = 50 * 3_600_000
const ENOUGH_VALUES = 30
const SAMPLE_MS = 60_000
/** More combinations than this are not alike in anything: the bands are too narrow for the machine. */
const MOST_CELLS = 64

export function emptyBaseline(): Baseline {
  return { learnedMs: 0, sinceMs: SAMPLE_MS, cells: {} }
}

/**
 * Takes in a healthy value. A cell that has seen 50 h of work learns no more: otherwise slow wear would become normal.
 *
 * @param elapsedMs work since the last healthy value, 0 after a gap
 */
export function learnBaseline(baseline: Baseline, cellKey: string, value: number, elapsedMs: number): void {
  const known = baseline.cells[cellKey]
  if (known !== undefined && known.learnedMs >= ENOUGH_MS) return
  if (known === undefined && Object.keys(baseline.cells).length >= MOST_CELLS) return
  const cell = known ?? { learnedMs: 0, median: emptyMedian() }
  baseline.cells[cellKey] = cell
  cell.learnedMs += elapsedMs
  baseline.learnedMs += elapsedMs
  baseline.sinceMs += elapsedMs
  if (baseline.sinceMs < SAMPLE_MS && cell.median.count > 0) return
  baseline.sinceMs = 0
  addToMedian(cell.median, value)
}

/** For signals that people measure now and then: the first reading is what later ones are compared with. */
export function learnFirstReading(baseline: Baseline, cellKey: string, value: number): void {
  if (baseline.cells[cellKey] !== undefined) return
  const median = emptyMedian()
  addToMedian(median, value)
  baseline.cells[cellKey] = { learnedMs: ENOUGH_MS, median }
  baseline.learnedMs = ENOUGH_MS
}

/**
 * The machine's own normal in this mode and band, or undefined while too little was seen: 50 h of healthy work
 * altogether and 30 values in this cell.
 */
export function baselineOf(baseline: Baseline, cellKey: string): number | undefined {
  const cell = baseline.cells[cellKey]
  if (cell === undefined || baseline.learnedMs < ENOUGH_MS) return undefined
  const enough = cell.median.count >= ENOUGH_VALUES || (cell.learnedMs >= ENOUGH_MS && cell.median.count === 1)
  return enough ? medianOf(cell.median) : undefined
}
