/** Times of a machine's past that have to be judged again; JSON, part of its stage state so that a crash loses none. */
export interface LateRange {
  /** Epoch ms, event time, both inclusive. */
  readonly from: number
  readonly to: number
  /** Epoch ms, wall clock: when the first and the last of its readings were received. */
  readonly firstReceivedAt: number
  readonly lastReceivedAt: number
}

/** A backlog has come to rest when nothing was added for so long, */
const RESTED_MS = 2_000
/** and is judged after so long although more is coming. */
const OLD_MS = 10_000
/** Ranges that are nearer to each other than this are judged together. */
const NEAR_MS = 15 * 60_000
/** More than a day's quarter at a time would have to be held in memory. */
const LONGEST_SPAN_MS = 6 * 3_600_000

/** Adds one late reading set; ranges stay apart and in order. */
export function addLate(ranges: readonly LateRange[], measuredAt: number, receivedAt: number): LateRange[] {
  let merged: LateRange = {
    from: measuredAt,
    to: measuredAt,
    firstReceivedAt: receivedAt,
    lastReceivedAt: receivedAt,
  }
  const apart: LateRange[] = []
  for (const range of ranges) {
    if (range.to + NEAR_MS < measuredAt || range.from - NEAR_MS > measuredAt) {
      apart.push(range)
      continue
    }
    merged = {
      from: Math.min(merged.from, range.from),
      to: Math.max(merged.to, range.to),
      firstReceivedAt: Math.min(merged.firstReceivedAt, range.firstReceivedAt),
      lastReceivedAt: Math.max(merged.lastReceivedAt, range.lastReceivedAt),
    }
  }
  return [...apart, merged].sort((a, b) => a.from - b.from)
}

/** Splits the ranges into those to judge now and those that are still growing. @param now epoch ms, wall clock */
export function settledLate(ranges: readonly LateRange[], now: number): { settled: LateRange[]; growing: LateRange[] } {
  const isSettled = ({ firstReceivedAt, lastReceivedAt }: LateRange) =>
    now - lastReceivedAt >= RESTED_MS || now - firstReceivedAt >= OLD_MS
  return {
    settled: ranges.filter(isSettled),
    growing: ranges.filter((range) => !isSettled(range)),
  }
}

/** Cuts a range into pieces that can be judged one after the other, oldest first. */
export function lateSpans({ from, to }: LateRange): { from: number; to: number }[] {
  const spans = []
  for (let start = from; start <= to; start += LONGEST_SPAN_MS)
    spans.push({ from: start, to: Math.min(to, start + LONGEST_SPAN_MS - 1) })
  return spans
}
