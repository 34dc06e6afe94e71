import { type Kysely, type Selectable, sql } from 'kysely'
import { z } from 'zod'
import { severity } from '../catalogue/schema.ts'
import { recordChange } from '../records/audit.ts'
import { type Page, pageOf } from '../records/page.ts'
import type { AlarmEventsTable, AlarmState, AlarmsTable, Database } from '../records/tables.ts'

/** There is no alarm of this id. */
export class AlarmUnknown extends Error {
  override readonly name = 'AlarmUnknown'
  constructor(id: string) {
    super(`there is no alarm '${id}'`)
  }
}

/** Only an alarm that nobody has seen yet can be acknowledged. */
export class NothingToAcknowledge extends Error {
  override readonly name = 'NothingToAcknowledge'
  constructor(id: string, state: AlarmState) {
    super(`alarm ${id} is ${state}: there is nothing to acknowledge`)
  }
}

export const alarmStateSchema = z.enum([
  'unacknowledged',
  'acknowledged',
  'returned',
  'normal',
  'shelved',
  'suppressed',
])

export const alarmSchema = z.object({
  id: z.string(),
  machine: z.string(),
  component: z.string(),
  failureMode: z.string(),
  signal: z.string().nullable(),
  rule: z.string(),
  severity,
  state: alarmStateSchema,
  historical: z.boolean().describe('Over for more than 5 min when it was received.'),
  value: z.number().nullable().describe('What was compared when the severity was last decided.'),
  limit: z.number().nullable(),
  unit: z.string().nullable(),
  since: z.string().describe('When the condition began to hold, before its delay.'),
  raisedAt: z.string(),
  clearedAt: z.string().nullable(),
  receivedAt: z.string(),
  acknowledgedAt: z.string().nullable(),
  acknowledgedBy: z.string().nullable(),
  note: z.string().nullable(),
  suppressedBy: z.string().nullable().describe('The state of the machine that silences it.'),
})
export type Alarm = z.infer<typeof alarmSchema>

const alarmEventSchema = z.object({
  kind: z.enum(['raised', 'severity', 'cleared', 'acknowledged', 'suppressed', 'unsuppressed', 'shelved', 'unshelved']),
  at: z.string(),
  severity,
  value: z.number().nullable(),
  limit: z.number().nullable(),
  by: z.string().nullable(),
  note: z.string().nullable(),
})
export type AlarmEvent = z.infer<typeof alarmEventSchema>

export const alarmWithHistorySchema = alarmSchema.extend({ history: z.array(alarmEventSchema) })
export type AlarmWithHistory = z.infer<typeof alarmWithHistorySchema>

export interface AlarmQuery {
  readonly machine?: string | undefined
  readonly state?: AlarmState | undefined
  readonly severity?: Alarm['severity'] | undefined
  /** `next` of the page before. */
  readonly after?: string | undefined
  readonly limit: number
}

/** Alarms, newest first. */
export async function listAlarms(
  db: Kysely<Database>,
  { machine, state, severity, after, limit }: AlarmQuery,
): Promise<Page<Alarm, string>> {
  let query = db
    .selectFrom('alarms')
    .selectAll()
    .orderBy('raised_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit + 1)
  if (machine !== undefined) query = query.where('machine', '=', machine)
  if (state !== undefined) query = query.where('state', '=', state)
  if (severity !== undefined) query = query.where('severity', '=', severity)
  if (after !== undefined) {
    const [at, id] = after.split(' ')
    query = query.where(sql<boolean>`(raised_at, id) < (${new Date(Number(at))}, ${id ?? ''})`)
  }
  return pageOf(await query.execute(), limit, alarmOf, ({ raised_at, id }) => `${raised_at.getTime()} ${id}`)
}

/** @throws {AlarmUnknown} */
export async function alarmWithHistory(db: Kysely<Database>, id: string): Promise<AlarmWithHistory> {
  const row = await db.selectFrom('alarms').selectAll().where('id', '=', id).executeTakeFirst()
  if (row === undefined) throw new AlarmUnknown(id)
  const events = await db
    .selectFrom('alarm_events')
    .selectAll()
    .where('alarm', '=', id)
    .orderBy('at')
    .orderBy('id')
    .execute()
  return { ...alarmOf(row), history: events.map(eventOf) }
}

/**
 * Somebody has seen the alarm and says what they make of it. If it has cleared meanwhile, that is its end.
 *
 * @throws {AlarmUnknown}
 * @throws {NothingToAcknowledge} it was seen before, is over, or is silenced
 */
export function acknowledgeAlarm(
  db: Kysely<Database>,
  id: string,
  { user, note, now }: { readonly user: string; readonly note: string | null; readonly now: number },
): Promise<Alarm> {
  return db.transaction().execute(async (trx) => {
    const before = await trx.selectFrom('alarms').selectAll().where('id', '=', id).forUpdate().executeTakeFirst()
    if (before === undefined) throw new AlarmUnknown(id)
    if (before.state !== 'unacknowledged' && before.state !== 'returned')
      throw new NothingToAcknowledge(id, before.state)
    const at = new Date(now)
    const state = before.state === 'returned' ? 'normal' : 'acknowledged'
    const after = await trx
      .updateTable('alarms')
      .set({ state, acknowledged_at: at, acknowledged_by: user, note, updated_at: at })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow()
    const { severity, value, limit_value } = before
    await trx
      .insertInto('alarm_events')
      .values({ alarm: id, kind: 'acknowledged', at, severity, value, limit_value, by: user, note, created_at: at })
      .execute()
    const change = { before: { state: before.state }, after: { state } }
    await recordChange(
      trx,
      { action: 'alarm.acknowledge', subject: id, ...change },
      { user, reason: note ?? undefined, now },
    )
    return alarmOf(after)
  })
}

function alarmOf(row: Selectable<AlarmsTable>): Alarm {
  return {
    id: row.id,
    machine: row.machine,
    component: row.component,
    failureMode: row.failure_mode,
    signal: row.signal,
    rule: row.rule,
    severity: row.severity,
    state: row.state,
    historical: row.historical,
    value: row.value,
    limit: row.limit_value,
    unit: row.unit,
    since: row.since.toISOString(),
    raisedAt: row.raised_at.toISOString(),
    clearedAt: row.cleared_at?.toISOString() ?? null,
    receivedAt: row.received_at.toISOString(),
    acknowledgedAt: row.acknowledged_at?.toISOString() ?? null,
    acknowledgedBy: row.acknowledged_by,
    note: row.note,
    suppressedBy: row.suppressed_by,
  }
}

function eventOf({ kind, at, severity, value, limit_value, by, note }: Selectable<AlarmEventsTable>): AlarmEvent {
  return { kind, at: at.toISOString(), severity, value, limit: limit_value, by, note }
}
