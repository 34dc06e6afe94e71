import { type Kysely, type Selectable, sql } from 'kysely'
import { z } from 'zod'
import type { Catalogue } from '../catalogue/catalogue.ts'
import type { Text } from '../catalogue/schema.ts'
import type { Database } from '../records/tables.ts'
import { duePointOf, type Item, iso } from './inspection-visit.ts'
import { standingOf } from './inspections.ts'
import { operatorTasks } from './programme.ts'
import { siteCalendar } from './programme-calendar.ts'
import { type InspectionState, type InspectionsTable, inspectionStates } from './programme-tables.ts'

const inspectionItemSchema = z.object({
  task: z.string(),
  n: z.number(),
  name: z.object({ en: z.string(), zh: z.string() }).nullable().describe('null: the catalogue has the task no more'),
  state: z.enum(inspectionStates),
  dueHours: z.number().nullable(),
  dueM3: z.number().nullable(),
  dueAt: z.string().nullable().describe('By the calendar'),
  forecastAt: z.string().nullable().describe('By the mean use of the last 30 days; null: not known'),
  windowOpensHours: z.number().nullable(),
  windowClosesHours: z.number().nullable(),
})

/** An inspection as the API shows it: one visit of one performer. */
export const inspectionSchema = z.object({
  id: z.string(),
  machine: z.string(),
  tasks: z.array(z.string()).describe('Ids in the catalogue, each once'),
  performer: z.enum(['customer', 'service']),
  state: z.enum(inspectionStates),
  dueHours: z.number().nullable().describe('Service hours; the first of its tasks'),
  dueM3: z.number().nullable(),
  dueAt: z.string().nullable().describe('By calendar or forecast, whichever is first; null: not known'),
  windowOpensAt: z.string().nullable(),
  remindedAt: z.string().nullable(),
  deskReceivedAt: z.string().nullable(),
  items: z.array(inspectionItemSchema),
})
export type Inspection = z.infer<typeof inspectionSchema>

export interface InspectionQuery {
  readonly machine?: string | undefined
  readonly state?: InspectionState | undefined
  readonly performer?: 'customer' | 'service' | undefined
  /** `next` of the page before. */
  readonly after?: string | undefined
  readonly limit: number
}

/** Not a place in the list of inspections. */
class InspectionCursorInvalid extends Error {
  override readonly name = 'InspectionCursorInvalid'
  constructor(cursor: string) {
    super(`'${cursor}' is no place in the list of inspections`)
  }
}

/**
 * Inspections: those that were reminded of, newest first, then the others. Retired machines are left out unless one is
 * asked for.
 *
 * @throws {InspectionCursorInvalid}
 */
export async function listInspections(
  db: Kysely<Database>,
  catalogue: Catalogue,
  { machine, state, performer, after, limit }: InspectionQuery,
): Promise<{ items: Inspection[]; next: string | null }> {
  const place = after === undefined ? undefined : placeOf(after)
  const rows = await db
    .selectFrom('inspections')
    .innerJoin('machines', 'machines.id', 'inspections.machine')
    .selectAll('inspections')
    .select(['type', 'model'])
    .$if(machine !== undefined, (q) => q.where('inspections.machine', '=', machine ?? ''))
    .$if(machine === undefined, (q) => q.where('machines.state', '<>', 'retired'))
    .$if(state !== undefined, (q) => q.where('inspections.state', '=', state ?? 'open'))
    .$if(performer !== undefined, (q) => q.where('performer', '=', performer ?? 'service'))
    .$if(place !== undefined, (q) => q.where(isAfter(place ?? { told: null, number: 0 })))
    .orderBy('reminded_at', (order) => order.desc().nullsLast())
    .orderBy('number')
    .limit(limit + 1)
    .execute()
  const shown = rows.slice(0, limit)
  const items =
    shown.length === 0
      ? []
      : await db
          .selectFrom('inspection_items')
          .selectAll()
          .where(
            'inspection',
            'in',
            shown.map(({ id }) => id),
          )
          .orderBy('due_hours', (order) => order.asc().nullsLast())
          .orderBy('due_at')
          .orderBy('task')
          .orderBy('n')
          .execute()
  const last = shown.at(-1)
  return {
    items: shown.map((row) => {
      const { tasks } = catalogue.profile(row.type, row.model)
      const own = items.filter(({ inspection }) => inspection === row.id)
      return inspectionOf(row, own, (task) => tasks.get(task)?.name ?? null)
    }),
    next: rows.length > limit && last ? `${last.reminded_at?.getTime() ?? ''}:${last.number}` : null,
  }
}

interface Place {
  readonly told: number | null
  readonly number: number
}

function placeOf(cursor: string): Place {
  const match = /^(\d{1,15})?:(\d{1,15})$/.exec(cursor)
  if (!match) throw new InspectionCursorInvalid(cursor)
  return { told: match[1] === undefined ? null : Number(match[1]), number: Number(match[2]) }
}

function isAfter({ told, number }: Place) {
  if (told === null) return sql<boolean>`(reminded_at is null and number > ${number})`
  const at = new Date(told)
  return sql<boolean>`(reminded_at is null or reminded_at < ${at} or (reminded_at = ${at} and number > ${number}))`
}

function inspectionOf(
  row: Selectable<InspectionsTable>,
  items: readonly Item[],
  nameOf: (task: string) => Text | null,
): Inspection {
  return {
    id: row.id,
    machine: row.machine,
    tasks: [...new Set(items.map(({ task }) => task))],
    performer: row.performer,
    state: row.state,
    dueHours: row.due_hours,
    dueM3: row.due_m3,
    dueAt: iso(row.due_at),
    windowOpensAt: iso(row.window_opens_at),
    remindedAt: iso(row.reminded_at),
    deskReceivedAt: iso(row.desk_received_at),
    items: items.map((item) => ({ task: item.task, name: nameOf(item.task), ...duePointOf(item) })),
  }
}

/** The desk has a reminder: noted once, however often it is delivered. */
export async function markReminderReceived(db: Kysely<Database>, inspection: string, now: number): Promise<void> {
  await db
    .updateTable('inspections')
    .set({ desk_received_at: new Date(now) })
    .where('id', '=', inspection)
    .where('desk_received_at', 'is', null)
    .execute()
}

/** A task of the operator, as the API and the machine's advice show it. */
export const operatorTaskSchema = z.object({
  task: z.string(),
  performer: z.literal('operator'),
  name: z.object({ en: z.string(), zh: z.string() }),
  work: z.object({ en: z.string(), zh: z.string() }),
  lastHours: z.number().nullable().describe('The last due point that was passed; null: not known'),
  nextHours: z.number().nullable(),
  remainingHours: z.number().nullable(),
  nextAt: z.string().nullable().describe('By the calendar'),
})
export type OperatorTaskStatus = z.infer<typeof operatorTaskSchema>

/** Counters of the operator's tasks of a machine; none when there is no such machine. They are never reminded of. */
export async function listOperatorTasks(
  db: Kysely<Database>,
  catalogue: Catalogue,
  { machine, now }: { machine: string; now: number },
): Promise<OperatorTaskStatus[]> {
  const row = await db
    .selectFrom('machines')
    .leftJoin('programme_checks', 'programme_checks.machine', 'machines.id')
    .select(['type', 'model', 'time_zone', 'delivered_at', 'joined_at', 'created_at'])
    .where('id', '=', machine)
    .executeTakeFirst()
  if (!row) return []
  const ledger = await db.selectFrom('service_ledgers').selectAll().where('machine', '=', machine).executeTakeFirst()
  const subject = { deliveredAt: row.delivered_at, joinedAt: row.joined_at ?? row.created_at, ledger }
  const standing = standingOf(subject, siteCalendar(row.time_zone), now)
  return operatorTasks(catalogue.profile(row.type, row.model).tasks, standing).map((task) => ({
    ...task,
    performer: 'operator',
    nextAt: task.nextAt === null ? null : new Date(task.nextAt).toISOString(),
  }))
}
