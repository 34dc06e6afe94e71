import type { Span } from '../catalogue/schema.ts'
import { byQuarter, zoneOffset } from '../time-zone.ts'

const DAY_MS = 86_400_000
/** No unit is longer; two days for the clocks that change in between. */
const LONGEST_MS = { days: DAY_MS, weeks: 7 * DAY_MS, months: 31 * DAY_MS, years: 366 * DAY_MS }
const SLACK_MS = 2 * DAY_MS

/** The calendar part of a span or due point. */
export type CalendarSpan = Pick<Span, 'days' | 'weeks' | 'months' | 'years'>

/** undefined when a span counts hours or m³ only. */
export function calendarPart({ days, weeks, months, years }: CalendarSpan): CalendarSpan | undefined {
  const has = [days, weeks, months, years].some((part) => part !== undefined)
  return has ? { days, weeks, months, years } : undefined
}

/** Adds calendar time as people at the site count it. */
export interface SiteCalendar {
  /**
   * @param from epoch ms
   * @param times how often the span is added; months of different length add up without drift, because it is always
   * counted from `from`
   * @returns epoch ms of the same local time of day; a day that the month lacks becomes its last one
   */
  add(from: number, span: CalendarSpan, times: number): number
  /** The smallest `times` of at least 1 for which {@link add} is not before `earliest`. */
  timesUntil(from: number, span: CalendarSpan, earliest: number): number
}

/** @throws {RangeError} the zone is unknown */
export function siteCalendar(timeZone: string): SiteCalendar {
  const offset = byQuarter(zoneOffset(timeZone))

  function add(from: number, { days = 0, weeks = 0, months = 0, years = 0 }: CalendarSpan, times: number): number {
    const local = new Date(from + offset(from))
    const month = local.getUTCMonth() + times * (months + 12 * years)
    const lastOfMonth = new Date(Date.UTC(local.getUTCFullYear(), month + 1, 0)).getUTCDate()
    const day = Math.min(local.getUTCDate(), lastOfMonth) + times * (days + 7 * weeks)
    const timeOfDay = local.getTime() - Date.UTC(local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate())
    const wall = Date.UTC(local.getUTCFullYear(), month, day) + timeOfDay
    // the offset of that day, not of the first one; asked twice, because the guess may lie behind a clock change
    const guess = wall - offset(wall - offset(from))
    return wall - offset(guess)
  }

  return {
    add,
    timesUntil(from, span, earliest) {
      const longest = Object.entries(LONGEST_MS).reduce(
        (sum, [unit, ms]) => sum + ms * (span[unit as keyof CalendarSpan] ?? 0),
        0,
      )
      let times = Math.max(1, Math.floor((earliest - from - SLACK_MS) / longest))
      while (add(from, span, times) < earliest) times++
      return times
    },
  }
}
