/** Times in buckets whose width is at most 1/32 of the time: cheap to note, and of several processes easy to add up. */
export interface LatencyHistogram {
  /** One count per bucket. */
  readonly counts: Uint32Array
  /** @param ms not negative, at most half an hour */
  note(ms: number): void
  add(counts: Uint32Array): void
  /** The time, in ms, that this share of what was noted did not exceed: the upper edge of its bucket; NaN when nothing was noted. */
  percentile(share: number): number
}

const SUB_BUCKETS = 32
const BUCKETS = 27 * SUB_BUCKETS

export function latencyHistogram(): LatencyHistogram {
  const counts = new Uint32Array(BUCKETS)
  return {
    counts,
    note(ms) {
      const bucket = bucketOf(Math.min(ms * 1000, 2 ** 31 - 1) | 0)
      counts[bucket] = (counts[bucket] as number) + 1
    },
    add(others) {
      for (const [bucket, count] of others.entries()) counts[bucket] = (counts[bucket] as number) + count
    },
    percentile(share) {
      const total = counts.reduce((sum, count) => sum + count, 0)
      let left = Math.max(1, Math.ceil(total * share))
      for (const [bucket, count] of counts.entries()) {
        left -= count
        if (left <= 0) return upperEdge(bucket) / 1000
      }
      return Number.NaN
    },
  }
}

/** Single microseconds below 64, then 32 buckets for each doubling. */
function bucketOf(us: number): number {
  if (us < 2 * SUB_BUCKETS) return us
  const shift = 26 - Math.clz32(us)
  return shift * SUB_BUCKETS + (us >>> shift)
}

/** In µs. */
function upperEdge(bucket: number): number {
  if (bucket < 2 * SUB_BUCKETS) return bucket + 1
  const shift = Math.floor(bucket / SUB_BUCKETS) - 1
  return (bucket - shift * SUB_BUCKETS + 1) * 2 ** shift
}
