import type { Kysely, Selectable, Transaction } from 'kysely'
import { type Decision, recordChange } from '../records/audit.ts'
import type { BindingsTable, Database } from '../records/tables.ts'
import { finishMoves, type HistoryMove, type MoveHistory, planMoves } from './history-moves.ts'
import { currentMachine, MachineRefused } from './machines.ts'
import { lockRevisions, nextRevision } from './revisions.ts'
import { endOf, overlap, type Span, startOf } from './span.ts'

/** A device speaks for a machine from one time to another. */
export interface Binding {
  readonly id: number
  readonly device: string
  readonly machine: string
  /** Inclusive; null: without beginning. */
  readonly from: Date | null
  /** Exclusive; null: without end. */
  readonly to: Date | null
  readonly boundBy: string
  readonly reason: string | null
  readonly createdAt: Date
  /** When another binding took its place; null: it holds. */
  readonly replacedAt: Date | null
}

export interface Rebinding {
  readonly binding: Binding
  /** History that was moved to the machine. */
  readonly moved: readonly HistoryMove[]
  /** History that stays: other devices spoke for that machine too, and a stored reading does not say which did. */
  readonly unmoved: readonly HistoryMove[]
}

export type BindingDraft = Pick<Binding, 'device' | 'machine' | 'from' | 'to'>

const DEVICE_ID = /^[A-Za-z0-9._-]{1,64}$/

/**
 * Binds a device to a machine for a span of time; other bindings of the device give way where they overlap. What the
 * device measured in that span before now moves with it.
 *
 * @throws {MachineUnknown}
 * @throws {MachineRefused} the span is empty, the id is none, or the machine was merged into another
 */
export async function bindDevice(
  db: Kysely<Database>,
  draft: BindingDraft,
  decision: Decision,
  moveHistory: MoveHistory,
): Promise<Rebinding> {
  const { device } = draft
  if (!DEVICE_ID.test(device)) throw new MachineRefused(`'${device}' is no device id: 1 to 64 of A–Z a–z 0–9 . _ -`)
  if (startOf(draft) >= endOf(draft)) throw new MachineRefused('a binding begins before it ends')

  const rebinding = await db.transaction().execute((trx) => bindWithin(trx, draft, decision))
  await finishMoves(db, moveHistory)
  return rebinding
}

/**
 * As `bindDevice`, in the transaction that needs it; the history is moved by `finishMoves` afterwards.
 *
 * @param draft a device id, and a span that is not empty
 * @throws {MachineUnknown}
 * @throws {MachineRefused} the machine was merged into another
 */
export async function bindWithin(
  trx: Transaction<Database>,
  draft: BindingDraft,
  decision: Decision,
): Promise<Rebinding> {
  const { device, machine } = draft
  await lockRevisions(trx)
  await currentMachine(trx, machine)
  const overlapped = (await holding(trx, device)).filter((former) => overlap(former, draft))
  for (const former of overlapped) await replace(trx, former, draft, decision)
  const binding = await insert(trx, draft, decision)
  const change = { before: { bindings: overlapped }, after: { binding } }
  await recordChange(trx, { action: 'device.bind', subject: device, ...change }, decision)
  const history = await historyOf(trx, draft, overlapped)
  await planMoves(trx, history.moved)
  return { binding, ...history }
}

export interface BindingQuery {
  readonly device?: string | undefined
  readonly machine?: string | undefined
  /** Also those that another took the place of. */
  readonly replaced?: boolean | undefined
  /** Id of the last binding of the page before. */
  readonly after?: number | undefined
  readonly limit: number
}

/** Bindings in the order they were made, at most `limit`. Where none holds, a device speaks for the machine of its name. */
export async function listBindings(
  db: Kysely<Database>,
  { device, machine, replaced = false, after = 0, limit }: BindingQuery,
): Promise<Binding[]> {
  let query = db.selectFrom('bindings').selectAll().where('id', '>', after).orderBy('id').limit(limit)
  if (device !== undefined) query = query.where('device', '=', device)
  if (machine !== undefined) query = query.where('machine', '=', machine)
  if (!replaced) query = query.where('replaced_at', 'is', null)
  const rows = await query.execute()
  return rows.map(bindingOf)
}

/** Bindings of a device that hold, in order of time; they never overlap. */
async function holding(trx: Transaction<Database>, device: string): Promise<Binding[]> {
  const rows = await trx
    .selectFrom('bindings')
    .selectAll()
    .where('device', '=', device)
    .where('replaced_at', 'is', null)
    .execute()
  return rows.map(bindingOf).sort((a, b) => startOf(a) - startOf(b))
}

/** The row is kept as history; what is left of its time on either side of the new binding becomes rows of its own. */
async function replace(
  trx: Transaction<Database>,
  former: Binding,
  draft: BindingDraft,
  { now }: Decision,
): Promise<void> {
  await trx
    .updateTable('bindings')
    .set({ replaced_at: new Date(now), revision: nextRevision })
    .where('id', '=', former.id)
    .execute()
  const decision = { user: former.boundBy, reason: former.reason ?? undefined, now }
  if (startOf(former) < startOf(draft)) await insert(trx, { ...former, to: draft.from }, decision)
  if (endOf(draft) < endOf(former)) await insert(trx, { ...former, from: draft.to }, decision)
}

async function insert(
  trx: Transaction<Database>,
  { device, machine, from, to }: BindingDraft,
  { user, reason, now }: Decision,
): Promise<Binding> {
  const row = await trx
    .insertInto('bindings')
    .values({
      device,
      machine,
      bound_from: from,
      bound_to: to,
      bound_by: user,
      reason: reason ?? null,
      created_at: new Date(now),
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  return bindingOf(row)
}

/** Whom the device spoke for within the new span, and whether that history is its alone. */
async function historyOf(
  trx: Transaction<Database>,
  draft: BindingDraft,
  overlapped: readonly Binding[],
): Promise<Pick<Rebinding, 'moved' | 'unmoved'>> {
  const moved: HistoryMove[] = []
  const unmoved: HistoryMove[] = []
  for (const { machine, from, to } of formerOwners(draft, overlapped)) {
    const owner = await trx.selectFrom('machines').select('merged_into').where('id', '=', machine).executeTakeFirst()
    const stored = owner?.merged_into ?? machine
    if (stored === draft.machine) continue
    const isAlone = stored === draft.device && !(await othersSpeakFor(trx, stored, { from, to }))
    const list = isAlone ? moved : unmoved
    list.push({ from: stored, to: draft.machine, measuredFrom: from?.getTime(), measuredTo: to?.getTime() })
  }
  return { moved, unmoved }
}

/** The span cut into pieces by whom the device spoke for: where no row held, the machine of its name. */
function formerOwners(draft: BindingDraft, overlapped: readonly Binding[]): (Span & { machine: string })[] {
  const pieces: (Span & { machine: string })[] = []
  let rest: Span = draft
  for (const former of overlapped) {
    if (startOf(rest) < startOf(former)) pieces.push({ machine: draft.device, from: rest.from, to: former.from })
    const from = startOf(rest) < startOf(former) ? former.from : rest.from
    const to = endOf(former) < endOf(draft) ? former.to : draft.to
    pieces.push({ machine: former.machine, from, to })
    rest = { from: to, to: draft.to }
    if (endOf(former) >= endOf(draft)) return pieces
  }
  return [...pieces, { machine: draft.device, from: rest.from, to: rest.to }]
}

/** Whether a device of another name spoke for the machine, be it through one that was merged into it. */
async function othersSpeakFor(trx: Transaction<Database>, machine: string, span: Span): Promise<boolean> {
  const bound = await trx.selectFrom('bindings').selectAll().where('machine', '=', machine).execute()
  if (bound.map(bindingOf).some((other) => other.device !== machine && overlap(other, span))) return true
  const merged = await trx.selectFrom('machines').select('id').where('merged_into', '=', machine).executeTakeFirst()
  return merged !== undefined
}

function bindingOf(row: Selectable<BindingsTable>): Binding {
  return {
    id: row.id,
    device: row.device,
    machine: row.machine,
    from: row.bound_from,
    to: row.bound_to,
    boundBy: row.bound_by,
    reason: row.reason,
    createdAt: row.created_at,
    replacedAt: row.replaced_at,
  }
}
