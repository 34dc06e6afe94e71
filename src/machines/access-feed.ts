import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import type { AccessChange, KnownIdentity } from '../acquire/access-book.ts'
import type { Log } from '../log.ts'
import type { Database } from '../records/tables.ts'
import { limitsOf, noteUse } from './credentials.ts'

export interface AccessFeedParts {
  readonly db: Kysely<Database>
  /** Resolves when the broker has taken it over. */
  readonly push: (change: AccessChange) => Promise<void>
  /** Who has logged in since this was asked last. */
  readonly used: () => Promise<string[]>
  readonly now: () => number
  readonly log: Log
}

/** Tells the broker what the records know of those who may log in. */
export interface AccessFeed {
  /** Resolves when the broker has taken over what was changed. */
  refresh(): Promise<void>
  stop(): Promise<void>
}

/** What somebody else changed, or what could not be told at once, is told so late. */
const POLL_MS = 2_000
/** Bindings that begin or end by themselves are looked for so often: what that changes can wait, and looking costs. */
const EDGES_MS = 60_000

/** Tells everything at once, and from then on what changes. */
export async function startAccessFeed({ db, push, used, now, log }: AccessFeedParts): Promise<AccessFeed> {
  const ending = new AbortController()
  let revision = 0
  let asOf = 0
  let last: Promise<void> = Promise.resolve()

  async function tell(): Promise<void> {
    const at = now()
    if (at - asOf < EDGES_MS && (await newestRevision(db)) === revision) return
    const { change, revision: latest } = await changesAfter(db, { revision, from: asOf, to: at })
    if (change.identities.length > 0 || change.registered.length > 0) await push(change)
    revision = latest
    asOf = at
  }

  /** One after the other: of two answers of the records, the older must not be told last. */
  function refresh(): Promise<void> {
    last = last.catch(() => {}).then(tell)
    return last
  }

  async function follow(): Promise<void> {
    for (;;) {
      await delay(POLL_MS, undefined, { signal: ending.signal }).catch(() => {})
      if (ending.signal.aborted) return
      try {
        await refresh()
        await noteUse(db, await used(), now())
      } catch (error) {
        if (!ending.signal.aborted) log.warn({ err: error }, 'who may log in cannot be read, trying again')
      }
    }
  }

  await refresh()
  const following = follow()
  return {
    refresh,
    async stop() {
      ending.abort()
      await following
    },
  }
}

/** Answered by indexes alone. */
async function newestRevision(db: Kysely<Database>): Promise<number> {
  const { rows } = await sql<{ newest: number | null }>`
    select greatest((select max(revision) from credentials), (select max(revision) from machines),
      (select max(revision) from bindings)) as newest`.execute(db)
  return rows[0]?.newest ?? 0
}

interface Span {
  readonly revision: number
  /** Bindings that began or ended since, epoch ms, exclusive … */
  readonly from: number
  /** … and until then, inclusive. */
  readonly to: number
}

async function changesAfter(
  db: Kysely<Database>,
  { revision, from, to }: Span,
): Promise<{ change: AccessChange; revision: number }> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (trx) => {
      const machines = await trx
        .selectFrom('machines')
        .select(['id', 'revision'])
        .where('revision', '>', revision)
        .execute()
      const bindings = await sql<{ revision: number }>`
        select revision from bindings where revision > ${revision}`.execute(trx)
      const [asOf, at] = [new Date(from), new Date(to)]
      const rows = await trx
        .selectFrom('credentials')
        .selectAll()
        .select(
          sql<string[]>`array(select machine from credential_machines where credential = credentials.id)`.as(
            'assigned',
          ),
        )
        // a device hears what is for the machine that it sits in now
        .select(
          sql<string>`(
            select coalesce(machine.merged_into, machine.id) from machines machine where machine.id = coalesce((
              select binding.machine from bindings binding where binding.device = credentials.id
                and binding.replaced_at is null and coalesce(binding.bound_from, '-infinity') <= ${at}
                and coalesce(binding.bound_to, 'infinity') > ${at} limit 1), credentials.id))`.as('bound'),
        )
        .where(
          sql<boolean>`credentials.revision > ${revision} or (credentials.kind = 'machine' and credentials.id in (
            select device from bindings left join machines on machines.id = bindings.machine
              where bindings.revision > ${revision} or machines.revision > ${revision}
                or (bound_from > ${asOf} and bound_from <= ${at}) or (bound_to > ${asOf} and bound_to <= ${at})
            union all select id from machines where revision > ${revision}))`,
        )
        .execute()
      const identities = rows.map(
        (row): KnownIdentity => ({
          kind: row.kind,
          id: row.id,
          verifier: row.verifier,
          revoked: row.revoked_at !== null,
          limits: limitsOf(row),
          machines: row.kind === 'machine' ? [row.bound ?? row.id] : row.assigned,
        }),
      )
      const seen = [...machines, ...bindings.rows, ...rows].map((row) => row.revision)
      const latest = seen.reduce((highest, each) => Math.max(highest, each), revision)
      return { change: { identities, registered: machines.map(({ id }) => id) }, revision: latest }
    })
}
