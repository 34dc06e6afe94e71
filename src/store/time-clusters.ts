/** Where nothing is asked for so long, what is stored there is not read. */
const GAP_MS = 3_600_000
/** A query costs some milliseconds however little it asks for. */
const MOST_CLUSTERS = 32

/**
 * Parts what is asked for by time, at the widest gaps: the store skips what lies outside of the first and the last
 * instant that a query names, so one that is far from the others must not stand in theirs.
 *
 * @returns clusters in order of time, each in order of time
 */
export function timeClusters<T extends { readonly measuredAt: number }>(asked: readonly T[]): T[][] {
  const inOrder = [...asked].sort((a, b) => a.measuredAt - b.measuredAt)
  const gap = (index: number) => (inOrder[index] as T).measuredAt - (inOrder[index - 1] as T).measuredAt
  const cuts = inOrder
    .map((_, index) => index)
    .slice(1)
    .filter((index) => gap(index) > GAP_MS)
    .sort((a, b) => gap(b) - gap(a))
    .slice(0, MOST_CLUSTERS - 1)
    .sort((a, b) => a - b)
  return [0, ...cuts].map((from, cluster) => inOrder.slice(from, cuts[cluster]))
}
