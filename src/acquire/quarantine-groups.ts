import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../records/tables.ts'

/** What is held for one reason from devices of one type. */
export interface QuarantineGroup {
  readonly reason: string
  /** Of the machines for which the senders speak now; null: they speak for none that is known. */
  readonly type: string | null
  /** Senders; 0 where the topics name nobody. */
  readonly devices: number
  /** Those that nobody decided on. */
  readonly entries: number
  /** Of them, those whose bytes were given up. */
  readonly withoutBytes: number
  /** Of the others. */
  readonly bytes: number
  /** Entries of which only the number is left, and when they came. */
  readonly merged: number
  readonly mergedFrom: Date | null
  readonly mergedTo: Date | null
  /** Of what is held; null: only merged ones are left. */
  readonly firstAt: Date | null
  readonly lastAt: Date | null
  /** The newest one. */
  readonly exampleId: number | null
  readonly exampleDevice: string | null
  readonly exampleDetail: string | null
}

/** Everything that is in quarantine, by reason and type of the sending device; the largest groups first. */
export async function groupQuarantine(db: Kysely<Database>, now: number): Promise<QuarantineGroup[]> {
  const { rows } = await sql<QuarantineGroup>`
    with typed as (
      select tally.*, (${typeOfDevice('tally.device', now)}) as type from quarantine_tallies tally
      where held > 0 or merged > 0
    ), spanned as (
      select typed.*, oldest.received_at as first_at, newest.id as newest_id, newest.received_at as last_at
      from typed
      left join lateral (
        select received_at from quarantine q
        where state = 'held' and q.device = typed.device and q.reason = typed.reason order by id limit 1
      ) oldest on true
      left join lateral (
        select id, received_at from quarantine q
        where state = 'held' and q.device = typed.device and q.reason = typed.reason order by id desc limit 1
      ) newest on true
    ), grouped as (
      select reason, type, count(*) filter (where device <> '') as devices, sum(held)::bigint as entries,
        sum(held_without_bytes)::bigint as "withoutBytes", sum(held_bytes)::bigint as bytes,
        sum(merged)::bigint as merged, min(merged_from) as "mergedFrom", max(merged_to) as "mergedTo",
        min(first_at) as "firstAt", max(last_at) as "lastAt", max(newest_id) as "exampleId"
      from spanned group by reason, type
    )
    select grouped.*, nullif(example.device, '') as "exampleDevice", example.detail as "exampleDetail"
    from grouped left join quarantine example on example.id = grouped."exampleId"
    order by entries desc, reason, type`.execute(db)
  return rows
}

/**
 * Type of the machine for which a device speaks at the moment, as a scalar query: what a person sees and changes is the
 * machine, and its type may be named after the entry came.
 *
 * @param column that holds the device
 */
export function typeOfDevice(column: string, now: number): RawBuilder<string | null> {
  const at = new Date(now)
  const device = sql.ref(column)
  return sql`
    select coalesce(heir.type, owner.type) from machines owner left join machines heir on heir.id = owner.merged_into
    where owner.id = coalesce((
      select machine from bindings
      where bindings.device = ${device} and replaced_at is null
        and (bound_from is null or bound_from <= ${at}) and (bound_to is null or bound_to > ${at})
      limit 1
    ), ${device})`
}
