import type { Kysely } from 'kysely'
import type { Log } from '../log.ts'
import { pokedRest } from '../poked-rest.ts'
import type { Database } from '../records/tables.ts'
import type { MaintenanceQueue } from './queue.ts'

const batchSize = 100
const dayMs = 86_400_000
const keptMs = 30 * dayMs

export interface OutboxParts {
  readonly db: Kysely<Database>
  readonly queue: MaintenanceQueue
  readonly log: Log
  /** How long rows may wait that nobody announced by `poke`, ms. */
  readonly pollMs?: number
}

export interface Outbox {
  /** Says that there are new rows. */
  poke(): void
  /** Ends after the batch under way. */
  stop(): Promise<void>
}

/**
 * Publishes the rows of the outbox in their order, and marks a row when the queue has confirmed it. A crash between
 * the two publishes it again under the same id: at least once. Errors only delay it.
 */
export function startOutbox({ db, queue, log, pollMs = 5_000 }: OutboxParts): Outbox {
  const stopping = new AbortController()
  const { poke, rest } = pokedRest()

  async function run(): Promise<void> {
    let failures = 0
    let prunedAt = Number.NEGATIVE_INFINITY
    while (!stopping.signal.aborted) {
      try {
        while ((await publishBatch(db, queue)) === batchSize && !stopping.signal.aborted);
        if (performance.now() - prunedAt > dayMs) {
          await prune(db)
          prunedAt = performance.now()
        }
        failures = 0
      } catch (error) {
        failures += 1
        log.warn({ err: error, failures }, 'the outbox cannot publish')
      }
      if (!stopping.signal.aborted) await rest(failures === 0 ? pollMs : Math.min(500 * 2 ** failures, 30_000))
    }
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

/** @returns how many rows were published */
async function publishBatch(db: Kysely<Database>, queue: MaintenanceQueue): Promise<number> {
  const rows = await db
    .selectFrom('outbox')
    .select(['id', 'name', 'payload'])
    .where('published_at', 'is', null)
    .orderBy('position')
    .limit(batchSize)
    .execute()
  if (rows.length === 0) return 0
  await queue.addBulk(rows.map(({ id, name, payload }) => ({ name, data: payload, opts: { jobId: id } })))
  await db
    .updateTable('outbox')
    .set({ published_at: new Date() })
    .where(
      'id',
      'in',
      rows.map(({ id }) => id),
    )
    .execute()
  return rows.length
}

async function prune(db: Kysely<Database>): Promise<void> {
  await db
    .deleteFrom('outbox')
    .where('published_at', '<', new Date(Date.now() - keptMs))
    .execute()
}
