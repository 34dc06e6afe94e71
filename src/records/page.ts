/** A page of a list. */
export interface Page<T, K = number> {
  readonly items: T[]
  /** Where the next page begins; null at the end. */
  readonly next: K | null
}

/**
 * Cuts a page out of rows that were asked for one more than `limit`, to see whether there is more.
 *
 * @param shown what the page shows of a row
 * @param keyOf what the next page goes on after
 */
export function pageOf<Row, T, K>(
  rows: readonly Row[],
  limit: number,
  shown: (row: Row) => T,
  keyOf: (row: Row) => K,
): Page<T, K> {
  const last = rows[limit - 1]
  const hasMore = rows.length > limit && last !== undefined
  return { items: rows.slice(0, limit).map((row) => shown(row)), next: hasMore ? keyOf(last) : null }
}
