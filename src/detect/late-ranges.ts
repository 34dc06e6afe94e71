/** Times of a machine's past that have to be judged again; JSON, part of its stage state so that a crash loses none. */
export interface LateRange {
  /** Epoch ms, event time, both inclusive. */
  readonly from: number
  readonly to: number
  /** Epoch ms, wall clock: when the first and the last of its readings were received. */
  readonly firstReceivedAt: number
  readonly lastReceivedAt: number
}

export interface LateReading {
  readonly measuredAt: number
  readonly receivedAt: number
}

/** A piece of a range that is to be judged now. */
export interface LateSpan {
  /** Epoch ms, event time, both inclusive. */
  readonly from: number
  readonly to: number
  /** When the last reading of its range was received. */
  readonly receivedAt: number
  /** What remains to be judged after it. */
  readonly others: readonly LateRange[]
}

/** A backlog has come to rest when nothing was added for so long, */
const RESTED_MS = 2_000
/** and is judged after so long although more is coming. */
const OLD_MS = 10_000
/** Ranges that are nearer to each other than this are judged together. */
const NEAR_MS = 15 * 60_000
/** More than a day's quarter at a time would have to be held in memory. */
const LONGEST_SPAN_MS = 6 * 3_600_000
/** Readings of years, each far from the next, must not make the state of their machine grow without end. */
const MOST_RANGES = 500

/** Adds late readings; ranges stay apart and in order. */
export function addLate(ranges: readonly LateRange[], late: readonly LateReading[]): readonly LateRange[] {
  if (late.length === 0) return ranges
  const added = late.map(
    ({ measuredAt, receivedAt }): LateRange => ({
      from: measuredAt,
      to: measuredAt,
      firstReceivedAt: receivedAt,
      lastReceivedAt: receivedAt,
    }),
  )
  let joined = [...ranges, ...added].sort((a, b) => a.from - b.from)
  let nearMs = NEAR_MS
  do {
    joined = joinNear(joined, nearMs)
    nearMs *= 2
  } while (joined.length > MOST_RANGES)
  return joined
}

function joinNear(ranges: readonly LateRange[], nearMs: number): LateRange[] {
  const joined: LateRange[] = []
  for (const range of ranges) {
    const before = joined.at(-1)
    if (!before || range.from - before.to > nearMs) {
      joined.push(range)
      continue
    }
    joined[joined.length - 1] = {
      from: before.from,
      to: Math.max(before.to, range.to),
      firstReceivedAt: Math.min(before.firstReceivedAt, range.firstReceivedAt),
      lastReceivedAt: Math.max(before.lastReceivedAt, range.lastReceivedAt),
    }
  }
  return joined
}

/** The oldest piece that can be judged; undefined: all that there is may still grow. @param now epoch ms, wall clock */
export function nextSpan(ranges: readonly LateRange[], now: number): LateSpan | undefined {
  const range = ranges.find(
    ({ firstReceivedAt, lastReceivedAt }) => now - lastReceivedAt >= RESTED_MS || now - firstReceivedAt >= OLD_MS,
  )
  if (!range) return undefined
  const { from, lastReceivedAt: receivedAt } = range
  const to = Math.min(range.to, from + LONGEST_SPAN_MS - 1)
  const others = ranges.flatMap((each) => (each !== range ? [each] : to < range.to ? [{ ...range, from: to + 1 }] : []))
  return { from, to, receivedAt, others }
}
