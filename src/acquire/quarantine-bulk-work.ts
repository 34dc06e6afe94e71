import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, type Selectable, sql } from 'kysely'
import type { Log } from '../log.ts'
import { pokedRest } from '../poked-rest.ts'
import type { QuarantineBulksTable } from '../records/quarantine-tables.ts'
import type { Database } from '../records/tables.ts'
import type { InjectedMessage } from '../threads.ts'
import { inOrderOfIndex, markDecided, replayedReceipt } from './quarantine.ts'
import { endBulk, entriesAhead } from './quarantine-bulk.ts'
import { SpoolHolds } from './spool-holds.ts'

export interface BulkParts {
  readonly db: Kysely<Database>
  /** Puts messages into the spool again, in this order; resolves when they are durable. */
  readonly inject: (messages: readonly InjectedMessage[]) => Promise<void>
  /** Reading sets in the spool that are not judged yet. */
  readonly waiting: () => Promise<number>
  readonly now: () => number
  readonly log: Log
}

export interface BulkWork {
  /** Says that there is something to do. */
  poke(): void
  /** Ends at once; what is under way goes on with the next start. */
  stop(): Promise<void>
}

const ENTRIES_AT_ONCE = 1_000
const BYTES_AT_ONCE = 2 << 20
/** Replayed entries wait in the spool like everything; beyond so many, what machines send would wait too long. */
const MOST_WAITING = 20_000
const POLL_MS = 5_000
const RETRY_MS = 1_000
const WAIT_MS = 100
const SPOOL_HOLDS = new SpoolHolds().name // of an error that comes from another thread only the name is the same

/** Works off bulk decisions on the quarantine one after another, also those that the last process left. */
export function workOffBulks({ db, inject, waiting, now, log }: BulkParts): BulkWork {
  const stopping = new AbortController()
  const stopped = new Promise<never>((_, reject) =>
    stopping.signal.addEventListener('abort', () => reject(new Error('the service stops'))),
  )
  stopped.catch(() => {})
  const { poke, rest } = pokedRest()

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const bulk = await oldestRunning(db)
        if (!bulk) await rest(POLL_MS)
        else if (bulk.action === 'replay' && (await waiting()) > MOST_WAITING) await delay(WAIT_MS)
        else await step(bulk)
      } catch (error) {
        if (stopping.signal.aborted) return
        // that the spool is full is told elsewhere
        const isHeld = error instanceof Error && error.name === SPOOL_HOLDS
        if (!isHeld) log.warn({ err: error }, 'a bulk decision on the quarantine does not go on, trying again')
        await rest(RETRY_MS)
      }
    }
  }

  /**
   * Replays before it notes that it did, and outside of any transaction: a spool that is full must not hold locks for
   * which the stages that empty it wait. What a crash in between replays twice is stored once.
   */
  async function step(bulk: Selectable<QuarantineBulksTable>): Promise<void> {
    const found = await nextEntries(db, bulk)
    const last = found.at(-1)
    if (!last) {
      await db.transaction().execute((trx) => endBulk(trx, bulk.id, 'done', { user: bulk.started_by, now: now() }))
      return
    }
    const replay = bulk.action === 'replay'
    const ids: number[] = []
    const messages: InjectedMessage[] = []
    for (const { id, item, topic, bytes, received_at } of found) {
      if (replay && !bytes) continue
      ids.push(id)
      if (replay && bytes) messages.push({ topic, bytes, receivedAt: replayedReceipt(received_at.getTime(), item) })
    }
    if (messages.length > 0) await Promise.race([inject(messages), stopped])
    await db.transaction().execute(async (trx) => {
      const decision = { user: bulk.started_by, now: now() }
      const decided = await markDecided(trx, ids, replay ? 'replayed' : 'discarded', decision)
      await trx
        .updateTable('quarantine_bulks')
        .set((row) => ({
          position: last.id,
          decided: row('decided', '+', decided),
          skipped: row('skipped', '+', found.length - ids.length),
        }))
        .where('id', '=', bulk.id)
        .execute()
    })
  }

  const running = run()
  return {
    poke,
    async stop() {
      stopping.abort()
      poke()
      await running
    },
  }
}

function oldestRunning(db: Kysely<Database>): Promise<Selectable<QuarantineBulksTable> | undefined> {
  return db
    .selectFrom('quarantine_bulks')
    .selectAll()
    .where('state', '=', 'running')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst()
}

interface EntryAhead {
  readonly id: number
  readonly item: number
  readonly topic: string
  readonly received_at: Date
  /** null where they were given up, and where nothing is to be replayed. */
  readonly bytes: Buffer | null
}

/** At least one, where there is one. */
async function nextEntries(db: Kysely<Database>, bulk: Selectable<QuarantineBulksTable>): Promise<EntryAhead[]> {
  const bytes = bulk.action === 'replay' ? sql`bytes` : sql`null::bytea`
  return db.transaction().execute(async (trx) => {
    await inOrderOfIndex(trx)
    const { rows } = await sql<EntryAhead>`
    select id, item, topic, received_at, bytes from (
      select *, sum(coalesce(length(bytes), 0)) over (order by id) - coalesce(length(bytes), 0) as before from (
        select id, item, topic, received_at, ${bytes} as bytes from quarantine where ${entriesAhead(bulk)}
        order by id limit ${ENTRIES_AT_ONCE}
      ) ahead
    ) counted where before < ${BYTES_AT_ONCE} order by id`.execute(trx)
    return rows
  })
}
