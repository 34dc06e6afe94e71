import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import { type Decision, recordChange } from '../records/audit.ts'
import { type Page, pageOf } from '../records/page.ts'
import type { QuarantineTable } from '../records/quarantine-tables.ts'
import type { Database } from '../records/tables.ts'
import type { QuarantineReason } from './message.ts'

/** What could not be used, as it came. */
export interface QuarantineEntry {
  /** Of the message in the spool. */
  readonly position: number
  /** Place of the set in the message; 0 for a message that is kept whole. */
  readonly item: number
  readonly receivedAt: number
  readonly topic: string
  /** Whose topic it is, or whom a gateway's set names; undefined where nobody is named. */
  readonly device: string | undefined
  readonly reason: QuarantineReason
  /** For the person who looks at it. */
  readonly detail: string
  /** Of the set alone, or of the message where it is kept whole. */
  readonly bytes: Buffer
}

export interface QuarantinedItem {
  readonly id: number
  /** RFC 3339. */
  readonly receivedAt: string
  readonly topic: string
  readonly device: string | null
  readonly reason: string
  readonly detail: string
  /** Of the bytes as they came. */
  readonly size: number
  /** RFC 3339: when the budget was used up and the bytes were given up; null: they are there. */
  readonly bytesDroppedAt: string | null
  readonly state: 'held' | 'replayed' | 'discarded'
  readonly decidedAt: string | null
  readonly decidedBy: string | null
}

export interface QuarantinedBytes extends QuarantinedItem {
  /** base64; null where they were given up. */
  readonly bytes: string | null
}

export interface QuarantineQuery {
  readonly reason?: string | undefined
  readonly device?: string | undefined
  readonly state?: QuarantinedItem['state'] | undefined
  /** Goes on after the item of this id. */
  readonly after?: number | undefined
  readonly limit: number
}

/** Nothing with this id is in quarantine. */
export class QuarantineUnknown extends Error {
  override readonly name = 'QuarantineUnknown'
  constructor(id: number) {
    super(`there is no ${id} in quarantine`)
  }
}

/** Somebody has replayed or discarded it already. */
export class QuarantineDecided extends Error {
  override readonly name = 'QuarantineDecided'
  constructor(id: number, state: string) {
    super(`${id} in quarantine is ${state} already`)
  }
}

/** There is nothing left to replay. */
export class QuarantineBytesGone extends Error {
  override readonly name = 'QuarantineBytesGone'
  constructor(id: number, droppedAt: Date | null) {
    super(`the bytes of ${id} were given up at ${droppedAt?.toISOString()}, when the quarantine's budget was used up`)
  }
}

const ROWS_AT_ONCE = 4_000
const BYTES_AT_ONCE = 8 << 20
const TALLIES_LOCK = 7_215_604 // any number that no other lock has

/**
 * Keeps entries, in the transaction of their batch. One that a repeated judgement brings again is there already, and is
 * not counted again.
 */
export async function keepInQuarantine(trx: Transaction<Database>, entries: readonly QuarantineEntry[]): Promise<void> {
  if (entries.length === 0) return
  await lockTallies(trx)
  for (const part of inParts(entries)) await insert(trx, part)
}

/** One after another, or two transactions that change several tallies could wait for each other. */
export async function lockTallies(trx: Transaction<Database>): Promise<void> {
  await sql`select pg_advisory_xact_lock(${TALLIES_LOCK})`.execute(trx)
}

/**
 * Lets PostgreSQL read the next few entries in the order of an index, until the transaction ends. Where it has no
 * statistics of a table that grows fast, it would rather read all of it and sort.
 */
export async function inOrderOfIndex(trx: Transaction<Database>): Promise<void> {
  await sql`select set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`.execute(trx)
}

/** By column, and the bytes in one piece: a statement with a parameter for each value costs several times as much. */
async function insert(trx: Transaction<Database>, part: readonly QuarantineEntry[]): Promise<void> {
  let start = 1
  const starts = part.map(({ bytes }) => {
    const from = start
    start += bytes.length
    return from
  })
  await sql`
    with kept as (
      insert into quarantine (position, item, received_at, topic, device, reason, detail, size, bytes)
      select position, item, to_timestamp(received / 1000), topic, device, reason, detail, size,
        substring(${Buffer.concat(part.map(({ bytes }) => bytes))}::bytea from start for size)
      from unnest(
        ${part.map(({ position }) => position)}::bigint[], ${part.map(({ item }) => item)}::int[],
        ${part.map(({ receivedAt }) => receivedAt)}::float8[], ${part.map(({ topic }) => storable(topic))}::text[],
        ${part.map(({ device = '' }) => device)}::text[], ${part.map(({ reason }) => reason)}::text[],
        ${part.map(({ detail }) => storable(detail).slice(0, 500))}::text[],
        ${part.map(({ bytes }) => bytes.length)}::int[], ${starts}::int[]
      ) as given (position, item, received, topic, device, reason, detail, size, start)
      on conflict (position, item) do nothing
      returning device, reason, size
    )
    insert into quarantine_tallies as tally (device, reason, held, held_bytes, kept_entries, kept_bytes)
    select device, reason, count(*), sum(size), count(*), sum(size) from kept group by device, reason
    on conflict (device, reason) do update set
      held = tally.held + excluded.held,
      held_bytes = tally.held_bytes + excluded.held_bytes,
      kept_entries = tally.kept_entries + excluded.kept_entries,
      kept_bytes = tally.kept_bytes + excluded.kept_bytes`.execute(trx)
}

function* inParts(entries: readonly QuarantineEntry[]): Generator<QuarantineEntry[]> {
  let part: QuarantineEntry[] = []
  let bytes = 0
  for (const entry of entries) {
    part.push(entry)
    bytes += entry.bytes.length
    if (part.length < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE) continue
    yield part
    part = []
    bytes = 0
  }
  if (part.length > 0) yield part
}

/** PostgreSQL has no NUL in text, and a topic may have one. */
function storable(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text
}

/** Newest first; what nobody has decided on unless asked otherwise. */
export async function listQuarantine(
  db: Kysely<Database>,
  { reason, device, state = 'held', after, limit }: QuarantineQuery,
): Promise<Page<QuarantinedItem>> {
  let query = db
    .selectFrom('quarantine')
    .select(COLUMNS)
    .where('state', '=', state)
    .orderBy('id', 'desc')
    .limit(limit + 1)
  if (reason !== undefined) query = query.where('reason', '=', reason)
  if (device !== undefined) query = query.where('device', '=', device)
  if (after !== undefined) query = query.where('id', '<', after)
  return pageOf(await query.execute(), limit, itemOf, (row) => row.id)
}

/** @throws {QuarantineUnknown} */
export async function quarantinedItem(db: Kysely<Database>, id: number): Promise<QuarantinedBytes> {
  const row = await db
    .selectFrom('quarantine')
    .select([...COLUMNS, 'bytes'])
    .where('id', '=', id)
    .executeTakeFirst()
  if (!row) throw new QuarantineUnknown(id)
  return { ...itemOf(row), bytes: row.bytes?.toString('base64') ?? null }
}

/**
 * The receipt by which the clock of a replayed entry is judged: its own, and for a device without a clock the same
 * time as in the message that it stood in, see `judge-time.ts`.
 */
export function replayedReceipt(receivedAt: number, item: number): number {
  return receivedAt + item
}

/**
 * Puts it into the spool again, on its own topic, as a new receipt. Where we stop between the two steps it can be
 * replayed once more, which stores nothing twice.
 *
 * @param inject resolves when the message is durable
 * @throws {QuarantineUnknown}
 * @throws {QuarantineDecided}
 * @throws {QuarantineBytesGone}
 */
export function replayFromQuarantine(
  db: Kysely<Database>,
  id: number,
  decision: Decision,
  inject: (topic: string, bytes: Buffer, receivedAt: number) => Promise<void>,
): Promise<QuarantinedItem> {
  return decide(db, id, 'replayed', decision, async ({ topic, bytes, item, received_at, bytes_dropped_at }) => {
    if (!bytes) throw new QuarantineBytesGone(id, bytes_dropped_at)
    await inject(topic, bytes, replayedReceipt(received_at.getTime(), item))
  })
}

/**
 * Marks it as of no use; its bytes stay for as long as the budget allows, so that the record is whole.
 *
 * @throws {QuarantineUnknown}
 * @throws {QuarantineDecided}
 */
export function discardFromQuarantine(db: Kysely<Database>, id: number, decision: Decision): Promise<QuarantinedItem> {
  return decide(db, id, 'discarded', decision, async () => {})
}

function decide(
  db: Kysely<Database>,
  id: number,
  state: 'replayed' | 'discarded',
  decision: Decision,
  act: (row: Selectable<QuarantineTable>) => Promise<void>,
): Promise<QuarantinedItem> {
  return db.transaction().execute(async (trx) => {
    const row = await trx.selectFrom('quarantine').selectAll().where('id', '=', id).forUpdate().executeTakeFirst()
    if (!row) throw new QuarantineUnknown(id)
    if (row.state !== 'held') throw new QuarantineDecided(id, row.state)

    await act(row)
    await markDecided(trx, [id], state, decision)
    await recordChange(trx, { action: `quarantine.${state}`, subject: String(id) }, decision)
    return itemOf({ ...row, state, decided_at: new Date(decision.now), decided_by: decision.user })
  })
}

/**
 * Notes what was decided on entries; those on which something was decided already stay as they are.
 *
 * @returns how many there were to decide on
 */
export async function markDecided(
  trx: Transaction<Database>,
  ids: readonly number[],
  state: 'replayed' | 'discarded',
  { user, now }: Pick<Decision, 'user' | 'now'>,
): Promise<number> {
  await lockTallies(trx)
  const { rows } = await sql<{ decided: number }>`
    with decided as (
      update quarantine set state = ${state}, decided_at = ${new Date(now)}, decided_by = ${user}
      where id = any(${ids}::bigint[]) and state = 'held'
      returning device, reason, bytes is null as gone, size
    ), sums as (
      select device, reason, count(*) as entries, count(*) filter (where gone) as gone,
        coalesce(sum(size) filter (where not gone), 0) as bytes
      from decided group by device, reason
    ), tallied as (
      update quarantine_tallies tally set
        held = held - sums.entries,
        held_without_bytes = held_without_bytes - sums.gone,
        held_bytes = held_bytes - sums.bytes
      from sums where tally.device = sums.device and tally.reason = sums.reason
    )
    select coalesce(sum(entries), 0)::bigint as decided from sums`.execute(trx)
  return rows[0]?.decided ?? 0
}

const COLUMNS = [
  'id',
  'received_at',
  'topic',
  'device',
  'reason',
  'detail',
  'size',
  'bytes_dropped_at',
  'state',
  'decided_at',
  'decided_by',
] as const

interface Row {
  readonly id: number
  readonly received_at: Date
  readonly topic: string
  readonly device: string
  readonly reason: string
  readonly detail: string
  readonly size: number
  readonly bytes_dropped_at: Date | null
  readonly state: QuarantinedItem['state']
  readonly decided_at: Date | null
  readonly decided_by: string | null
}

function itemOf(row: Row): QuarantinedItem {
  return {
    id: row.id,
    receivedAt: row.received_at.toISOString(),
    topic: row.topic,
    device: row.device || null,
    reason: row.reason,
    detail: row.detail,
    size: row.size,
    bytesDroppedAt: row.bytes_dropped_at?.toISOString() ?? null,
    state: row.state,
    decidedAt: row.decided_at?.toISOString() ?? null,
    decidedBy: row.decided_by,
  }
}
