const DAY_MS = 86_400_000
const QUARTER_MS = 900_000
const MOST_REMEMBERED = 20_000

/** Whether the runtime knows an IANA time zone. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/**
 * How far a zone's clock is ahead of UTC.
 *
 * @returns a function from an instant (epoch ms) to the offset, ms
 * @throws {RangeError} the zone is unknown
 */
export function zoneOffset(timeZone: string): (instant: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    era: 'short',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  return (instant) => {
    const parts: Record<string, string> = {}
    for (const { type, value } of format.formatToParts(instant)) parts[type] = value
    const year = parts.era === 'BC' ? 1 - Number(parts.year) : Number(parts.year)
    const local = new Date(0)
    local.setUTCFullYear(year, Number(parts.month) - 1, Number(parts.day))
    local.setUTCHours(Number(parts.hour), Number(parts.minute), Number(parts.second))
    return local.getTime() - Math.floor(instant / 1000) * 1000
  }
}

/** Asking a zone is slow, and clocks change at quarters of an hour: the answer holds for the whole quarter. */
export function byQuarter(offset: (instant: number) => number): (instant: number) => number {
  const known = new Map<number, number>()
  return (instant) => {
    const quarter = Math.floor(instant / QUARTER_MS)
    const answer = known.get(quarter) ?? offset(instant)
    if (known.size >= MOST_REMEMBERED) known.clear()
    known.set(quarter, answer)
    return answer
  }
}

/**
 * The instants at which a zone's clock shows a time: one as a rule, two in the hour that it repeats, none in one that
 * it skips.
 *
 * @param wall what the clock shows, as epoch ms of the same figures in UTC
 * @param offset of the zone, see `zoneOffset`
 * @returns epoch ms, rising
 */
export function instantsOf(wall: number, offset: (instant: number) => number): number[] {
  const candidates = new Set([wall - offset(wall - DAY_MS), wall - offset(wall + DAY_MS)])
  return [...candidates].filter((instant) => instant + offset(instant) === wall).sort((a, b) => a - b)
}
