import type { InspectionReminder } from './inspection-reminder.ts'
import type { MaintenanceJob } from './maintenance-job.ts'

/** What a desk made of a message: `known` had been seen before, or its job has ended meanwhile. */
export interface DeskAnswer {
  readonly outcome: 'opened' | 'updated' | 'proposed' | 'known'
  /** undefined: the job has no ticket. */
  readonly ticket: string | undefined
}

/** A service desk that takes maintenance jobs. */
export interface TicketDesk {
  /**
   * Opens a ticket for P1 and P2 and for what a person accepted, keeps the rest as a proposal, updates the ticket it
   * has when the message has a higher revision. Messages come at least once and in any order: one key has one open
   * ticket all the same.
   *
   * @throws {DeskRefused} trying again will not help; any other error is worth a retry
   */
  take(job: MaintenanceJob): Promise<DeskAnswer>

  /** Takes note of a visit that is to be planned; twice is the same as once. Throws as `take` does. */
  remind(reminder: InspectionReminder): Promise<void>
}

/** The desk understood the message and will not take it: it must fail, not loop. */
export class DeskRefused extends Error {
  override readonly name = 'DeskRefused'
}
