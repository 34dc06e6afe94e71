/**
 * Median of a stream in constant space: the P² algorithm. Exact up to five values; a few outliers do not move it.
 *
 * @see Jain and Chlamtac, The P² algorithm for dynamic calculation of quantiles (1985)
 */
export interface RunningMedian {
  count: number
  /** Heights of the five markers: least, lower quarter, median, upper quarter, greatest. */
  readonly heights: number[]
  /** Their positions among the values seen, from 1. */
  readonly positions: number[]
}

const SHARES = [0, 0.25, 0.5, 0.75, 1] as const

export function emptyMedian(): RunningMedian {
  return { count: 0, heights: [], positions: [] }
}

export function addToMedian(median: RunningMedian, value: number): void {
  const { heights, positions } = median
  median.count++
  if (median.count <= 5) {
    heights.push(value)
    heights.sort((a, b) => a - b)
    positions.push(median.count)
    return
  }
  if (value < at(heights, 0)) heights[0] = value
  if (value > at(heights, 4)) heights[4] = value
  let cell = 0
  while (cell < 3 && value >= at(heights, cell + 1)) cell++
  for (let i = cell + 1; i < 5; i++) positions[i] = at(positions, i) + 1
  for (let i = 1; i < 4; i++) adjust(median, i)
}

/** undefined before the first value. */
export function medianOf({ count, heights }: RunningMedian): number | undefined {
  if (count === 0) return undefined
  return at(heights, count < 5 ? (count - 1) >> 1 : 2)
}

function adjust({ count, heights, positions }: RunningMedian, i: number): void {
  const position = at(positions, i)
  const off = 1 + (count - 1) * at(SHARES, i) - position
  const roomAbove = at(positions, i + 1) - position
  const roomBelow = position - at(positions, i - 1)
  const step = off >= 1 && roomAbove > 1 ? 1 : off <= -1 && roomBelow > 1 ? -1 : 0
  if (step === 0) return
  const height = at(heights, i)
  const above = (at(heights, i + 1) - height) / roomAbove
  const below = (height - at(heights, i - 1)) / roomBelow
  const parabolic =
    height + (step / (roomAbove + roomBelow)) * ((roomBelow + step) * above + (roomAbove - step) * below)
  const between = parabolic > at(heights, i - 1) && parabolic < at(heights, i + 1)
  heights[i] = between ? parabolic : height + step * (step === 1 ? above : below)
  positions[i] = position + step
}

function at(values: readonly number[], i: number): number {
  return values[i] as number
}
