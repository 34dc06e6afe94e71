import { type Kysely, type RawBuilder, type Selectable, sql, type Transaction } from 'kysely'
import { type Decision, recordChange } from '../records/audit.ts'
import { type Page, pageOf } from '../records/page.ts'
import type { QuarantineBulksTable, QuarantineFilter } from '../records/quarantine-tables.ts'
import type { Database } from '../records/tables.ts'
import { typeOfDevice } from './quarantine-groups.ts'

/** One decision on many entries, worked off in the background. */
export interface QuarantineBulk {
  readonly id: number
  readonly action: 'replay' | 'discard'
  readonly filter: QuarantineFilter
  readonly state: 'running' | 'done' | 'cancelled'
  /** Entries replayed or discarded. */
  readonly decided: number
  /** Entries that fit and have no bytes to replay; they stay. */
  readonly skipped: number
  /** Entries that are still to come; null where they were not counted. */
  readonly remaining: number | null
  readonly startedAt: Date
  readonly startedBy: string
  readonly reason: string | null
  readonly endedAt: Date | null
  readonly cancelledBy: string | null
}

/** There is no bulk decision of this number. */
export class BulkUnknown extends Error {
  override readonly name = 'BulkUnknown'
  constructor(id: number) {
    super(`there is no bulk decision ${id}`)
  }
}

/** It is over already. */
export class BulkEnded extends Error {
  override readonly name = 'BulkEnded'
  constructor(id: number, state: string) {
    super(`bulk decision ${id} is ${state} already`)
  }
}

/**
 * Writes a decision down; it is for what is in quarantine now, and not for what comes back of it. One that runs already
 * for the same is answered instead of a second one.
 */
export function startBulk(
  db: Kysely<Database>,
  { action, filter }: Pick<QuarantineBulk, 'action' | 'filter'>,
  decision: Decision,
): Promise<QuarantineBulk> {
  return db.transaction().execute(async (trx) => {
    await sql`lock table quarantine_bulks in share row exclusive mode`.execute(trx) // or two might both find none
    const running = await trx
      .selectFrom('quarantine_bulks')
      .selectAll()
      .where('state', '=', 'running')
      .where('action', '=', action)
      .where(sql<boolean>`filter = ${JSON.stringify(filter)}::jsonb`)
      .executeTakeFirst()
    if (running) return bulkOf(running)

    const newest = await trx
      .selectFrom('quarantine')
      .select((q) => q.fn.max('id').as('id'))
      .executeTakeFirst()
    const bulk = bulkOf(
      await trx
        .insertInto('quarantine_bulks')
        .values({
          action,
          filter: JSON.stringify(filter),
          devices: filter.type === undefined ? null : await devicesOfType(trx, filter.type, decision.now),
          until: newest?.id ?? 0,
          started_at: new Date(decision.now),
          started_by: decision.user,
          reason: decision.reason ?? null,
        })
        .returningAll()
        .executeTakeFirstOrThrow(),
    )
    await recordChange(
      trx,
      { action: `quarantine.bulk_${action}`, subject: String(bulk.id), after: { filter } },
      decision,
    )
    return bulk
  })
}

/** @throws {BulkUnknown} */
export async function bulkById(db: Kysely<Database>, id: number): Promise<QuarantineBulk> {
  const row = await db.selectFrom('quarantine_bulks').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw new BulkUnknown(id)
  if (row.state !== 'running') return bulkOf(row)
  const { rows } = await sql<{ entries: number }>`
    select count(*) as entries from quarantine where ${entriesAhead(row)}`.execute(db)
  return { ...bulkOf(row), remaining: rows[0]?.entries ?? 0 }
}

/** Newest first. */
export async function listBulks(
  db: Kysely<Database>,
  { after, limit }: { readonly after?: number | undefined; readonly limit: number },
): Promise<Page<QuarantineBulk>> {
  let query = db
    .selectFrom('quarantine_bulks')
    .selectAll()
    .orderBy('id', 'desc')
    .limit(limit + 1)
  if (after !== undefined) query = query.where('id', '<', after)
  return pageOf(await query.execute(), limit, bulkOf, ({ id }) => id)
}

/**
 * Ends it where it is; what was decided stays so.
 *
 * @throws {BulkUnknown}
 * @throws {BulkEnded}
 */
export function cancelBulk(db: Kysely<Database>, id: number, decision: Decision): Promise<QuarantineBulk> {
  return db.transaction().execute(async (trx) => {
    const ended = await endBulk(trx, id, 'cancelled', decision)
    if (ended) return ended
    const row = await trx.selectFrom('quarantine_bulks').select('state').where('id', '=', id).executeTakeFirst()
    throw row ? new BulkEnded(id, row.state) : new BulkUnknown(id)
  })
}

async function devicesOfType(trx: Transaction<Database>, type: string | null, now: number): Promise<string[]> {
  const { rows } = await sql<{ device: string }>`
    select distinct device from quarantine_tallies tally
    where held > 0 and (${typeOfDevice('tally.device', now)}) is not distinct from ${type}::text`.execute(trx)
  return rows.map(({ device }) => device)
}

/** Entries that a decision is for and has not come to. */
export function entriesAhead({
  filter,
  devices,
  position,
  until,
}: Pick<Selectable<QuarantineBulksTable>, 'filter' | 'devices' | 'position' | 'until'>): RawBuilder<boolean> {
  const { reason, device, from, to, ids } = filter
  const conditions = [
    sql`state = 'held' and id > ${position} and id <= ${until}`,
    reason !== undefined && sql`reason = ${reason}`,
    device !== undefined && sql`device = ${device}`,
    from !== undefined && sql`received_at >= ${new Date(from)}`,
    to !== undefined && sql`received_at < ${new Date(to)}`,
    ids !== undefined && sql`id = any(${ids}::bigint[])`,
    devices !== null && sql`device = any(${devices}::text[])`,
  ]
  return sql.join(
    conditions.filter((condition) => condition !== false),
    sql` and `,
  )
}

/** Ends a decision that runs, and says in the audit log what it came to. */
export async function endBulk(
  trx: Transaction<Database>,
  id: number,
  state: 'done' | 'cancelled',
  decision: Decision,
): Promise<QuarantineBulk | undefined> {
  const row = await trx
    .updateTable('quarantine_bulks')
    .set({
      state,
      ended_at: new Date(decision.now),
      cancelled_by: state === 'cancelled' ? decision.user : null,
    })
    .where('id', '=', id)
    .where('state', '=', 'running')
    .returningAll()
    .executeTakeFirst()
  if (!row) return undefined
  const { action, decided, skipped } = row
  const change = { action: `quarantine.bulk_${action}.${state}`, subject: String(id), after: { decided, skipped } }
  await recordChange(trx, change, decision)
  return bulkOf(row)
}

function bulkOf(row: Selectable<QuarantineBulksTable>): QuarantineBulk {
  return {
    id: row.id,
    action: row.action,
    filter: row.filter,
    state: row.state,
    decided: row.decided,
    skipped: row.skipped,
    remaining: row.state === 'running' ? null : 0,
    startedAt: row.started_at,
    startedBy: row.started_by,
    reason: row.reason,
    endedAt: row.ended_at,
    cancelledBy: row.cancelled_by,
  }
}
