/** A stretch of time, without a beginning or an end where it is null; its end is outside of it. */
export interface Span {
  readonly from: Date | null
  readonly to: Date | null
}

export function overlap(a: Span, b: Span): boolean {
  return startOf(a) < endOf(b) && startOf(b) < endOf(a)
}

export function startOf({ from }: Span): number {
  return from?.getTime() ?? Number.NEGATIVE_INFINITY
}

export function endOf({ to }: Span): number {
  return to?.getTime() ?? Number.POSITIVE_INFINITY
}
