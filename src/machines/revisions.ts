import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { Database } from '../records/tables.ts'

const LOCK = 7_215_604 // any number, as long as it stays the same

/**
 * To be called before a transaction changes machines, bindings or overrides: it lets one of them pass at a time, so
 * that revisions become visible in the order of their numbers. A reader that asks for what is newer misses none.
 */
export async function lockRevisions(trx: Transaction<Database>): Promise<void> {
  await sql`select pg_advisory_xact_lock(${LOCK})`.execute(trx)
}

export const nextRevision: RawBuilder<number> = sql<number>`nextval('machine_revision')`
