import type { Kysely } from 'kysely'
import { type Decision, recordChange } from '../records/audit.ts'
import type { Database } from '../records/tables.ts'
import { finishMoves, type MoveHistory, planMoves } from './history-moves.ts'
import { currentMachine, MachineRefused } from './machines.ts'
import { lockRevisions, nextRevision } from './revisions.ts'

/**
 * Says that two machines are one: the devices of `from` speak for `into` from the first to the last, the stored history
 * of `from` is moved to it. Alarms, jobs and tickets keep the id they were made under; `mergedInto` leads on.
 *
 * @throws {MachineUnknown}
 * @throws {MachineRefused} both are the same, or one was merged before
 */
export async function mergeMachines(
  db: Kysely<Database>,
  { from, into }: { readonly from: string; readonly into: string },
  decision: Decision,
  moveHistory: MoveHistory,
): Promise<void> {
  if (from === into) throw new MachineRefused(`'${from}' cannot be merged into itself`)
  await db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const { type, model, state } = await currentMachine(trx, from)
    await currentMachine(trx, into)
    await trx
      .updateTable('machines')
      .set({ merged_into: into, state: 'retired', revision: nextRevision })
      // Those merged into it before go along: one step always leads to the machine that has the history.
      .where((where) => where.or([where('id', '=', from), where('merged_into', '=', from)]))
      .execute()
    const [before, after] = [
      { type, model, state },
      { mergedInto: into, state: 'retired' },
    ]
    await recordChange(trx, { action: 'machine.merge', subject: from, before, after }, decision)
    await planMoves(trx, [{ from, to: into, measuredFrom: undefined, measuredTo: undefined }])
  })
  await finishMoves(db, moveHistory)
}
