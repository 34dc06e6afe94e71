/** How often a machine sends a signal, learned from the times between its readings. */
export interface Cadence {
  /** The last positive times between readings, ms, as a ring; at most `WINDOW` of them. */
  readonly deltas: number[]
  /** Where the ring goes on. */
  next: number
  /** Median of `deltas`, ms; 0 before the first. */
  expected: number
}

const WINDOW = 8
/** Before so many intervals are known, what the catalogue says or two minutes are believed. */
const ENOUGH = 3
const BELIEVED_MS = 120_000
/** A gap is more than so many expected intervals. */
const GAP_INTERVALS = 3

export function unknownCadence(): Cadence {
  return { deltas: [], next: 0, expected: 0 }
}

/** Takes note of the time between two readings; the median of the last eight is what is expected from then on. */
export function learnInterval(cadence: Cadence, deltaMs: number): void {
  const { deltas, next } = cadence
  const before = deltas[next]
  if (before === deltaMs) {
    cadence.next = (next + 1) % WINDOW
    return
  }
  deltas[next] = deltaMs
  cadence.next = (next + 1) % WINDOW
  cadence.expected = lowerMedian(deltas)
}

/** JSON of a cadence, short where it is steady: the one interval, or where the ring goes on and its intervals. */
export type CadenceState = number | readonly [next: number, ...deltas: number[]]

export function saveCadence({ deltas, next, expected }: Cadence): CadenceState {
  const isSteady = deltas.length === WINDOW && deltas.every((delta) => delta === expected)
  return isSteady ? expected : [next, ...deltas]
}

export function restoreCadence(state: CadenceState): Cadence {
  if (typeof state === 'number') return { deltas: Array(WINDOW).fill(state), next: 0, expected: state }
  const [next, ...deltas] = state
  return { deltas, next, expected: deltas.length === 0 ? 0 : lowerMedian(deltas) }
}

/** Whether enough was seen to say what is expected. */
export function isLearned(cadence: Cadence): boolean {
  return cadence.deltas.length >= ENOUGH
}

/**
 * The longest time between two readings that still counts as without a gap, ms.
 *
 * @param catalogueMs the interval that the catalogue expects; holds, or two minutes, until enough was seen
 */
export function longestWithoutGap(cadence: Cadence, catalogueMs: number): number {
  if (isLearned(cadence)) return GAP_INTERVALS * cadence.expected
  return Math.max(GAP_INTERVALS * catalogueMs, BELIEVED_MS)
}

const scratch = new Float64Array(WINDOW)

/** The lower of the two middle values where their number is even: a long gap must not look like a slow cadence. */
function lowerMedian(values: readonly number[]): number {
  const count = values.length
  for (let i = 0; i < count; i++) {
    const value = values[i] as number
    let at = i
    for (; at > 0 && (scratch[at - 1] as number) > value; at--) scratch[at] = scratch[at - 1] as number
    scratch[at] = value
  }
  return scratch[(count - 1) >> 1] as number
}
