import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from '../records/tables.ts'

/** Readings that belong to another machine than they are stored under. */
export interface HistoryMove {
  readonly from: string
  readonly to: string
  /** Inclusive, epoch ms; undefined: without beginning. */
  readonly measuredFrom: number | undefined
  /** Exclusive, epoch ms; undefined: without end. */
  readonly measuredTo: number | undefined
}

/**
 * Moves stored readings, after making sure that from now on readings are stored under the new machine. It may be
 * called again for the same move.
 */
export type MoveHistory = (move: HistoryMove) => Promise<unknown>

/** Writes down what has to be moved, in the transaction that makes it so. */
export async function planMoves(trx: Transaction<Database>, moves: readonly HistoryMove[]): Promise<void> {
  if (moves.length === 0) return
  const date = (time: number | undefined) => (time === undefined ? null : new Date(time))
  await trx
    .insertInto('history_moves')
    .values(
      moves.map(({ from, to, measuredFrom, measuredTo }) => ({
        from_machine: from,
        to_machine: to,
        measured_from: date(measuredFrom),
        measured_to: date(measuredTo),
      })),
    )
    .execute()
}

/** Makes the moves that are waiting, oldest first: after each change, and at a start, because a crash may have come between. */
export async function finishMoves(db: Kysely<Database>, moveHistory: MoveHistory): Promise<void> {
  const waiting = await db.selectFrom('history_moves').selectAll().where('moved_at', 'is', null).orderBy('id').execute()
  for (const { id, from_machine: from, to_machine: to, measured_from, measured_to } of waiting) {
    await moveHistory({ from, to, measuredFrom: measured_from?.getTime(), measuredTo: measured_to?.getTime() })
    await db.updateTable('history_moves').set({ moved_at: sql<Date>`now()` }).where('id', '=', id).execute()
  }
}
