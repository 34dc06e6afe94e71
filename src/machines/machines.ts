import type { Insertable, Kysely, Selectable, Transaction } from 'kysely'
import type { Catalogue } from '../catalogue/catalogue.ts'
import { type Decision, recordChange } from '../records/audit.ts'
import type { Contact, Database, MachineState, MachineStatusTable, MachinesTable } from '../records/tables.ts'
import { isTimeZone } from '../time-zone.ts'
import { lockRevisions, nextRevision } from './revisions.ts'

/** What is written down of a machine. */
export interface Machine {
  readonly id: string
  readonly type: string
  readonly model: string | null
  /** Serial number or PIN. */
  readonly serial: string | null
  readonly customer: string | null
  readonly site: string | null
  readonly region: string | null
  /** IANA name. */
  readonly timeZone: string
  readonly deliveredAt: Date | null
  readonly contacts: readonly Contact[]
  readonly language: 'en' | 'zh'
  readonly state: MachineState
  /** The machine that this one turned out to be; it has the history. */
  readonly mergedInto: string | null
  readonly createdAt: Date
  readonly revision: number
}

/** What the machine's own messages say; null until they have. */
export interface MachineStatus {
  readonly lastSeenAt: Date | null
  readonly newestMeasuredAt: Date | null
  readonly online: boolean | null
  readonly position: { readonly latitude: number; readonly longitude: number; readonly at: Date } | null
  readonly serviceHours: number | null
  /** Where the hours come from: a signal, `running`, `manual`. */
  readonly serviceHoursSource: string | null
  readonly serviceHoursAt: Date | null
  readonly volumeM3: number | null
}

/** What a person may say of a machine; what is left out stays, or has its default. */
export interface MachineFacts {
  readonly type?: string | undefined
  readonly model?: string | null | undefined
  readonly serial?: string | null | undefined
  readonly customer?: string | null | undefined
  readonly site?: string | null | undefined
  readonly region?: string | null | undefined
  readonly timeZone?: string | undefined
  readonly deliveredAt?: Date | null | undefined
  readonly contacts?: readonly Contact[] | undefined
  readonly language?: 'en' | 'zh' | undefined
  /** `parked` and `workshop` silence alarms. */
  readonly state?: Exclude<MachineState, 'unassigned'> | undefined
}

/** There is no machine of this id. */
export class MachineUnknown extends Error {
  override readonly name = 'MachineUnknown'
  constructor(id: string) {
    super(`there is no machine '${id}'`)
  }
}

/** The id is taken by a machine that has its type already: change that one. */
export class MachineExists extends Error {
  override readonly name = 'MachineExists'
  constructor(id: string) {
    super(`there is a machine '${id}' already`)
  }
}

/** What was said of a machine cannot be; the message says why. */
export class MachineRefused extends Error {
  override readonly name = 'MachineRefused'
}

const MACHINE_ID = /^[A-Za-z0-9._-]{1,64}$/

/**
 * Writes a machine down; id and type are enough. One that was seen before anybody named it (`unassigned`) is named.
 *
 * @throws {MachineExists}
 * @throws {MachineRefused}
 */
export async function registerMachine(
  db: Kysely<Database>,
  catalogue: Catalogue,
  { id, ...facts }: MachineFacts & { readonly id: string; readonly type: string },
  decision: Decision,
): Promise<Machine> {
  if (!MACHINE_ID.test(id)) throw new MachineRefused(`'${id}' is no machine id: 1 to 64 of A–Z a–z 0–9 . _ -`)
  return db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const seen = await trx.selectFrom('machines').selectAll().where('id', '=', id).executeTakeFirst()
    if (seen && (seen.state !== 'unassigned' || seen.merged_into !== null)) throw new MachineExists(id)
    checkFacts(catalogue, facts, { type: facts.type, model: facts.model ?? seen?.model ?? null })

    const columns = { ...columnsOf(facts), type: facts.type, state: facts.state ?? 'in_service' }
    const row = await trx
      .insertInto('machines')
      .values({ id, ...columns })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ ...columns, revision: nextRevision }))
      .returningAll()
      .executeTakeFirstOrThrow()
    const change = seen ? difference(seen, row) : { after: { ...facts, state: row.state } }
    await recordChange(trx, { action: 'machine.register', subject: id, ...change }, decision)
    return machineOf(row)
  })
}

/**
 * Changes what is written down of a machine, its state included. Naming the type of an `unassigned` machine puts it in
 * service.
 *
 * @throws {MachineUnknown}
 * @throws {MachineRefused}
 */
export async function changeMachine(
  db: Kysely<Database>,
  catalogue: Catalogue,
  id: string,
  facts: MachineFacts,
  decision: Decision,
): Promise<Machine> {
  return db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const before = await currentMachine(trx, id)
    checkFacts(catalogue, facts, {
      type: facts.type ?? before.type,
      model: facts.model === undefined ? before.model : facts.model,
    })
    const named = before.state === 'unassigned' && facts.type !== undefined
    if (before.state === 'unassigned' && facts.state === 'in_service' && !named) {
      throw new MachineRefused(`nobody has said what '${id}' is: name its type, then it is in service`)
    }
    const state = facts.state ?? (named ? 'in_service' : before.state)
    const after = await trx
      .updateTable('machines')
      .set({ ...columnsOf(facts), state, revision: nextRevision })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow()
    await recordChange(trx, { action: 'machine.change', subject: id, ...difference(before, after) }, decision)
    return machineOf(after)
  })
}

/** @throws {MachineUnknown} */
export async function machineById(db: Kysely<Database>, id: string): Promise<Machine & MachineStatus> {
  const row = await selectMachines(db).where('machines.id', '=', id).executeTakeFirst()
  if (!row) throw new MachineUnknown(id)
  return { ...machineOf(row), ...statusOf(row) }
}

export interface MachineQuery {
  readonly type?: string | undefined
  readonly state?: MachineState | undefined
  readonly site?: string | undefined
  readonly customer?: string | undefined
  /** Id of the last machine of the page before. */
  readonly after?: string | undefined
  readonly limit: number
}

/** Machines in order of their id, at most `limit`. Those that were merged into others are left out. */
export async function listMachines(
  db: Kysely<Database>,
  { type, state, site, customer, after, limit }: MachineQuery,
): Promise<(Machine & MachineStatus)[]> {
  let query = selectMachines(db).where('merged_into', 'is', null).orderBy('machines.id').limit(limit)
  if (type !== undefined) query = query.where('type', '=', type)
  if (state !== undefined) query = query.where('state', '=', state)
  if (site !== undefined) query = query.where('site', '=', site)
  if (customer !== undefined) query = query.where('customer', '=', customer)
  if (after !== undefined) query = query.where('machines.id', '>', after)
  const rows = await query.execute()
  return rows.map((row) => ({ ...machineOf(row), ...statusOf(row) }))
}

/**
 * The row of a machine that can be changed.
 *
 * @throws {MachineUnknown}
 * @throws {MachineRefused} it was merged into another one
 */
export async function currentMachine(trx: Transaction<Database>, id: string): Promise<Selectable<MachinesTable>> {
  const row = await trx.selectFrom('machines').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw new MachineUnknown(id)
  if (row.merged_into !== null) throw new MachineRefused(`'${id}' was merged into '${row.merged_into}'`)
  return row
}

function selectMachines(db: Kysely<Database>) {
  return db
    .selectFrom('machines')
    .leftJoin('machine_status', 'machine_status.machine', 'machines.id')
    .selectAll('machines')
    .select([
      'last_seen_at',
      'newest_measured_at',
      'online',
      'latitude',
      'longitude',
      'position_at',
      'service_hours',
      'service_hours_source',
      'service_hours_at',
      'volume_m3',
    ])
}

/** @throws {MachineRefused} the catalogue has no such type or model, or there is no such time zone */
export function checkFacts(
  catalogue: Catalogue,
  { timeZone }: MachineFacts,
  { type, model }: { type: string; model: string | null },
): void {
  if (!catalogue.types.has(type)) {
    throw new MachineRefused(`'${type}' is no type of the catalogue: ${[...catalogue.types.keys()].join(', ')}`)
  }
  if (model !== null && catalogue.models.get(model)?.type !== type) {
    const models = [...catalogue.models.values()].filter((profile) => profile.type === type)
    const known = models.map((profile) => profile.model).join(', ') || 'none'
    throw new MachineRefused(`'${model}' is no model of the type '${type}'; models: ${known}`)
  }
  if (timeZone !== undefined && !isTimeZone(timeZone)) {
    throw new MachineRefused(`'${timeZone}' is no time zone: an IANA name such as Europe/Berlin`)
  }
}

/** What is undefined keeps its value, or gets its default. */
export function columnsOf(facts: MachineFacts): Partial<Insertable<MachinesTable>> {
  const { type, model, serial, customer, site, region, timeZone, deliveredAt, contacts, language } = facts
  return {
    type,
    model,
    serial,
    customer,
    site,
    region,
    time_zone: timeZone,
    delivered_at: deliveredAt,
    contacts: contacts && JSON.stringify(contacts),
    language,
  }
}

/** The columns whose value changed, for the audit log. */
export function difference(
  before: Partial<Selectable<MachinesTable>>,
  after: Partial<Selectable<MachinesTable>>,
): { before: object; after: object } {
  const changed = Object.entries(after).filter(
    ([name, value]) =>
      name !== 'revision' && JSON.stringify(value) !== JSON.stringify(before[name as keyof typeof before]),
  )
  const names = changed.map(([name]) => name)
  return {
    before: Object.fromEntries(names.map((name) => [name, before[name as keyof typeof before]])),
    after: Object.fromEntries(changed),
  }
}

function machineOf(row: Selectable<MachinesTable>): Machine {
  return {
    id: row.id,
    type: row.type,
    model: row.model,
    serial: row.serial,
    customer: row.customer,
    site: row.site,
    region: row.region,
    timeZone: row.time_zone,
    deliveredAt: row.delivered_at,
    contacts: row.contacts,
    language: row.language,
    state: row.state,
    mergedInto: row.merged_into,
    createdAt: row.created_at,
    revision: row.revision,
  }
}

type StatusColumns = { [Column in Exclude<keyof MachineStatusTable, 'machine'>]: MachineStatusTable[Column] | null }

function statusOf(row: StatusColumns): MachineStatus {
  const { latitude, longitude, position_at: at } = row
  return {
    lastSeenAt: row.last_seen_at,
    newestMeasuredAt: row.newest_measured_at,
    online: row.online,
    position: latitude === null || longitude === null || at === null ? null : { latitude, longitude, at },
    serviceHours: row.service_hours,
    serviceHoursSource: row.service_hours_source,
    serviceHoursAt: row.service_hours_at,
    volumeM3: row.volume_m3,
  }
}
