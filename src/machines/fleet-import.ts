import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { AccessKey } from '../acquire/access-key.ts'
import type { Catalogue } from '../catalogue/catalogue.ts'
import type { Decision } from '../records/audit.ts'
import type { Database, MachinesTable } from '../records/tables.ts'
import { isTimeZone } from '../time-zone.ts'
import { bindWithin } from './bindings.ts'
import { issueMissing } from './credentials.ts'
import { type FleetEntry, readFleetRow } from './fleet-row.ts'
import type { FleetFault, FleetTable } from './fleet-table.ts'
import { checkFacts, columnsOf, difference, MachineRefused } from './machines.ts'
import { lockRevisions } from './revisions.ts'

export interface FleetImportOptions {
  /** Says what would be done, and does nothing. */
  readonly dryRun: boolean
  /** Writes the good lines although others are wrong. */
  readonly keepGoing: boolean
  /** Issues credentials to every device that has none. */
  readonly credentials: boolean
}

export interface FleetImport {
  /** `refused`: a line is wrong, so nothing was written. */
  readonly outcome: 'written' | 'unchanged' | 'dry_run' | 'refused'
  /** Of the table, the header and empty ones left out. */
  readonly lines: number
  readonly created: readonly string[]
  readonly changed: readonly string[]
  /** How many machines are in the records as the table has them. */
  readonly unchanged: number
  /** Devices that speak for another machine now than before. */
  readonly bound: number
  readonly meterReadings: number
  /** Devices that had no credentials. */
  readonly withoutCredentials: number
  /** Their secrets by user name, told this once. */
  readonly issued: ReadonlyMap<string, string>
  readonly faults: readonly FleetFault[]
}

export interface FleetParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  readonly accessKey: AccessKey
}

/**
 * Brings the records to what the table of a fleet says, in one transaction: machines and what is known of them, which
 * device speaks for which machine, meter readings, credentials. A cell that is empty changes nothing. Done again, it
 * changes nothing.
 *
 * A device that was never bound speaks for its machine without beginning, so that what it has sent already belongs to
 * it; one that spoke for another machine, from now on. History that has to be moved waits for `finishMoves`.
 */
export async function importFleet(
  { db, catalogue, accessKey }: FleetParts,
  table: Pick<FleetTable, 'rows' | 'faults' | 'decimalComma'>,
  { dryRun, keepGoing, credentials }: FleetImportOptions,
  decision: Decision,
): Promise<FleetImport> {
  const { entries, faults: unread } = understand(table, decision.now)
  return db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const plan = await planFleet(trx, catalogue, entries)
    const faults = [...table.faults, ...unread, ...plan.faults].sort((a, b) => a.line - b.line)
    const devices = plan.good.map(({ device }) => device)
    const bindings = await planBindings(trx, plan.good, decision.now)
    const meters = await planMeters(trx, plan.good, decision.now)
    const withoutCredentials = credentials ? await countWithout(trx, devices) : 0
    const { created, changed, unchanged } = plan
    const report = {
      lines: table.rows.length + table.faults.length,
      created: created.map(({ id }) => id),
      changed: changed.map(({ after }) => after.id),
      unchanged,
      bound: bindings.fresh.length + bindings.moving.length,
      meterReadings: meters.length,
      withoutCredentials,
      issued: new Map<string, string>(),
      faults,
    }
    if (dryRun) return { ...report, outcome: 'dry_run' }
    if (faults.length > 0 && !keepGoing) return { ...report, outcome: 'refused' }

    await writeMachines(trx, plan, decision)
    await bindFresh(trx, bindings.fresh, decision)
    for (const { device, machine, from } of bindings.moving)
      await bindWithin(trx, { device, machine, from, to: null }, decision)
    await writeMeters(trx, meters, decision)
    const issued = withoutCredentials > 0 ? await issueMissing(trx, accessKey, devices, decision) : report.issued
    const isSame = created.length + changed.length + report.bound + meters.length + issued.size === 0
    return { ...report, issued, outcome: isSame ? 'unchanged' : 'written' }
  })
}

function understand(
  { rows, decimalComma }: Pick<FleetTable, 'rows' | 'decimalComma'>,
  now: number,
): { entries: FleetEntry[]; faults: FleetFault[] } {
  const entries: FleetEntry[] = []
  const faults: FleetFault[] = []
  const zones = new Map<string, boolean>()
  const isKnownZone = (name: string) => {
    const known = zones.get(name) ?? isTimeZone(name)
    zones.set(name, known)
    return known
  }
  for (const row of rows) {
    const entry = readFleetRow(row, { decimalComma, isTimeZone: isKnownZone, now })
    if ('line' in entry) entries.push(entry)
    else faults.push(...entry)
  }
  return { entries, faults }
}

type MachineRow = Selectable<MachinesTable>
/** The columns that a table can set. */
type WrittenRow = Pick<
  MachineRow,
  | 'id'
  | 'type'
  | 'model'
  | 'serial'
  | 'customer'
  | 'site'
  | 'region'
  | 'time_zone'
  | 'delivered_at'
  | 'language'
  | 'state'
>

interface FleetPlan {
  readonly created: readonly WrittenRow[]
  readonly changed: readonly { readonly before: WrittenRow; readonly after: WrittenRow }[]
  readonly unchanged: number
  /** Entries that can be written. */
  readonly good: readonly FleetEntry[]
  readonly faults: readonly FleetFault[]
}

/** What becomes of the machines, each looked at as the records have it. */
async function planFleet(
  trx: Transaction<Database>,
  catalogue: Catalogue,
  entries: readonly FleetEntry[],
): Promise<FleetPlan> {
  const ids = [...new Set(entries.map(({ machine }) => machine))]
  const rows = await trx.selectFrom('machines').selectAll().where(sql<boolean>`id = any(${ids}::text[])`).execute()
  const known = new Map(rows.map((row) => [row.id, row]))
  const devices = new Map<string, number>()
  const firsts = new Map<string, FleetEntry>()
  const wanted = new Map<string, WrittenRow>()
  const good: FleetEntry[] = []
  const faults: FleetFault[] = []

  for (const entry of entries) {
    const { line, device, machine } = entry
    const first = firsts.get(machine)
    try {
      const earlier = devices.get(device)
      if (earlier !== undefined) throw new MachineRefused(`the device '${device}' stands on line ${earlier} already`)
      if (first) checkSame(first, entry)
      else wanted.set(machine, wantedRow(catalogue, entry, known.get(machine)))
    } catch (error) {
      if (!(error instanceof MachineRefused)) throw error
      faults.push({ line, column: undefined, detail: error.message })
      continue
    }
    devices.set(device, line)
    firsts.set(machine, first ?? entry)
    good.push(entry)
  }

  const created = [...wanted.values()].filter(({ id }) => !known.has(id))
  const changed: { before: WrittenRow; after: WrittenRow }[] = []
  for (const after of wanted.values()) {
    const before = known.get(after.id)
    if (before && Object.keys(difference(writtenOf(before), after).after).length > 0)
      changed.push({ before: writtenOf(before), after })
  }
  return { created, changed, unchanged: wanted.size - created.length - changed.length, good, faults }
}

/** @throws {MachineRefused} */
function wantedRow(catalogue: Catalogue, { machine, facts }: FleetEntry, before: MachineRow | undefined): WrittenRow {
  if (before?.merged_into) throw new MachineRefused(`'${machine}' was merged into '${before.merged_into}'`)
  const type = facts.type ?? before?.type
  if (type === undefined) throw new MachineRefused(`'${machine}' is new: a new machine needs its type`)
  checkFacts(catalogue, {}, { type, model: facts.model ?? before?.model ?? null }) // its zone is one, or was refused
  const isNamed = before?.state === 'unassigned' && facts.type !== undefined
  const state = before === undefined || isNamed ? 'in_service' : before.state
  const given = Object.entries(columnsOf(facts)).filter(([, value]) => value !== undefined)
  return { ...writtenOf(before ?? { id: machine }), ...Object.fromEntries(given), type, state }
}

/** The columns that a table can set, with the defaults of a new machine. */
function writtenOf(row: Partial<MachineRow> & { readonly id: string }): WrittenRow {
  const { id, type = '', model = null, serial = null, customer = null, site = null, region = null } = row
  const { time_zone = 'UTC', delivered_at = null, language = 'en', state = 'in_service' } = row
  return { id, type, model, serial, customer, site, region, time_zone, delivered_at, language, state }
}

/** A machine may have several devices, each on its line; what is said of the machine has to agree. */
function checkSame(first: FleetEntry, { machine, facts, hours }: FleetEntry): void {
  const before: Record<string, unknown> = { ...first.facts, hours: first.hours }
  const after: Record<string, unknown> = { ...facts, hours }
  const other = Object.keys(after).find(
    (name) => after[name] !== undefined && JSON.stringify(after[name]) !== JSON.stringify(before[name]),
  )
  if (other !== undefined)
    throw new MachineRefused(`'${machine}' stands on line ${first.line} already, with another ${other}`)
}

async function writeMachines(
  trx: Transaction<Database>,
  { created, changed }: FleetPlan,
  { user, reason, now }: Decision,
): Promise<void> {
  const rows = [...created, ...changed.map(({ after }) => after)]
  if (rows.length === 0) return
  await sql`
    insert into machines (id, type, model, serial, customer, site, region, time_zone, delivered_at, language, state)
    select id, type, model, serial, customer, site, region, time_zone, delivered_at, language, state
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as wanted (id text, type text, model text, serial text,
      customer text, site text, region text, time_zone text, delivered_at timestamptz, language text, state text)
    on conflict (id) do update set type = excluded.type, model = excluded.model, serial = excluded.serial,
      customer = excluded.customer, site = excluded.site, region = excluded.region, time_zone = excluded.time_zone,
      delivered_at = excluded.delivered_at, language = excluded.language, state = excluded.state,
      revision = nextval('machine_revision')`.execute(trx)
  const changes = [
    ...created.map((after) => ({ action: 'machine.register', subject: after.id, after })),
    ...changed.map(({ before, after }) => ({
      action: before.state === 'unassigned' && after.state !== 'unassigned' ? 'machine.register' : 'machine.change',
      subject: after.id,
      ...difference(before, after),
    })),
  ]
  await audit(trx, changes, { user, reason, now })
}

/** One statement, however many changes: the same as `recordChange` for each. */
async function audit(
  trx: Transaction<Database>,
  changes: readonly { action: string; subject: string; before?: object; after: object }[],
  { user, reason, now }: Decision,
): Promise<void> {
  await sql`
    insert into audit (at, by, action, subject, before, after, reason)
    select ${new Date(now)}, ${user}, action, subject, before, after, ${reason ?? null}
    from jsonb_to_recordset(${JSON.stringify(changes)}::jsonb)
      as change (action text, subject text, before jsonb, after jsonb)`.execute(trx)
}

interface WantedBinding {
  readonly device: string
  readonly machine: string
  /** null: without beginning. */
  readonly from: Date | null
}

interface BindingPlan {
  /** Of devices that nobody has heard or bound: there is no history to look at. */
  readonly fresh: readonly WantedBinding[]
  readonly moving: readonly WantedBinding[]
}

async function planBindings(
  trx: Transaction<Database>,
  entries: readonly FleetEntry[],
  now: number,
): Promise<BindingPlan> {
  const devices = entries.map(({ device }) => device)
  const { rows } = await sql<{ device: string; heard: boolean; bound: boolean; machine: string | null }>`
    select device, exists (select from machines where id = device) as heard,
      exists (select from bindings where bindings.device = wanted.device and replaced_at is null) as bound,
      (select coalesce(machines.merged_into, machines.id) from bindings join machines on machines.id = bindings.machine
        where bindings.device = wanted.device and replaced_at is null
          and coalesce(bound_from, '-infinity') <= ${new Date(now)}
          and coalesce(bound_to, 'infinity') > ${new Date(now)}) as machine
    from unnest(${devices}::text[]) as wanted (device)`.execute(trx)
  const known = new Map(rows.map((row) => [row.device, row]))
  const fresh: WantedBinding[] = []
  const moving: WantedBinding[] = []
  for (const { device, machine } of entries) {
    const found = known.get(device)
    if ((found?.machine ?? device) === machine) continue
    if (found?.bound) moving.push({ device, machine, from: new Date(now) })
    else if (found?.heard) moving.push({ device, machine, from: null })
    else fresh.push({ device, machine, from: null })
  }
  return { fresh, moving }
}

async function bindFresh(
  trx: Transaction<Database>,
  bindings: readonly WantedBinding[],
  decision: Decision,
): Promise<void> {
  if (bindings.length === 0) return
  const { user, reason, now } = decision
  const devices = bindings.map(({ device }) => device)
  const machines = bindings.map(({ machine }) => machine)
  await sql`
    insert into bindings (device, machine, bound_by, reason, created_at)
    select device, machine, ${user}, ${reason ?? null}, ${new Date(now)}
    from unnest(${devices}::text[], ${machines}::text[]) as wanted (device, machine)`.execute(trx)
  const changes = bindings.map(({ device, machine }) => ({
    action: 'device.bind',
    subject: device,
    before: { bindings: [] },
    after: { binding: { device, machine, from: null, to: null } },
  }))
  await audit(trx, changes, decision)
}

interface WantedMeter {
  readonly machine: string
  readonly hours: number
  readonly at: Date
}

/** A reading that was entered before, by whomever, is not entered again. */
async function planMeters(
  trx: Transaction<Database>,
  entries: readonly FleetEntry[],
  now: number,
): Promise<WantedMeter[]> {
  const said = new Map<string, FleetEntry>()
  for (const entry of entries) if (entry.hours !== undefined && !said.has(entry.machine)) said.set(entry.machine, entry)
  const machines = [...said.keys()]
  const rows = await trx
    .selectFrom('counter_corrections')
    .select(['machine', 'value', 'at'])
    .where('kind', '=', 'meter')
    .where(sql<boolean>`machine = any(${machines}::text[])`)
    .execute()
  const entered = new Set(
    rows.flatMap(({ machine, value, at }) => [`${machine} ${value}`, `${machine} ${value} ${+at}`]),
  )
  return [...said.values()]
    .filter(({ machine, hours, hoursAt }) => {
      const key = hoursAt === undefined ? `${machine} ${hours}` : `${machine} ${hours} ${hoursAt}`
      return !entered.has(key)
    })
    .map(({ machine, hours, hoursAt }) => ({ machine, hours: hours ?? 0, at: new Date(hoursAt ?? now) }))
}

async function writeMeters(
  trx: Transaction<Database>,
  meters: readonly WantedMeter[],
  decision: Decision,
): Promise<void> {
  if (meters.length === 0) return
  await sql`
    insert into counter_corrections (machine, kind, value, at, by, note)
    select machine, 'meter', hours, at, ${decision.user}, ${decision.reason ?? null}
    from jsonb_to_recordset(${JSON.stringify(meters)}::jsonb)
      as wanted (machine text, hours double precision, at timestamptz)`.execute(trx)
  const changes = meters.map(({ machine, hours, at }) => ({
    action: 'meter.enter',
    subject: machine,
    after: { hours, at },
  }))
  await audit(trx, changes, decision)
}

async function countWithout(trx: Transaction<Database>, ids: readonly string[]): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*) from unnest(${ids}::text[]) as wanted (id)
    where not exists (select from credentials where credentials.id = wanted.id)`.execute(trx)
  return rows[0]?.count ?? 0
}
