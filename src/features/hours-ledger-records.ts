import { type Kysely, sql, type Transaction } from 'kysely'
import { recordChange } from '../records/audit.ts'
import type { Database } from '../records/tables.ts'
import type { CounterCorrection, LedgerEvent, LedgerStatus } from './hours-ledger.ts'
import type { DoubtKind, Resolution } from './hours-ledger-counter.ts'

/** The kinds of data-quality events that a person decides about. */
const counterKinds: readonly DoubtKind[] = ['counter_fall', 'counter_jump']
/** Who settled a doubt when nobody had to. */
const ITSELF = 'outrigger'
const HIGHEST_HOURS = 200_000
const HIGHEST_M3 = 10_000_000
const ROWS_AT_ONCE = 1_000 // a statement has room for 65,535 parameters

/** What a ledger has to say: its status where that is worth recording, and what happened. */
export interface LedgerEntry {
  readonly machine: string
  readonly status: LedgerStatus | undefined
  readonly events: readonly LedgerEvent[]
}

export interface CounterDoubt {
  readonly id: number
  readonly machine: string
  readonly signal: string
  readonly kind: DoubtKind
  readonly at: Date
  readonly value: number | null
  readonly previous: number | null
  readonly detail: string
  readonly confirmedAt: Date | null
  readonly confirmedBy: string | null
  readonly resolution: string | null
}

/** No such data-quality event of a counter. */
export class NoSuchDoubt extends Error {
  override readonly name = 'NoSuchDoubt'
  constructor(id: number) {
    super(`there is no counter event ${id}`)
  }
}

/** The doubt was decided before, or settled by itself. */
export class DoubtDecided extends Error {
  override readonly name = 'DoubtDecided'
  constructor(id: number, resolution: string | null) {
    super(`counter event ${id} is decided already: ${resolution ?? 'nothing said'}`)
  }
}

/** A decision or a meter reading that cannot be. */
export class CorrectionInvalid extends Error {
  override readonly name = 'CorrectionInvalid'
}

/** Writes what ledgers say, within the transaction that also keeps their state. Safe to run twice. */
export async function recordLedgers(
  trx: Transaction<Database>,
  entries: readonly LedgerEntry[],
  now: number,
): Promise<void> {
  const rows = entries.flatMap(({ machine, status }) => (status ? [ledgerRow(machine, status)] : []))
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    await trx
      .insertInto('service_ledgers')
      .values(rows.slice(from, from + ROWS_AT_ONCE))
      .onConflict((conflict) =>
        conflict.column('machine').doUpdateSet(({ ref }) => ({
          hours: ref('excluded.hours'),
          source: ref('excluded.source'),
          at: ref('excluded.at'),
          start_hours: ref('excluded.start_hours'),
          start_at: ref('excluded.start_at'),
          volume_m3: ref('excluded.volume_m3'),
          start_volume_m3: ref('excluded.start_volume_m3'),
          hours_use: ref('excluded.hours_use'),
          volume_use: ref('excluded.volume_use'),
          counters: ref('excluded.counters'),
        })),
      )
      .execute()
  }
  for (const { machine, events } of entries) {
    for (const event of events) await recordEvent(trx, machine, event, now)
  }
}

async function recordEvent(
  trx: Transaction<Database>,
  machine: string,
  event: LedgerEvent,
  now: number,
): Promise<void> {
  if (event.type === 'doubt') {
    const { signal, kind, value, previous, detail } = event
    await trx
      .insertInto('data_quality_events')
      .values({ machine, signal, kind, at: new Date(event.at), value, previous, detail })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
    return
  }
  await trx
    .updateTable('data_quality_events')
    .set({ confirmed_at: new Date(now), confirmed_by: ITSELF, resolution: 'came_back' })
    .where('machine', '=', machine)
    .where('signal', '=', event.signal)
    .where('kind', '=', event.kind)
    .where('at', '=', new Date(event.at))
    .where('confirmed_at', 'is', null)
    .execute()
}

function ledgerRow(machine: string, status: LedgerStatus) {
  const date = (at: number | undefined) => (at === undefined ? null : new Date(at))
  return {
    machine,
    hours: status.hours ?? null,
    source: status.source ?? null,
    at: date(status.at),
    start_hours: status.start?.hours ?? null,
    start_at: date(status.start?.at),
    volume_m3: status.volumeM3 ?? null,
    start_volume_m3: status.startVolumeM3 ?? null,
    hours_use: JSON.stringify(status.hoursUse),
    volume_use: JSON.stringify(status.volumeUse),
    counters: JSON.stringify(status.counters),
  }
}

export interface CounterDecision {
  /** Id of the data-quality event. */
  readonly event: number
  /** `accept`: the counter is right; `continue`: go on from the last good value; `set`: it was `value` then. */
  readonly resolution: Resolution
  readonly value?: number | undefined
  readonly by: string
  readonly note?: string | undefined
  readonly now: number
}

/**
 * Somebody decides about a counter that fell or jumped. The ledger takes it over soon after.
 *
 * @throws {NoSuchDoubt}
 * @throws {DoubtDecided}
 * @throws {CorrectionInvalid} `set` without a value that a counter can have
 */
export async function confirmCounter(db: Kysely<Database>, decision: CounterDecision): Promise<void> {
  const { event, resolution, by, note = null, now } = decision
  const value = resolution === 'set' ? decision.value : undefined
  await db.transaction().execute(async (trx) => {
    const doubt = await trx
      .selectFrom('data_quality_events')
      .selectAll()
      .where('id', '=', event)
      .where('kind', 'in', counterKinds)
      .forUpdate()
      .executeTakeFirst()
    if (!doubt || doubt.signal === null) throw new NoSuchDoubt(event)
    if (doubt.confirmed_at) throw new DoubtDecided(event, doubt.resolution)
    if (resolution === 'set') checkValue(value, doubt.signal.endsWith('_m3') ? HIGHEST_M3 : HIGHEST_HOURS)

    await trx
      .updateTable('data_quality_events')
      .set({ confirmed_at: new Date(now), confirmed_by: by, resolution })
      .where('id', '=', event)
      .execute()
    const { machine, signal, at } = doubt
    await trx
      .insertInto('counter_corrections')
      .values({ machine, kind: 'doubt', event, signal, resolution, value: value ?? null, at, by, note })
      .execute()
    const change = { action: 'counter.confirm', subject: machine, after: { event, signal, resolution, value } }
    await recordChange(trx, change, { user: by, reason: note ?? undefined, now })
  })
}

export interface MeterReading {
  readonly machine: string
  readonly hours: number
  /** When the meter was read, epoch ms. */
  readonly at: number
  readonly by: string
  readonly note?: string | undefined
  readonly now: number
}

/**
 * Somebody has read the hour meter. The ledger takes it over soon after, and doubts it where it is not plausible.
 *
 * @throws {CorrectionInvalid} hours that no meter shows, or read in the future
 */
export async function enterMeterReading(db: Kysely<Database>, reading: MeterReading): Promise<void> {
  const { machine, hours, at, by, note = null, now } = reading
  checkValue(hours, HIGHEST_HOURS)
  if (at > now) throw new CorrectionInvalid('a meter cannot be read in the future')
  await db.transaction().execute(async (trx) => {
    await trx
      .insertInto('counter_corrections')
      .values({ machine, kind: 'meter', value: hours, at: new Date(at), by, note })
      .execute()
    const change = { action: 'meter.enter', subject: machine, after: { hours, at: new Date(at) } }
    await recordChange(trx, change, { user: by, reason: note ?? undefined, now })
  })
}

function checkValue(value: number | undefined, highest: number): asserts value is number {
  const usable = value !== undefined && value >= 0 && value <= highest
  if (!usable) throw new CorrectionInvalid(`a value from 0 to ${highest} is needed`)
}

export interface PendingCorrection {
  readonly id: number
  readonly machine: string
  readonly correction: CounterCorrection
}

/** What people decided and no ledger has applied yet, oldest first. Cheap where there is nothing. */
export async function pendingCorrections(db: Kysely<Database>): Promise<PendingCorrection[]> {
  const rows = await db
    .selectFrom('counter_corrections')
    .selectAll()
    .where('applied_at', 'is', null)
    .orderBy('id')
    .limit(1000)
    .execute()
  return rows.map(({ id, machine, kind, signal, resolution, value, at }) => ({
    id,
    machine,
    correction:
      kind === 'doubt' && signal !== null && resolution !== null
        ? { kind: 'doubt', signal, doubtAt: at.getTime(), resolution, value: value ?? undefined }
        : { kind: 'meter', hours: value ?? 0, at: at.getTime() },
  }))
}

/** Within the transaction that keeps the state of the ledgers they were applied to. */
export async function markCorrectionsApplied(
  trx: Transaction<Database>,
  ids: readonly number[],
  now: number,
): Promise<void> {
  if (ids.length === 0) return
  await trx
    .updateTable('counter_corrections')
    .set({ applied_at: new Date(now) })
    .where('id', 'in', ids)
    .execute()
}

/** Counters that fell or jumped, newest first. */
export async function listCounterDoubts(
  db: Kysely<Database>,
  query: { machine?: string; open?: boolean; before?: number; limit: number },
): Promise<CounterDoubt[]> {
  const { machine, open, before, limit } = query
  return db
    .selectFrom('data_quality_events')
    .select([
      'id',
      'machine',
      sql<string>`signal`.as('signal'),
      sql<DoubtKind>`kind`.as('kind'),
      'at',
      'value',
      'previous',
      'detail',
      'confirmed_at as confirmedAt',
      'confirmed_by as confirmedBy',
      'resolution',
    ])
    .where('kind', 'in', counterKinds)
    .where('signal', 'is not', null)
    .$if(machine !== undefined, (q) => q.where('machine', '=', machine ?? ''))
    .$if(open !== undefined, (q) => q.where('confirmed_at', open ? 'is' : 'is not', null))
    .$if(before !== undefined, (q) => q.where('id', '<', before ?? 0))
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
}
