import { type Kysely, sql } from 'kysely'
import type { Database } from '../records/tables.ts'
import type { DeviceJump } from './clock-book.ts'
import { type DeviceClock, deviceClock } from './device-clock.ts'
import { lengthOf } from './judge-time.ts'

const ROWS_AT_ONCE = 1_000
/** Of a clock that jumps about, so many jumps a day are recorded; all are counted. */
const JUMPS_A_DAY = 10
const HOUR_MS = 3_600_000

type SavedClock = Omit<DeviceClock, 'history'> & { readonly history: readonly (number | null)[] }

/** Receipts that are recorded end here, epoch ms; what lies far ahead of the host's clock is left out. @returns 0 where there is none */
export async function newestReceipt(db: Kysely<Database>, now: number): Promise<number> {
  const { newest } = await db
    .selectFrom('machine_status')
    .select(({ fn }) => fn.max('last_seen_at').as('newest'))
    .where('last_seen_at', '<', new Date(now + HOUR_MS))
    .executeTakeFirstOrThrow()
  return newest?.getTime() ?? 0
}

/** What was known of the clocks of devices when we stopped. */
export async function restoreClocks(db: Kysely<Database>): Promise<[device: string, clock: DeviceClock][]> {
  const rows = await db.selectFrom('device_clocks').selectAll().execute()
  return rows.map(({ device, state }) => [device, restored(state as SavedClock)])
}

/** Writes what is known of clocks. */
export async function saveClocks(
  db: Kysely<Database>,
  clocks: readonly (readonly [device: string, clock: DeviceClock])[],
): Promise<void> {
  const rows = clocks.map(([device, clock]) => ({
    device,
    state: JSON.stringify({ ...clock, history: Array.from(clock.history) }), // NaN becomes null
  }))
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    await db
      .insertInto('device_clocks')
      .values(rows.slice(from, from + ROWS_AT_ONCE))
      .onConflict((conflict) => conflict.column('device').doUpdateSet(({ ref }) => ({ state: ref('excluded.state') })))
      .execute()
  }
}

/** Until it is heard again it says nothing about our clock, which may have been changed meanwhile. */
function restored({ history, ...saved }: SavedClock): DeviceClock {
  const clock = deviceClock()
  for (const [key, value] of Object.entries(saved)) {
    if (value !== null && key in clock) Object.assign(clock, { [key]: value })
  }
  for (const [slot, offset] of history.entries()) clock.history[slot] = offset ?? Number.NaN
  clock.heardAt = Number.NaN
  clock.candidates = 0
  return clock
}

/**
 * Records jumps as doubts about the data of their machines, each once: after a crash the spool tells of them again. A device all of whose readings are refused may have none yet, whose
 * jump is then only counted.
 */
export async function recordJumps(
  db: Kysely<Database>,
  jumps: readonly DeviceJump[],
  machineOf: (device: string, at: number) => string,
): Promise<void> {
  const rows = jumps.map(({ device, at, from, to }) => ({
    machine: machineOf(device, at),
    at: new Date(at).toISOString(),
    offset: to / 1000,
    before: from / 1000,
    detail: `the clock of ${device} was put ${to > from ? 'forward' : 'back'} by ${lengthOf(Math.abs(to - from))}`,
  }))
  await sql`
    insert into data_quality_events (machine, kind, at, value, previous, detail)
    select machine, 'clock_jump', at, "offset", before, detail from (
      select jump.*, row_number() over (partition by machine order by at) + (
        select count(*) from data_quality_events e
        where e.machine = jump.machine and e.kind = 'clock_jump' and e.at > jump.at - interval '1 day'
      ) as number
      from unnest(
        ${rows.map(({ machine }) => machine)}::text[], ${rows.map(({ at }) => at)}::timestamptz[],
        ${rows.map(({ offset }) => offset)}::float8[], ${rows.map(({ before }) => before)}::float8[],
        ${rows.map(({ detail }) => detail)}::text[]
      ) as jump (machine, at, "offset", before, detail)
      where exists (select from machines where id = jump.machine)
        and not exists (
          select from data_quality_events e where e.machine = jump.machine and e.kind = 'clock_jump' and e.at = jump.at)
    ) numbered where number <= ${JUMPS_A_DAY} order by at`.execute(db)
}

/** A jump as it was recorded. Offsets in ms, as in `ClockJump`. */
export interface RecordedJump {
  readonly id: number
  readonly machine: string
  readonly at: Date
  readonly fromMs: number
  readonly toMs: number
  readonly detail: string
}

/** Recorded jumps, newest first, at most `limit`. */
export async function listJumps(
  db: Kysely<Database>,
  { machine, before, limit }: { machine?: string | undefined; before?: number | undefined; limit: number },
): Promise<RecordedJump[]> {
  let query = db
    .selectFrom('data_quality_events')
    .select(['id', 'machine', 'at', 'value', 'previous', 'detail'])
    .where('kind', '=', 'clock_jump')
    .orderBy('id', 'desc')
    .limit(limit)
  if (machine !== undefined) query = query.where('machine', '=', machine)
  if (before !== undefined) query = query.where('id', '<', before)
  const rows = await query.execute()
  return rows.map(({ value, previous, ...jump }) => ({
    ...jump,
    fromMs: Math.round((previous ?? 0) * 1000),
    toMs: Math.round((value ?? 0) * 1000),
  }))
}
