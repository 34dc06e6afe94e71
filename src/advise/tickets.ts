import type { Kysely, Selectable, Transaction } from 'kysely'
import { z } from 'zod'
import { recordChange } from '../records/audit.ts'
import { type Page, pageOf } from '../records/page.ts'
import type { Database } from '../records/tables.ts'
import { evidenceSchema, jobPartSchema, prioritySchema, textSchema, warrantySchema } from './maintenance-job.ts'
import { type TicketEventsTable, type TicketState, type TicketsTable, ticketStates } from './tables.ts'

/** There is no ticket of this id. */
export class TicketUnknown extends Error {
  override readonly name = 'TicketUnknown'
  constructor(id: string) {
    super(`there is no ticket '${id}'`)
  }
}

/** The ticket is not where it could go on like this; the message says what is possible. */
export class TicketTransitionRefused extends Error {
  override readonly name = 'TicketTransitionRefused'
}

/** A ticket is not cancelled without a reason. */
export class TicketReasonMissing extends Error {
  override readonly name = 'TicketReasonMissing'
  constructor(id: string) {
    super(`cancelling ticket ${id} needs a reason`)
  }
}

const working = ['triaged', 'dispatched', 'accepted', 'en_route', 'on_site', 'waiting_parts', 'repaired'] as const
const aside = ['escalated_region', 'escalated_hq', 'cancelled'] as const

/**
 * Where a ticket can go from each state. The way is the order of `ticketStates`; a fault that is solved by telephone
 * goes from `accepted` to `repaired`, parts may mean a second way to the site. What is checked after the repair is
 * never skipped, and sends the ticket back as `reopened`. A closed ticket stays closed: the same failure opens a new
 * one that is linked to it.
 */
export const ticketTransitions: Readonly<Record<TicketState, readonly TicketState[]>> = {
  new: ['triaged', ...aside],
  triaged: ['dispatched', ...aside],
  dispatched: ['accepted', ...aside],
  accepted: ['en_route', 'waiting_parts', 'repaired', ...aside],
  en_route: ['on_site', ...aside],
  on_site: ['waiting_parts', 'repaired', ...aside],
  waiting_parts: ['en_route', 'on_site', 'repaired', ...aside],
  repaired: ['verified', 'reopened', 'cancelled'],
  verified: ['customer_confirmed', 'reopened', 'cancelled'],
  customer_confirmed: ['callback_done', 'reopened', 'cancelled'],
  callback_done: ['closed', 'reopened', 'cancelled'],
  closed: [],
  escalated_region: [...working, 'escalated_hq', 'cancelled'],
  escalated_hq: [...working, 'cancelled'],
  reopened: ['triaged', 'dispatched', 'accepted', ...aside],
  cancelled: [],
}

export const ticketSchema = z.object({
  id: z.string(),
  key: z.string(),
  job: z.string(),
  machine: z.string(),
  component: z.string(),
  failureMode: z.string(),
  severity: z.enum(['S2', 'S3', 'S4']),
  priority: prioritySchema,
  state: z.enum(ticketStates),
  title: textSchema,
  action: textSchema,
  reason: textSchema,
  evidence: z.array(evidenceSchema),
  alarmIds: z.array(z.string()),
  parts: z.array(jobPartSchema),
  warranty: warrantySchema,
  dueAt: z.string(),
  repeatOf: z.string().nullable().describe('The ticket of the same key that was closed in the 30 days before'),
  createdAt: z.string(),
  updatedAt: z.string(),
  closedAt: z.string().nullable(),
})
export type Ticket = z.infer<typeof ticketSchema>

const ticketEventSchema = z.object({
  at: z.string(),
  kind: z.enum(['opened', 'state', 'severity', 'alarm', 'comment']),
  by: z.string(),
  state: z.enum(ticketStates).nullable(),
  note: z.string().nullable(),
})
export const ticketWithHistorySchema = ticketSchema.extend({ history: z.array(ticketEventSchema) })
export type TicketWithHistory = z.infer<typeof ticketWithHistorySchema>

export interface TicketQuery {
  readonly machine?: string | undefined
  readonly state?: TicketState | undefined
  /** `next` of the page before. */
  readonly after?: number | undefined
  readonly limit: number
}

/** Tickets, newest first. */
export async function listTickets(
  db: Kysely<Database>,
  { machine, state, after, limit }: TicketQuery,
): Promise<Page<Ticket>> {
  let query = selectTickets(db)
    .orderBy('tickets.number', 'desc')
    .limit(limit + 1)
  if (machine !== undefined) query = query.where('tickets.machine', '=', machine)
  if (state !== undefined) query = query.where('tickets.state', '=', state)
  if (after !== undefined) query = query.where('tickets.number', '<', after)
  return pageOf(await query.execute(), limit, ticketOf, ({ number }) => number)
}

/** @throws {TicketUnknown} */
export async function ticketWithHistory(db: Kysely<Database>, id: string): Promise<TicketWithHistory> {
  const row = await selectTickets(db).where('tickets.id', '=', id).executeTakeFirst()
  if (!row) throw new TicketUnknown(id)
  const events = await db.selectFrom('ticket_events').selectAll().where('ticket', '=', id).orderBy('id').execute()
  return {
    ...ticketOf(row),
    history: events.map(({ at, kind, by, state, note }) => ({ at: at.toISOString(), kind, by, state, note })),
  }
}

export interface StateChange {
  readonly state: TicketState
  readonly user: string
  readonly reason?: string | undefined
  /** Epoch ms. */
  readonly now: number
}

/**
 * Moves a ticket on. With `closed` its job is done, with `cancelled` withdrawn, in the same transaction.
 *
 * @throws {TicketUnknown}
 * @throws {TicketTransitionRefused} the state cannot follow on the present one
 * @throws {TicketReasonMissing} it is to be cancelled without a reason
 */
export function changeTicketState(db: Kysely<Database>, id: string, change: StateChange): Promise<TicketWithHistory> {
  const { state, user, reason, now } = change
  return db.transaction().execute(async (trx) => {
    const ticket = await lockTicket(trx, id)
    const possible = ticketTransitions[ticket.state]
    if (!possible.includes(state)) {
      const ways = possible.length === 0 ? 'nothing' : possible.join(', ')
      throw new TicketTransitionRefused(`ticket ${id} is ${ticket.state}: ${state} cannot follow, but ${ways} can`)
    }
    if (state === 'cancelled' && !reason?.trim()) throw new TicketReasonMissing(id)

    const at = new Date(now)
    const ends = state === 'closed' || state === 'cancelled'
    await trx
      .updateTable('tickets')
      .set({ state, updated_at: at, closed_at: ends ? at : null })
      .where('id', '=', id)
      .execute()
    await addTicketEvent(trx, { ticket: id, at, kind: 'state', by: user, state, note: reason ?? null })
    const [before, after] = [{ state: ticket.state }, { state }]
    await recordChange(trx, { action: 'ticket.state', subject: id, before, after }, change)
    if (ends) {
      await trx
        .updateTable('jobs')
        .set({
          state: state === 'closed' ? 'done' : 'withdrawn',
          ended_at: at,
          ended_by: user,
          end_reason: reason ?? `ticket ${id} ${state}`,
          updated_at: at,
        })
        .where('id', '=', ticket.job)
        .execute()
    }
    return ticketWithHistory(trx, id)
  })
}

/** @throws {TicketUnknown} */
export function commentOnTicket(
  db: Kysely<Database>,
  id: string,
  { user, text, now }: { user: string; text: string; now: number },
): Promise<TicketWithHistory> {
  return db.transaction().execute(async (trx) => {
    await lockTicket(trx, id)
    const at = new Date(now)
    await trx.updateTable('tickets').set({ updated_at: at }).where('id', '=', id).execute()
    await addTicketEvent(trx, { ticket: id, at, kind: 'comment', by: user, state: null, note: text })
    await recordChange(trx, { action: 'ticket.comment', subject: id, after: { text } }, { user, now })
    return ticketWithHistory(trx, id)
  })
}

/** Writes into the history of the job's open ticket, where there is one, that a further alarm belongs to it. */
export async function noteAlarmOnTicket(
  trx: Transaction<Database>,
  job: string,
  { alarm, text, now }: { alarm: string; text: string; now: number },
): Promise<void> {
  const ticket = await trx.selectFrom('tickets').select('id').where('job', '=', job).executeTakeFirst()
  if (!ticket) return
  const at = new Date(now)
  await trx.updateTable('tickets').set({ updated_at: at }).where('id', '=', ticket.id).execute()
  await addTicketEvent(trx, {
    ticket: ticket.id,
    at,
    kind: 'alarm',
    by: 'outrigger',
    state: null,
    note: `${alarm}: ${text}`,
  })
}

/** Adds to a ticket's history, in the transaction of what happened. */
export async function addTicketEvent(
  trx: Transaction<Database>,
  event: Omit<Selectable<TicketEventsTable>, 'id'>,
): Promise<void> {
  await trx.insertInto('ticket_events').values(event).execute()
}

/** Everybody locks the job before its ticket, so that nobody waits in a circle. */
async function lockTicket(trx: Transaction<Database>, id: string): Promise<Selectable<TicketsTable>> {
  const owner = await trx.selectFrom('tickets').select('job').where('id', '=', id).executeTakeFirst()
  if (!owner) throw new TicketUnknown(id)
  await trx.selectFrom('jobs').select('id').where('id', '=', owner.job).forUpdate().executeTakeFirstOrThrow()
  return trx.selectFrom('tickets').selectAll().where('id', '=', id).forUpdate().executeTakeFirstOrThrow()
}

function selectTickets(db: Kysely<Database>) {
  // evidence goes on growing with the job; the ticket shows what is known now
  return db
    .selectFrom('tickets')
    .innerJoin('jobs', 'jobs.id', 'tickets.job')
    .selectAll('tickets')
    .select(['jobs.evidence', 'jobs.alarm_ids'])
}

type TicketRow = Awaited<ReturnType<ReturnType<typeof selectTickets>['executeTakeFirstOrThrow']>>

function ticketOf(row: TicketRow): Ticket {
  return {
    id: row.id,
    key: row.key,
    job: row.job,
    machine: row.machine,
    component: row.component,
    failureMode: row.failure_mode,
    severity: row.severity,
    priority: row.priority,
    state: row.state,
    title: row.title,
    action: row.action,
    reason: row.reason,
    evidence: row.evidence,
    alarmIds: row.alarm_ids,
    parts: row.parts,
    warranty: row.warranty,
    dueAt: row.due_at.toISOString(),
    repeatOf: row.repeat_of,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    closedAt: row.closed_at?.toISOString() ?? null,
  }
}
