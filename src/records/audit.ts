import type { Transaction } from 'kysely'
import type { Database } from './tables.ts'

/** Who changes something, why, and when (epoch ms). */
export interface Decision {
  readonly user: string
  readonly reason?: string | undefined
  readonly now: number
}

export interface Change {
  /** What was done: `machine.register`, `rule.override`, … */
  readonly action: string
  /** Id of what it was done to. */
  readonly subject: string
  readonly before?: object | undefined
  readonly after?: object | undefined
}

/** Writes a change into the audit log, in the transaction that makes it. */
export async function recordChange(
  trx: Transaction<Database>,
  { action, subject, before, after }: Change,
  { user, reason, now }: Decision,
): Promise<void> {
  await trx
    .insertInto('audit')
    .values({
      at: new Date(now),
      by: user,
      action,
      subject,
      before: before && JSON.stringify(before),
      after: after && JSON.stringify(after),
      reason: reason ?? null,
    })
    .execute()
}
