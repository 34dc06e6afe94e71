import type { Task } from '../catalogue/schema.ts'
import { type CalendarSpan, calendarPart, type SiteCalendar } from './programme-calendar.ts'
import { type Counter, counterWindow, crossedAt, valueAt } from './programme-counter.ts'

/** More due points of one task than any machine passes at once; beyond it something is wrong with the plan. */
const MOST_PASSED = 5_000

/** Where a machine stands in its programme. Times are epoch ms. */
export interface Standing {
  readonly now: number
  readonly calendar: SiteCalendar
  /** When the machine was handed over: the calendar counts from here. null: not known. */
  readonly deliveredAt: number | null
  /** Since when the programme watches the machine: calendar points before it are unknown. */
  readonly joinedAt: number
  /** undefined: not known yet. */
  readonly hours: Counter | undefined
  readonly volume: Counter | undefined
}

/** How a due point was passed. */
interface Reached {
  readonly by: 'counter' | 'calendar'
  /** Epoch ms. */
  readonly at: number
  readonly hours: number | undefined
  readonly m3: number | undefined
}

/** One time at which a task is due: an item of its own. (task, n) never means another one once it was passed or reminded of. */
export interface DuePoint {
  readonly task: string
  /** From 1: the one-time points in their order, then the recurring ones. */
  readonly n: number
  readonly recurring: boolean
  /** It lay before the machine's first hour reading, or before the programme watched it: nobody knows whether it was done. */
  readonly unknown: boolean
  readonly dueHours: number | undefined
  readonly dueM3: number | undefined
  /** By the calendar, epoch ms. */
  readonly dueAt: number | undefined
  /** The calendar counts `calendarN` intervals from here. */
  readonly calendarFrom: number | undefined
  readonly calendarN: number | undefined
  readonly reached: Reached | undefined
  /** Epoch ms. */
  readonly remindedAt: number | undefined
}

/**
 * The due points of a programme: every one-time point, and of each recurring task what was passed since `kept`, and the
 * next one. Whichever of counter and calendar comes first makes a point due.
 *
 * Points count from the plan: hours and m³ at multiples of the interval; the calendar from delivery, and where the
 * counter was first, from the day it was. A counter point whose window was open when the calendar came first is done
 * with it.
 *
 * @param kept points of the machine that were passed or reminded of: those stay what they are
 */
export function duePoints(
  tasks: ReadonlyMap<string, Task>,
  standing: Standing,
  kept: readonly DuePoint[] = [],
): DuePoint[] {
  return [...tasks].flatMap(([id, task]) => {
    if (task.performer === 'operator') return []
    const own = kept.filter((point) => point.task === id)
    return [...oneTimePoints(id, task, standing, own), ...recurringPoints(id, task, standing, own)]
  })
}

function oneTimePoints(id: string, task: Task, standing: Standing, kept: readonly DuePoint[]): DuePoint[] {
  return task.points.flatMap((span, index) => {
    const n = index + 1
    const known = kept.find((point) => point.n === n && !point.recurring)
    if (known) return [passing(known, standing)]
    const calendar = calendarPart(span)
    const from = standing.deliveredAt ?? undefined
    const dueAt = calendar && from !== undefined ? standing.calendar.add(from, calendar, 1) : undefined
    // counted from a delivery that nobody told us
    if (span.hours === undefined && span.m3 === undefined && dueAt === undefined) return []
    const point: DuePoint = {
      task: id,
      n,
      recurring: false,
      unknown:
        isBefore(span.hours, standing.hours) ||
        isBefore(span.m3, standing.volume) ||
        (dueAt ?? Infinity) < standing.joinedAt,
      dueHours: span.hours,
      dueM3: span.m3,
      dueAt,
      calendarFrom: from,
      calendarN: 1,
      reached: undefined,
      remindedAt: undefined,
    }
    return [passing(point, standing)]
  })
}

function isBefore(due: number | undefined, counter: Counter | undefined): boolean {
  return due !== undefined && counter !== undefined && due < counter.start
}

function passing(point: DuePoint, standing: Standing): DuePoint {
  if (point.unknown || point.reached) return point
  return { ...point, reached: reachedBy(point, standing) }
}

function recurringPoints(id: string, task: Task, standing: Standing, kept: readonly DuePoint[]): DuePoint[] {
  const interval = recurrence(task)
  if (!interval) return []
  const before = kept.filter((point) => point.recurring).sort((a, b) => a.n - b.n)
  const last = before.at(-1)
  const points = before.slice(0, -1)
  let next = last ?? firstPoint(id, task, interval, standing)
  if (!last) points.push(...pointBefore(next, task, interval, standing))

  for (let passed = 0; passed < MOST_PASSED; passed++) {
    const point = passing(next, standing)
    points.push(point)
    if (!point.reached) break
    next = pointAfter(point, point.reached, task, interval, standing)
  }
  return points
}

/** What a recurring task counts: multiples of `every` of a counter, and spans of the calendar. */
interface Recurrence {
  readonly counter: 'hours' | 'm3' | undefined
  readonly every: number
  readonly span: CalendarSpan | undefined
}

function recurrence({ every, calendar }: Task): Recurrence | undefined {
  if (!every && !calendar) return undefined
  const span = (calendar && calendarPart(calendar)) ?? (every && calendarPart(every))
  if (every?.hours !== undefined) return { counter: 'hours', every: every.hours, span }
  if (every?.m3 !== undefined) return { counter: 'm3', every: every.m3, span }
  return { counter: undefined, every: 0, span }
}

function firstPoint(id: string, task: Task, { counter, every, span }: Recurrence, standing: Standing): DuePoint {
  const known = counterOf(counter, standing)
  const oneTime = Math.max(0, ...task.points.map((point) => (counter && point[counter]) ?? 0))
  // a multiple that is a one-time point as well is due once
  const multiple = counter ? Math.max(1, Math.ceil((known?.start ?? 0) / every), Math.floor(oneTime / every) + 1) : 0

  const from = standing.deliveredAt ?? standing.joinedAt
  const times = span && Math.max(firstTimes(task, span, from, standing), 1)
  return {
    task: id,
    n: task.points.length + (counter ? multiple : (times ?? 1)),
    recurring: true,
    unknown: false,
    dueHours: counter === 'hours' ? multiple * every : undefined,
    dueM3: counter === 'm3' ? multiple * every : undefined,
    dueAt: span && times !== undefined ? standing.calendar.add(from, span, times) : undefined,
    calendarFrom: span && from,
    calendarN: times,
    reached: undefined,
    remindedAt: undefined,
  }
}

/** From which interval on the calendar is known, and later than the task's one-time dates. */
function firstTimes(
  task: Task,
  span: CalendarSpan,
  from: number,
  { calendar, joinedAt, deliveredAt }: Standing,
): number {
  const dates = task.points.map((point) => calendarPart(point)).filter((part) => part !== undefined)
  const oneTime = deliveredAt === null ? [] : dates.map((part) => calendar.add(deliveredAt, part, 1) + 1)
  return calendar.timesUntil(from, span, Math.max(joinedAt, ...oneTime))
}

/** The last multiple that lies before the start, so that people see what is unknown. */
function pointBefore(
  first: DuePoint,
  task: Task,
  { counter, every, span }: Recurrence,
  standing: Standing,
): DuePoint[] {
  const known = counterOf(counter, standing)
  const n = first.n - 1
  if (n <= task.points.length) return []
  if (counter && !known) return []
  const due = counter === 'hours' ? first.dueHours : first.dueM3
  if (counter && (due ?? 0) - every >= (known?.start ?? 0)) return []
  const calendar = !counter && span && first.calendarFrom !== undefined && first.calendarN !== undefined
  return [
    {
      ...first,
      n,
      unknown: true,
      dueHours: counter === 'hours' && due !== undefined ? due - every : undefined,
      dueM3: counter === 'm3' && due !== undefined ? due - every : undefined,
      dueAt: calendar ? standing.calendar.add(first.calendarFrom, span, first.calendarN - 1) : undefined,
      calendarN: calendar ? first.calendarN - 1 : undefined,
    },
  ]
}

function pointAfter(
  point: DuePoint,
  reached: Reached,
  task: Task,
  { counter, every, span }: Recurrence,
  standing: Standing,
): DuePoint {
  const value = counter === 'hours' ? reached.hours : reached.m3
  const due = counter === 'hours' ? point.dueHours : point.dueM3
  const restarts = reached.by === 'counter' || point.calendarFrom === undefined || point.calendarN === undefined
  const calendarFrom = restarts ? reached.at : point.calendarFrom
  const calendarN = restarts ? 1 : point.calendarN + 1
  const next =
    counter && nextMultiple(counter, task, every, due, value, reached.by, counterOf(counter, standing)?.start)
  return {
    task: point.task,
    n: point.n + 1,
    recurring: true,
    unknown: false,
    dueHours: counter === 'hours' ? next : undefined,
    dueM3: counter === 'm3' ? next : undefined,
    dueAt: span && standing.calendar.add(calendarFrom, span, calendarN),
    calendarFrom: span && calendarFrom,
    calendarN: span && calendarN,
    reached: undefined,
    remindedAt: undefined,
  }
}

function nextMultiple(
  counter: 'hours' | 'm3',
  task: Task,
  every: number,
  due: number | undefined,
  value: number | undefined,
  by: Reached['by'],
  start: number | undefined,
): number {
  // the calendar may have come first while no counter was known yet
  const first = Math.max(1, Math.ceil((start ?? 0) / every))
  const multiple = Math.max(first, Math.round((due ?? every) / every))
  if (by === 'counter') return Math.max(first, Math.round((due ?? every) / every) + 1) * every
  const { before } = counterWindow(task, counter, undefined, every)
  const done = value !== undefined && value >= multiple * every - before
  return done ? (Math.floor((value + before) / every) + 1) * every : multiple * every
}

/** @returns undefined while neither the counter nor the calendar is there */
function reachedBy(point: DuePoint, standing: Standing): Reached | undefined {
  const { now, hours, volume, joinedAt } = standing
  const crossings = [crossedAt(point.dueHours, hours), crossedAt(point.dueM3, volume)].filter((at) => at !== undefined)
  const earliest = Math.max(joinedAt, point.calendarFrom ?? joinedAt)
  const counterAt = crossings.length > 0 ? Math.min(now, Math.max(earliest, ...crossings)) : undefined
  const calendarAt = point.dueAt !== undefined && point.dueAt <= now ? point.dueAt : undefined
  if (counterAt === undefined && calendarAt === undefined) return undefined

  const by = counterAt !== undefined && counterAt <= (calendarAt ?? Infinity) ? 'counter' : 'calendar'
  const at = (by === 'counter' ? counterAt : calendarAt) ?? now
  const passed = (due: number | undefined, counter: Counter | undefined) =>
    by === 'counter' && due !== undefined ? due : valueAt(counter, at)
  return { by, at, hours: passed(point.dueHours, hours), m3: passed(point.dueM3, volume) }
}

function counterOf(counter: 'hours' | 'm3' | undefined, { hours, volume }: Standing): Counter | undefined {
  if (counter === 'hours') return hours
  return counter === 'm3' ? volume : undefined
}

/** How an operator's task stands: a counter for the cab, never a reminder. */
export interface OperatorTask {
  readonly task: string
  readonly name: Task['name']
  readonly work: Task['work']
  /** The last multiple that was passed; null: before the start, or no hours known. */
  readonly lastHours: number | null
  readonly nextHours: number | null
  readonly remainingHours: number | null
  /** The next date of the calendar, epoch ms. */
  readonly nextAt: number | null
}

/** The operator's tasks of a programme, at multiples of their intervals from zero hours and from delivery. */
export function operatorTasks(tasks: ReadonlyMap<string, Task>, standing: Standing): OperatorTask[] {
  const { hours, calendar, now, joinedAt, deliveredAt } = standing
  return [...tasks].flatMap(([id, task]) => {
    if (task.performer !== 'operator') return []
    const interval = recurrence(task)
    const every = interval?.counter === 'hours' ? interval.every : undefined
    const passed = every && hours ? Math.floor(hours.value / every + 1e-9) * every : undefined
    const from = deliveredAt ?? joinedAt
    const nextHours = passed !== undefined && every ? passed + every : null
    const times = interval?.span && calendar.timesUntil(from, interval.span, now + 1)
    return [
      {
        task: id,
        name: task.name,
        work: task.work,
        lastHours: passed !== undefined && hours && passed > 0 && passed >= hours.start ? passed : null,
        nextHours,
        remainingHours: nextHours !== null && hours ? nextHours - hours.value : null,
        nextAt: interval?.span && times ? calendar.add(from, interval.span, times) : null,
      },
    ]
  })
}
