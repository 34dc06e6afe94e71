import { type Severity, severityRank } from '../catalogue/schema.ts'
import type { Priority, WarrantyState } from './maintenance-job.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs

export function isWorse(severity: Severity, than: Severity): boolean {
  return severityRank[severity] > severityRank[than]
}

const priorities: Readonly<Record<Severity, Priority>> = { S4: 'P1', S3: 'P2', S2: 'P3', S1: 'P4' }

/** S4 is an emergency, S3 urgent, S2 work for the next visit, S1 a reminder. */
export function priorityOf(severity: Severity): Priority {
  return priorities[severity]
}

/** How long a proposal for the next visit may wait when no visit is known. */
const nextVisitMs = 30 * dayMs

/**
 * When the work has to be done: 24 hours for P1 and P2, the next visit for the rest.
 *
 * @param now epoch ms at which the clock starts
 * @param nextVisitAt epoch ms of the next service visit that is known; one in the past or further away than 30 days does not count
 * @returns epoch ms
 */
export function dueAt(priority: Priority, now: number, nextVisitAt?: number): number {
  if (priority === 'P1' || priority === 'P2') return now + dayMs
  const latest = now + nextVisitMs
  if (nextVisitAt === undefined || nextVisitAt <= now) return latest
  return Math.min(nextVisitAt, latest)
}

export const warrantyHours = 3000

export interface Warranty {
  readonly state: WarrantyState
  /** Epoch ms of the end by the calendar, one year after delivery; null: delivery not known. */
  readonly until: number | null
}

/**
 * Warranty ends one year after delivery or at 3,000 service hours, whichever comes first.
 *
 * @param deliveredAt epoch ms; null: not known
 * @param hours service hours now; null: not known
 * @returns `unknown` where what is missing could have ended it
 */
export function warranty(deliveredAt: number | null, hours: number | null, now: number): Warranty {
  const until = deliveredAt === null ? null : oneYearAfter(deliveredAt)
  if (until !== null && now >= until) return { state: 'expired', until }
  if (hours !== null && hours >= warrantyHours) return { state: 'expired', until }
  if (until === null || hours === null) return { state: 'unknown', until }
  return { state: 'in_warranty', until }
}

function oneYearAfter(instant: number): number {
  const date = new Date(instant)
  const day = date.getUTCDate()
  date.setUTCFullYear(date.getUTCFullYear() + 1)
  // 29 February has no next year's day: the last of the month, not the first of the next
  if (date.getUTCDate() !== day) date.setUTCDate(0)
  return date.getTime()
}
