import type { Kysely, Selectable, Transaction } from 'kysely'
import { type Decision, recordChange } from '../records/audit.ts'
import { type Page, pageOf } from '../records/page.ts'
import type { Database, QuarantineTable } from '../records/tables.ts'
import type { QuarantineReason } from './message.ts'

/** What could not be used, as it came. */
export interface QuarantineEntry {
  /** Of the message in the spool. */
  readonly position: number
  /** Place of the set in the message; 0 for a message that is kept whole. */
  readonly item: number
  readonly receivedAt: number
  readonly topic: string
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
  readonly reason: string
  readonly detail: string
  readonly state: 'held' | 'replayed' | 'discarded'
  readonly decidedAt: string | null
  readonly decidedBy: string | null
}

export interface QuarantinedBytes extends QuarantinedItem {
  /** base64. */
  readonly bytes: string
}

export interface QuarantineQuery {
  readonly reason?: string | undefined
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

const ROWS_AT_ONCE = 1_000
const BYTES_AT_ONCE = 8 << 20

/** Keeps entries, in the transaction of their batch. One that a repeated judgement brings again is there already. */
export async function keepInQuarantine(trx: Transaction<Database>, entries: readonly QuarantineEntry[]): Promise<void> {
  for (const rows of inParts(entries)) {
    await trx
      .insertInto('quarantine')
      .values(
        rows.map(({ position, item, receivedAt, topic, reason, detail, bytes }) => ({
          position,
          item,
          received_at: new Date(receivedAt),
          topic: storable(topic),
          reason,
          detail: storable(detail).slice(0, 500),
          bytes,
          decided_at: null,
          decided_by: null,
        })),
      )
      .onConflict((conflict) => conflict.columns(['position', 'item']).doNothing())
      .execute()
  }
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
  return text.replaceAll('\0', '\ufffd')
}

/** Newest first; what nobody has decided on unless asked otherwise. */
export async function listQuarantine(
  db: Kysely<Database>,
  { reason, state = 'held', after, limit }: QuarantineQuery,
): Promise<Page<QuarantinedItem>> {
  let query = db
    .selectFrom('quarantine')
    .select(COLUMNS)
    .where('state', '=', state)
    .orderBy('id', 'desc')
    .limit(limit + 1)
  if (reason !== undefined) query = query.where('reason', '=', reason)
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
  return { ...itemOf(row), bytes: row.bytes.toString('base64') }
}

/**
 * The receipt by which the clock of a replayed entry is judged: its own, and for a device without a clock the same
 * time as in the message that it stood in, see `judge-time.ts`.
 */
function replayedReceipt(receivedAt: number, item: number): number {
  return receivedAt + item
}

/**
 * Puts it into the spool again, on its own topic, as a new receipt. Where we stop between the two steps it can be
 * replayed once more, which stores nothing twice.
 *
 * @param inject resolves when the message is durable
 * @throws {QuarantineUnknown}
 * @throws {QuarantineDecided}
 */
export function replayFromQuarantine(
  db: Kysely<Database>,
  id: number,
  decision: Decision,
  inject: (topic: string, bytes: Buffer, receivedAt: number) => Promise<void>,
): Promise<QuarantinedItem> {
  return decide(db, id, 'replayed', decision, ({ topic, bytes, item, received_at }) =>
    inject(topic, bytes, replayedReceipt(received_at.getTime(), item)),
  )
}

/**
 * Marks it as of no use; its bytes stay, so that the record is whole.
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
    const decided = await trx
      .updateTable('quarantine')
      .set({ state, decided_at: new Date(decision.now), decided_by: decision.user })
      .where('id', '=', id)
      .returning(COLUMNS)
      .executeTakeFirstOrThrow()
    await recordChange(trx, { action: `quarantine.${state}`, subject: String(id) }, decision)
    return itemOf(decided)
  })
}

const COLUMNS = ['id', 'received_at', 'topic', 'reason', 'detail', 'state', 'decided_at', 'decided_by'] as const

interface Row {
  readonly id: number
  readonly received_at: Date
  readonly topic: string
  readonly reason: string
  readonly detail: string
  readonly state: QuarantinedItem['state']
  readonly decided_at: Date | null
  readonly decided_by: string | null
}

function itemOf(row: Row): QuarantinedItem {
  return {
    id: row.id,
    receivedAt: row.received_at.toISOString(),
    topic: row.topic,
    reason: row.reason,
    detail: row.detail,
    state: row.state,
    decidedAt: row.decided_at?.toISOString() ?? null,
    decidedBy: row.decided_by,
  }
}
