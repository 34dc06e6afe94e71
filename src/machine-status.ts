import { sql, type Transaction } from 'kysely'
import type { LedgerStatus } from './features/hours-ledger.ts'
import { level, type ReadingSet } from './reading.ts'
import type { Database } from './records/tables.ts'

/** What a machine's messages say about where it is and how it is. */
export interface StatusChange {
  readonly machine: string
  /** undefined: nothing was received. */
  readonly receivedAt: number | undefined
  /** undefined: no status message came. */
  readonly online: boolean | undefined
  readonly sets: readonly ReadingSet[]
  readonly hours: LedgerStatus
}

const ROWS_AT_ONCE = 1_000 // a gateway may speak for more machines than a statement has room for

/** Writes what is known of machines, in the transaction of their batch. Older messages change nothing that newer ones said. */
export async function recordStatus(trx: Transaction<Database>, changes: readonly StatusChange[]): Promise<void> {
  for (let from = 0; from < changes.length; from += ROWS_AT_ONCE)
    await writeStatus(trx, changes.slice(from, from + ROWS_AT_ONCE))
}

async function writeStatus(trx: Transaction<Database>, changes: readonly StatusChange[]): Promise<void> {
  const rows = changes.map(({ machine, receivedAt, online, sets, hours }) => {
    const newest = newestOf(sets)
    const position = positionOf(sets)
    return {
      machine,
      last_seen_at: date(receivedAt),
      newest_measured_at: date(newest),
      online: online ?? null,
      latitude: position?.latitude ?? null,
      longitude: position?.longitude ?? null,
      position_at: date(position?.at),
      service_hours: hours.hours ?? null,
      service_hours_source: hours.source ?? null,
      service_hours_at: date(hours.at),
      volume_m3: hours.volumeM3 ?? null,
    }
  })
  await trx
    .insertInto('machine_status')
    .values(rows)
    .onConflict((conflict) =>
      conflict.column('machine').doUpdateSet(({ ref }) => ({
        last_seen_at: sql`greatest(machine_status.last_seen_at, excluded.last_seen_at)`,
        newest_measured_at: sql`greatest(machine_status.newest_measured_at, excluded.newest_measured_at)`,
        // heard after it said that it went: where it is now, its silence will tell
        online: sql`case when excluded.online is null and excluded.newest_measured_at is not null and not machine_status.online
          then null else coalesce(excluded.online, machine_status.online) end`,
        latitude: newerPosition('latitude'),
        longitude: newerPosition('longitude'),
        position_at: newerPosition('position_at'),
        service_hours: ref('excluded.service_hours'),
        service_hours_source: ref('excluded.service_hours_source'),
        service_hours_at: ref('excluded.service_hours_at'),
        volume_m3: ref('excluded.volume_m3'),
      })),
    )
    .execute()
}

function newerPosition<T>(column: string) {
  const [before, after] = [sql.ref(`machine_status.${column}`), sql.ref(`excluded.${column}`)]
  return sql<T>`case when excluded.position_at >= coalesce(machine_status.position_at, '-infinity') then ${after} else ${before} end`
}

function date(at: number | undefined): Date | null {
  return at === undefined ? null : new Date(at)
}

function newestOf(sets: readonly ReadingSet[]): number | undefined {
  let newest: number | undefined
  for (const { measuredAt } of sets) if (newest === undefined || measuredAt > newest) newest = measuredAt
  return newest
}

function positionOf(sets: readonly ReadingSet[]): { latitude: number; longitude: number; at: number } | undefined {
  let found: { latitude: number; longitude: number; at: number } | undefined
  for (const { measuredAt, values } of sets) {
    const latitude = values.get('latitude')
    const longitude = values.get('longitude')
    if (latitude === undefined || longitude === undefined || (found && found.at >= measuredAt)) continue
    found = { latitude: level(latitude), longitude: level(longitude), at: measuredAt }
  }
  return found
}
