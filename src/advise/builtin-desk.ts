import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Database } from '../records/tables.ts'
import type { DeskAnswer, TicketDesk } from './desk.ts'
import type { MaintenanceJob } from './maintenance-job.ts'
import type { TicketsTable } from './tables.ts'
import { addTicketEvent } from './tickets.ts'

const repeatMs = 30 * 86_400_000
const desk = 'desk'

export interface BuiltinDeskParts {
  readonly db: Kysely<Database>
  /** Epoch ms, wall clock. */
  readonly now: () => number
}

/** The service desk that comes with Outrigger: its tickets are records beside the jobs. */
export function builtinDesk({ db, now }: BuiltinDeskParts): TicketDesk {
  return {
    take: (message) => db.transaction().execute((trx) => take(trx, message, new Date(now()))),
    async remind({ id }) {
      await db
        .updateTable('inspections')
        .set({ desk_received_at: new Date(now()) })
        .where('id', '=', id)
        .where('desk_received_at', 'is', null)
        .execute()
    },
  }
}

async function take(trx: Transaction<Database>, message: MaintenanceJob, at: Date): Promise<DeskAnswer> {
  // The lock makes deliveries of one job wait for each other, here and in other processes.
  const job = await trx.selectFrom('jobs').select('state').where('id', '=', message.id).forUpdate().executeTakeFirst()
  const ticket = await trx
    .selectFrom('tickets')
    .selectAll()
    .where('job', '=', message.id)
    .forUpdate()
    .executeTakeFirst()
  const ended = job === undefined || job.state === 'done' || job.state === 'withdrawn'
  if (ended) return { outcome: 'known', ticket: ticket?.id }
  if (ticket) return update(trx, message, ticket, at)

  const atOnce = message.priority === 'P1' || message.priority === 'P2'
  if (!atOnce && !message.accepted) return { outcome: 'proposed', ticket: undefined }
  return open(trx, message, at)
}

async function open(trx: Transaction<Database>, message: MaintenanceJob, at: Date): Promise<DeskAnswer> {
  const repeatOf = await recentlyClosed(trx, message.key, at)
  const ticket = await trx
    .insertInto('tickets')
    .values({
      key: message.key,
      job: message.id,
      machine: message.machine.id,
      component: message.component.id,
      failure_mode: message.failureMode,
      ...contentOf(message),
      repeat_of: repeatOf ?? null,
      created_at: at,
      updated_at: at,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await trx.updateTable('jobs').set({ state: 'ticketed', updated_at: at }).where('id', '=', message.id).execute()
  await addTicketEvent(trx, {
    ticket: ticket.id,
    at,
    kind: 'opened',
    by: message.accepted?.by ?? desk,
    state: 'new',
    note: repeatOf ? `${message.reason.en} (again after ${repeatOf})` : message.reason.en,
  })
  return { outcome: 'opened', ticket: ticket.id }
}

async function update(
  trx: Transaction<Database>,
  message: MaintenanceJob,
  ticket: Selectable<TicketsTable>,
  at: Date,
): Promise<DeskAnswer> {
  if (message.revision <= ticket.revision) return { outcome: 'known', ticket: ticket.id }
  await trx
    .updateTable('tickets')
    .set({ ...contentOf(message), updated_at: at })
    .where('id', '=', ticket.id)
    .execute()
  await addTicketEvent(trx, {
    ticket: ticket.id,
    at,
    kind: 'severity',
    by: desk,
    state: null,
    note: `${ticket.severity} ${ticket.priority} → ${message.severity} ${message.priority}: ${message.reason.en}`,
  })
  return { outcome: 'updated', ticket: ticket.id }
}

/** The columns of a ticket that every message of its job replaces. */
function contentOf({ revision, severity, priority, title, action, reason, parts, warranty, dueAt }: MaintenanceJob) {
  return {
    revision,
    severity,
    priority,
    title: JSON.stringify(title),
    action: JSON.stringify(action),
    reason: JSON.stringify(reason),
    parts: JSON.stringify(parts),
    warranty: warranty.state,
    due_at: new Date(dueAt),
  }
}

async function recentlyClosed(trx: Transaction<Database>, key: string, at: Date): Promise<string | undefined> {
  const before = await trx
    .selectFrom('tickets')
    .select('id')
    .where('key', '=', key)
    .where('state', '=', 'closed')
    .where('closed_at', '>=', new Date(at.getTime() - repeatMs))
    .orderBy('closed_at', 'desc')
    .limit(1)
    .executeTakeFirst()
  return before?.id
}
