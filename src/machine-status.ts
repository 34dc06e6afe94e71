import { sql, type Transaction } from 'kysely'
import type { LedgerHours } from './features/hours-ledger.ts'
import { level, type ReadingSet } from './reading.ts'
import type { Database } from './records/tables.ts'

/** What a machine's messages say about where it is and how it is. */
export interface StatusNews {
  /** Epoch ms; undefined: nothing was received. */
  readonly receivedAt: number | undefined
  /** By the last status message; undefined: none came, or readings came after one that said that it went. */
  readonly online: boolean | undefined
  /** Epoch ms; undefined: no readings came. */
  readonly newestMeasuredAt: number | undefined
  readonly place: { readonly latitude: number; readonly longitude: number; readonly at: number } | undefined
}

export interface StatusChange extends StatusNews {
  readonly machine: string
  readonly hours: LedgerHours
}

export const NO_NEWS: StatusNews = {
  receivedAt: undefined,
  online: undefined,
  newestMeasuredAt: undefined,
  place: undefined,
}

/** What readings say. @param sets of one machine */
export function newsOfSets(sets: readonly ReadingSet[]): Pick<StatusNews, 'newestMeasuredAt' | 'place'> {
  return { newestMeasuredAt: newestOf(sets), place: placeOf(sets) }
}

/** What two pieces of news say together; the second came later. */
export function joinNews(first: StatusNews, second: StatusNews): StatusNews {
  return {
    receivedAt: latest(first.receivedAt, second.receivedAt),
    online: second.online ?? first.online,
    newestMeasuredAt: latest(first.newestMeasuredAt, second.newestMeasuredAt),
    place:
      (second.place?.at ?? Number.NEGATIVE_INFINITY) >= (first.place?.at ?? Number.NEGATIVE_INFINITY)
        ? second.place
        : first.place,
  }
}

function latest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Math.max(a, b)
}

const ROWS_AT_ONCE = 1_000 // a gateway may speak for more machines than a statement has room for

/** Writes what is known of machines, in the transaction of their batch. Older messages change nothing that newer ones said. */
export async function recordStatus(trx: Transaction<Database>, changes: readonly StatusChange[]): Promise<void> {
  for (let from = 0; from < changes.length; from += ROWS_AT_ONCE)
    await writeStatus(trx, changes.slice(from, from + ROWS_AT_ONCE))
}

async function writeStatus(trx: Transaction<Database>, changes: readonly StatusChange[]): Promise<void> {
  const rows = changes.map(({ machine, receivedAt, online, newestMeasuredAt, place, hours }) => ({
    machine,
    last_seen_at: date(receivedAt),
    newest_measured_at: date(newestMeasuredAt),
    online: online ?? null,
    latitude: place?.latitude ?? null,
    longitude: place?.longitude ?? null,
    position_at: date(place?.at),
    service_hours: hours.hours ?? null,
    service_hours_source: hours.source ?? null,
    service_hours_at: date(hours.at),
    volume_m3: hours.volumeM3 ?? null,
  }))
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

function placeOf(sets: readonly ReadingSet[]): StatusNews['place'] {
  let found: StatusNews['place']
  for (const { measuredAt, values } of sets) {
    const latitude = values.get('latitude')
    const longitude = values.get('longitude')
    if (latitude === undefined || longitude === undefined || (found && found.at >= measuredAt)) continue
    found = { latitude: level(latitude), longitude: level(longitude), at: measuredAt }
  }
  return found
}
