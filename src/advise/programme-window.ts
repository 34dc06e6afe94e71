import type { Task } from '../catalogue/schema.ts'
import type { DuePoint, Standing } from './programme.ts'
import { calendarPart } from './programme-calendar.ts'
import { type Counter, counterWindow, crossedAt, forecast, WINDOW_PART } from './programme-counter.ts'
import type { InspectionState } from './programme-tables.ts'

const DAY_MS = 86_400_000
/** How far ahead of a date people are told, at most. */
const LEAD_MS = 14 * DAY_MS

/** How a due point stands now. Times are epoch ms; what is not known is undefined. */
export interface Outlook {
  readonly state: Exclude<InspectionState, 'done' | 'skipped'>
  readonly opensHours: number | undefined
  readonly closesHours: number | undefined
  readonly opensM3: number | undefined
  readonly closesM3: number | undefined
  /** When a counter will be there, by its mean use. */
  readonly forecastAt: number | undefined
  /** The first of the calendar's window and, by the mean use, the counter's. */
  readonly windowOpensAt: number | undefined
  /** From and to of what is near, where both are known. */
  readonly nearDates: readonly (readonly [opensAt: number, closesAt: number])[]
  /** It is time to tell people: the window is open, or the date is near. */
  readonly near: boolean
  /** Nothing of this changes before a counter or the clock gets here. */
  readonly nextHours: number | undefined
  readonly nextM3: number | undefined
  readonly nextAt: number | undefined
}

/** How a due point of a task stands: its windows, its forecast, its state, and whether people should be told. */
export function outlook(task: Task, point: DuePoint, standing: Standing): Outlook {
  const hours = counterOutlook(task, point, 'hours', standing.hours, standing.now)
  const volume = counterOutlook(task, point, 'm3', standing.volume, standing.now)
  const date = calendarOutlook(task, point, standing)
  const parts = [hours, volume, date]
  const reached = point.reached !== undefined
  return {
    state: stateOf(point, parts),
    opensHours: hours.opens,
    closesHours: hours.closes,
    opensM3: volume.opens,
    closesM3: volume.closes,
    forecastAt: reached ? undefined : earliest([hours.dueAt, volume.dueAt]),
    windowOpensAt: earliest(parts.map((part) => part.opensAt)),
    nearDates: parts.flatMap(({ near, opensAt, closesAt }) =>
      near && opensAt !== undefined && closesAt !== undefined ? [[opensAt, closesAt] as const] : [],
    ),
    near: !point.unknown && parts.some((part) => part.near),
    nextHours: point.unknown ? undefined : nextAfter(standing.hours?.value ?? 0, hours.steps),
    nextM3: point.unknown ? undefined : nextAfter(standing.volume?.value ?? 0, volume.steps),
    nextAt: point.unknown ? undefined : nextAfter(standing.now, [...hours.tellAt, ...volume.tellAt, ...date.steps]),
  }
}

/** One side of a due point: a counter, or the calendar. `steps` are where something changes, in its own unit. */
interface Side {
  readonly opens: number | undefined
  readonly closes: number | undefined
  readonly opensAt: number | undefined
  readonly closesAt: number | undefined
  readonly dueAt: number | undefined
  readonly open: boolean
  readonly closed: boolean
  readonly near: boolean
  readonly steps: readonly number[]
  /** Date from which people are told ahead. */
  readonly tellAt: readonly number[]
}

const NO_SIDE: Side = {
  opens: undefined,
  closes: undefined,
  opensAt: undefined,
  closesAt: undefined,
  dueAt: undefined,
  open: false,
  closed: false,
  near: false,
  steps: [],
  tellAt: [],
}

function counterOutlook(
  task: Task,
  point: DuePoint,
  unit: 'hours' | 'm3',
  counter: Counter | undefined,
  now: number,
): Side {
  const due = unit === 'hours' ? point.dueHours : point.dueM3
  if (due === undefined) return NO_SIDE
  const interval = point.recurring ? (task.every?.[unit] ?? due) : due - previousPoint(task, unit, due)
  const { before, after } = counterWindow(
    task,
    unit,
    point.recurring ? undefined : point.n - 1,
    point.recurring ? interval : due,
  )
  const [opens, closes] = [due - before, due + after]
  const open = counter !== undefined && counter.value >= opens
  const dueAt = forecast(counter, due, now)
  // half of a short interval is less than two weeks: nobody is told of a point before the one before it is half past
  const halfMs = counter?.perDay ? (interval / 2 / counter.perDay) * DAY_MS : LEAD_MS
  const tellAt = dueAt === undefined ? undefined : dueAt - Math.min(LEAD_MS, halfMs)
  return {
    opens,
    closes,
    opensAt: open ? crossedAt(opens, counter) : forecast(counter, opens, now),
    closesAt: crossedAt(closes, counter) ?? forecast(counter, closes, now),
    dueAt,
    open,
    closed: counter !== undefined && counter.value >= closes,
    near: open || (tellAt !== undefined && now >= tellAt),
    steps: [opens, due, closes],
    tellAt: tellAt === undefined ? [] : [tellAt],
  }
}

function calendarOutlook(task: Task, point: DuePoint, { now, calendar }: Standing): Side {
  const { dueAt, calendarFrom, calendarN } = point
  const span = point.recurring ? (task.calendar ?? task.every) : task.points[point.n - 1]
  const part = span && calendarPart(span)
  if (dueAt === undefined || calendarFrom === undefined || calendarN === undefined || !part) return NO_SIDE
  const previous = point.recurring
    ? calendar.add(calendarFrom, part, calendarN - 1)
    : Math.max(
        calendarFrom,
        ...task.points
          .map((other) => calendarPart(other))
          .map((other) => (other ? calendar.add(calendarFrom, other, 1) : 0))
          .filter((at) => at < dueAt),
      )
  const opensAt = dueAt - Math.min(LEAD_MS, (dueAt - previous) / 2)
  const closesAt = dueAt + Math.min(LEAD_MS, (dueAt - previous) * WINDOW_PART)
  return {
    ...NO_SIDE,
    opensAt,
    closesAt,
    dueAt,
    open: now >= opensAt,
    closed: now >= closesAt,
    near: now >= opensAt,
    steps: [opensAt, dueAt, closesAt],
  }
}

function stateOf(point: DuePoint, parts: readonly Side[]): Outlook['state'] {
  if (point.unknown) return 'unknown'
  if (parts.some((part) => part.closed)) return 'overdue'
  return parts.some((part) => part.open) ? 'open' : 'upcoming'
}

function previousPoint(task: Task, unit: 'hours' | 'm3', due: number): number {
  return Math.max(0, ...task.points.map((point) => point[unit] ?? 0).filter((value) => value < due))
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined)
  return known.length > 0 ? Math.min(...known) : undefined
}

function nextAfter(value: number, steps: readonly number[]): number | undefined {
  return earliest(steps.filter((step) => step > value))
}

/** A point with its outlook, as visits are put together from them. */
export interface Planned {
  readonly task: Task
  readonly point: DuePoint
  readonly outlook: Outlook
}

/**
 * What is to be told now as one visit: every service point that is near and was not told yet, and with them those that
 * fall due within the window of one of them. Points whose windows passed while nobody looked are near too, so they are
 * in the same visit.
 *
 * @returns none when there is nothing to tell
 */
export function nextVisit(planned: readonly Planned[]): Planned[] {
  const untold = planned.filter(
    ({ task, point }) => task.performer === 'service' && !point.unknown && point.remindedAt === undefined,
  )
  const near = untold.filter(({ outlook }) => outlook.near)
  return untold.filter((one) => near.includes(one) || near.some((other) => fallsInto(one, other)))
}

function fallsInto({ point, outlook }: Planned, { outlook: window }: Planned): boolean {
  const date = earliest([point.dueAt, outlook.forecastAt])
  return (
    isWithin(point.dueHours, window.opensHours, window.closesHours) ||
    isWithin(point.dueM3, window.opensM3, window.closesM3) ||
    window.nearDates.some(([opensAt, closesAt]) => isWithin(date, opensAt, closesAt))
  )
}

function isWithin(value: number | undefined, opens: number | undefined, closes: number | undefined): boolean {
  return value !== undefined && opens !== undefined && closes !== undefined && value >= opens && value <= closes
}
