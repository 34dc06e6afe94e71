/** UTC day as YYYY-MM-DD, use on it in the counter's unit, and how many ms of the day that use covers. */
export type UseDay = [day: string, used: number, coveredMs: number]

const DAY_MS = 86_400_000
/** The mean looks back this many days. */
const USE_DAYS = 30
/** Less known time than this says nothing about a usual week. */
const ENOUGH_MS = 7 * DAY_MS

/**
 * Adds what was used between two instants, spread evenly over them. A counter that is read again after a silence of
 * days tells how much those days had in all, so they are known; days that no two readings enclose are not.
 *
 * @param use days in order, changed in place; the last 31 are kept
 * @param used in the counter's unit
 */
export function addUse(use: UseDay[], used: number, from: number, to: number): void {
  if (to <= from) return
  const lastDay = Math.floor((to - 1) / DAY_MS)
  const firstDay = Math.max(lastDay - USE_DAYS, Math.floor(from / DAY_MS))
  for (let day = firstDay; day <= lastDay; day++) {
    const covered = Math.min(to, (day + 1) * DAY_MS) - Math.max(from, day * DAY_MS)
    addToDay(use, dayName(day), (used * covered) / (to - from), covered)
  }
  const oldest = dayName(lastDay - USE_DAYS)
  while (use[0] && use[0][0] < oldest) use.shift()
}

function addToDay(use: UseDay[], name: string, used: number, covered: number): void {
  // nearly always it is the last one: counters move forward in time
  const known = use.findLast(([day]) => day <= name)
  if (known && known[0] === name) {
    known[1] += used
    known[2] += covered
    return
  }
  use.splice(known ? use.indexOf(known) + 1 : 0, 0, [name, used, covered])
}

/**
 * The mean use per day over the last 30 days, from those hours of them that are known. A day without data is unknown,
 * never zero.
 *
 * @param now epoch ms
 * @returns the counter's unit per day of 24 h; undefined when less than 7 days of the 30 are known
 */
export function meanUse(use: readonly UseDay[], now: number): number | undefined {
  const oldest = dayName(Math.floor(now / DAY_MS) - USE_DAYS)
  let used = 0
  let coveredMs = 0
  for (const [day, amount, covered] of use) {
    if (day < oldest) continue
    used += amount
    coveredMs += covered
  }
  return coveredMs >= ENOUGH_MS ? (used / coveredMs) * DAY_MS : undefined
}

const names = new Map<number, string>()

function dayName(day: number): string {
  const known = names.get(day)
  if (known !== undefined) return known
  if (names.size > 1_000) names.clear() // a month is asked for again and again, years only by a long backlog
  const name = new Date(day * DAY_MS).toISOString().slice(0, 10)
  names.set(day, name)
  return name
}
