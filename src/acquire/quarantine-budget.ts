import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from '../records/tables.ts'
import { inOrderOfIndex, lockTallies, type QuarantineEntry } from './quarantine.ts'

/** What a row costs beside its bytes, indexes included; or messages without bytes would cost nothing. */
export const ENTRY_BYTES = 400
const ROWS_AT_ONCE = 5_000
const STEPS_AT_ONCE = 10 // what is left is for after the next batch: the stages must not wait long
/** Freed beyond what is needed, so that not every batch has to. */
const SLACK = 0.01
/** Entries that keep reason, topic and time after their bytes; of what comes beyond only the number is left. */
const STRIPPED_OF_ONE = 1_000
const STRIPPED_OF_ALL = 50_000
const MOST_TALLIES = 50_000
/** A sender below this share of the budget is nobody's flood: then the oldest of all go. */
const LARGE_SHARE = 0.01

interface Usage {
  readonly total: number
  /** The sender that uses most, and how much that is. */
  readonly largest: string
  readonly most: number
}

/**
 * Keeps the quarantine within its budget: the oldest entries of the largest sender lose their bytes. Counts stay exact:
 * what has no row any more is in the tallies as `merged`.
 *
 * @param budgetBytes bytes of entries plus 400 for each
 * @returns how many entries lost their bytes
 */
export async function keepWithinBudget(db: Kysely<Database>, budgetBytes: number, now: number): Promise<number> {
  let stripped = 0
  for (let step = 0; step < STEPS_AT_ONCE; step++) {
    const usage = await usageOf(db)
    if (!usage || usage.total <= budgetBytes) break
    const excess = Math.ceil(usage.total - budgetBytes * (1 - SLACK))
    const sender = usage.most > budgetBytes * LARGE_SHARE ? usage.largest : undefined
    const removed = await db.transaction().execute((trx) => stripOldest(trx, sender, excess, now))
    if (removed === 0) break // somebody decides on them at this moment
    stripped += removed
  }
  return stripped
}

/** Follows what is kept, so that the tallies are asked only when the budget may be used up. */
export function followBudget(db: Kysely<Database>, budgetBytes: number) {
  let atMost: number | undefined // of what is kept; undefined: not asked yet
  return {
    /** To be called when entries were kept. */
    async kept(entries: readonly Pick<QuarantineEntry, 'bytes'>[], now: number): Promise<void> {
      if (atMost !== undefined) for (const { bytes } of entries) atMost += bytes.length + ENTRY_BYTES
      if (entries.length === 0 || (atMost !== undefined && atMost <= budgetBytes)) return
      await keepWithinBudget(db, budgetBytes, now)
      atMost = (await usageOf(db))?.total ?? 0
    },
  }
}

async function usageOf(db: Kysely<Database>): Promise<Usage | undefined> {
  const { rows } = await sql<Usage>`
    select device as largest, sum(kept_bytes + ${ENTRY_BYTES} * kept_entries)::float8 as most,
      sum(sum(kept_bytes + ${ENTRY_BYTES} * kept_entries)) over ()::float8 as total
    from quarantine_tallies group by device order by most desc limit 1`.execute(db)
  return rows[0]
}

/**
 * One step: up to 5,000 entries.
 *
 * @param sender undefined: whoever sent them
 */
async function stripOldest(
  trx: Transaction<Database>,
  sender: string | undefined,
  excess: number,
  now: number,
): Promise<number> {
  await lockTallies(trx)
  await inOrderOfIndex(trx)
  const ofSender = sender === undefined ? sql`` : sql`and device = ${sender}`
  const most = sender === undefined ? STRIPPED_OF_ALL : STRIPPED_OF_ONE
  const found = await sql<{ rows: number }>`
    select count(*) as rows from (select from quarantine where bytes is null ${ofSender} limit ${most}) stripped
  `.execute(trx)
  const room = most - (found.rows[0]?.rows ?? 0)
  const oldest = sql`
    select id from (
      select id, sum(size + ${ENTRY_BYTES}) over (order by id) - size - ${ENTRY_BYTES} as before from (
        select id, size from quarantine where bytes is not null ${ofSender}
        order by id limit ${room > 0 ? Math.min(room, ROWS_AT_ONCE) : ROWS_AT_ONCE} for update skip locked
      ) locked
    ) counted where before < ${excess}`
  const done =
    room > 0
      ? await sql<Stripped>`
        with gone as (
          update quarantine set bytes = null, bytes_dropped_at = ${new Date(now)} where id in (${oldest})
          returning device, reason, state, size, received_at
        ), sums as (${SUMS}), tallied as (
          update quarantine_tallies tally set ${FREED}, held_without_bytes = held_without_bytes + sums.held
          from sums where ${SAME}
        )
        select coalesce(sum(entries), 0)::bigint as stripped from sums`.execute(trx)
      : await sql<Stripped>`
        with gone as (
          delete from quarantine where id in (${oldest}) returning device, reason, state, size, received_at
        ), sums as (${SUMS}), tallied as (
          update quarantine_tallies tally set ${FREED}, held = tally.held - sums.held, merged = merged + entries,
            merged_from = least(merged_from, sums.first), merged_to = greatest(merged_to, sums.last)
          from sums where ${SAME}
        )
        select coalesce(sum(entries), 0)::bigint as stripped from sums`.execute(trx)
  if (room <= 0) await foldTallies(trx)
  return done.rows[0]?.stripped ?? 0
}

interface Stripped {
  readonly stripped: number
}

const SUMS = sql`
  select device, reason, count(*) as entries, sum(size) as bytes, min(received_at) as first, max(received_at) as last,
    count(*) filter (where state = 'held') as held, coalesce(sum(size) filter (where state = 'held'), 0) as held_bytes
  from gone group by device, reason`
const FREED = sql`
  kept_entries = kept_entries - entries, kept_bytes = kept_bytes - bytes, stripped = stripped + entries,
  held_bytes = tally.held_bytes - sums.held_bytes`
const SAME = sql`tally.device = sums.device and tally.reason = sums.reason`

/** Senders under ever new names must not fill the tallies: of those of whom nothing is left the name is forgotten. */
async function foldTallies(trx: Transaction<Database>): Promise<void> {
  await sql`
    with folded as (
      delete from quarantine_tallies
      where held = 0 and kept_entries = 0 and device <> '' and (select count(*) from quarantine_tallies) > ${MOST_TALLIES}
        and not exists (select from quarantine where quarantine.device = quarantine_tallies.device and bytes is null)
      returning *
    )
    insert into quarantine_tallies as tally (device, reason, stripped, merged, merged_from, merged_to)
    select '', reason, sum(stripped), sum(merged), min(merged_from), max(merged_to) from folded group by reason
    on conflict (device, reason) do update set stripped = tally.stripped + excluded.stripped,
      merged = tally.merged + excluded.merged, merged_from = least(tally.merged_from, excluded.merged_from),
      merged_to = greatest(tally.merged_to, excluded.merged_to)`.execute(trx)
}
