import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import { type Catalogue, GENERIC_TYPE, type NamedRule, type Profile } from '../catalogue/catalogue.ts'
import { effectiveRules } from '../catalogue/rules.ts'
import type { BindingsTable, Database, MachineState } from '../records/tables.ts'
import { overrideOf } from './overrides.ts'
import { lockRevisions } from './revisions.ts'

/** What the stages know of a machine: its record, what holds for its type or model, and the rules with all overrides. */
export interface RegisteredMachine {
  readonly id: string
  readonly type: string
  readonly model: string | null
  readonly site: string | null
  readonly timeZone: string
  readonly state: MachineState
  readonly mergedInto: string | null
  readonly profile: Profile
  readonly rules: ReadonlyMap<string, NamedRule>
}

/** Machines, bindings and overrides in memory, as of the last refresh. */
export interface Registry {
  /** The machine that a device speaks for at an instant (epoch ms); one of the device's name where nothing else was said. */
  resolve(device: string, measuredAt: number): string
  /** undefined: never seen and never registered. */
  machine(id: string): RegisteredMachine | undefined
  machines(): Iterable<RegisteredMachine>
  /** Devices for which a gateway may speak; undefined: for all, since none was assigned to it. */
  assigned(gateway: string): ReadonlySet<string> | undefined
  /**
   * Reads what changed since the last time.
   *
   * @param now epoch ms: overrides that have expired by then no longer hold
   * @returns ids of machines of which something above is different
   */
  refresh(now: number): Promise<string[]>
  /**
   * Writes machines that nobody registered down as `unassigned`, within the transaction that needs them. They are known
   * here at once; those of a transaction that fails are written again with the next call that names them.
   */
  addUnassigned(trx: Transaction<Database>, ids: Iterable<string>): Promise<void>
}

interface BoundSpan {
  readonly id: number
  readonly machine: string
  readonly from: number
  readonly to: number
}

type StoredOverride = ReturnType<typeof overrideOf>
type MachineFacts = Omit<RegisteredMachine, 'profile' | 'rules'>
type MachineEntry = RegisteredMachine & { readonly rulesKey: string }

/**
 * Reads all machines, bindings and overrides.
 *
 * @param now epoch ms, as in `refresh`
 */
export async function openRegistry(db: Kysely<Database>, catalogue: Catalogue, now: number): Promise<Registry> {
  const machines = new Map<string, MachineEntry>()
  const unconfirmed = new Set<string>() // added here and not read back: their transaction may have failed
  const bindings = followBindings(db)
  const rules = followOverrides(db)
  const assignments = followAssignments(db)
  const changed = new Set<string>() // not told yet: a refresh that fails half-way must not lose them
  let revision = 0

  function enter(facts: MachineFacts): boolean {
    const profile = catalogue.profile(facts.type, facts.model)
    const entry = { ...facts, profile, ...rules.of(facts, profile) }
    const before = machines.get(facts.id)
    machines.set(facts.id, entry)
    return !before || factNames.some((name) => before[name] !== entry[name])
  }

  async function refresh(at: number): Promise<string[]> {
    await assignments.refresh()
    for (const id of await bindings.refresh()) changed.add(id)
    if (await rules.refresh(at)) {
      for (const machine of machines.values()) if (enter(machine)) changed.add(machine.id)
    }
    for (const { revision: latest, ...facts } of await machinesAfter(db, revision)) {
      if (enter(facts)) changed.add(facts.id)
      unconfirmed.delete(facts.id)
      revision = Math.max(revision, latest)
    }
    const told = [...changed]
    changed.clear()
    return told
  }

  await refresh(now)
  return {
    resolve(device, measuredAt) {
      const machine = bindings.at(device, measuredAt) ?? device
      return machines.get(machine)?.mergedInto ?? machine
    },
    machine: (id) => machines.get(id),
    machines: () => machines.values(),
    assigned: assignments.of,
    refresh,
    async addUnassigned(trx, ids) {
      const missing = [...new Set(ids)].filter((id) => !machines.has(id) || unconfirmed.has(id))
      if (missing.length === 0) return
      await lockRevisions(trx)
      // One parameter, however many they are: a message may name more machines than a statement may have parameters.
      await sql`
        insert into machines (id, type, state) select unnest(${missing}::text[]), ${GENERIC_TYPE}, 'unassigned'
        on conflict do nothing`.execute(trx)
      for (const id of missing) {
        unconfirmed.add(id)
        if (!machines.has(id)) enter(unassigned(id))
      }
    },
  }
}

const factNames = ['type', 'model', 'site', 'timeZone', 'state', 'mergedInto', 'rulesKey'] as const

function unassigned(id: string): MachineFacts {
  return { id, type: GENERIC_TYPE, model: null, site: null, timeZone: 'UTC', state: 'unassigned', mergedInto: null }
}

async function machinesAfter(db: Kysely<Database>, revision: number): Promise<(MachineFacts & { revision: number })[]> {
  return db
    .selectFrom('machines')
    .select(['id', 'type', 'model', 'site', 'time_zone as timeZone', 'state', 'merged_into as mergedInto', 'revision'])
    .where('revision', '>', revision)
    .execute()
}

interface FollowedBindings {
  at(device: string, time: number): string | undefined
  /** @returns ids of the machines that a changed binding names */
  refresh(): Promise<string[]>
}

function followBindings(db: Kysely<Database>): FollowedBindings {
  const spansOf = new Map<string, BoundSpan[]>()
  let revision = 0
  return {
    at: (device, time) => spansOf.get(device)?.find(({ from, to }) => from <= time && time < to)?.machine,
    async refresh() {
      const rows = await db.selectFrom('bindings').selectAll().where('revision', '>', revision).execute()
      for (const row of rows) {
        const others = spansOf.get(row.device)?.filter(({ id }) => id !== row.id) ?? []
        spansOf.set(row.device, row.replaced_at ? others : [...others, spanOf(row)])
        revision = Math.max(revision, row.revision)
      }
      return rows.map(({ machine }) => machine)
    },
  }
}

function spanOf({ id, machine, bound_from, bound_to }: Selectable<BindingsTable>): BoundSpan {
  return {
    id,
    machine,
    from: bound_from?.getTime() ?? Number.NEGATIVE_INFINITY,
    to: bound_to?.getTime() ?? Number.POSITIVE_INFINITY,
  }
}

interface FollowedAssignments {
  of(gateway: string): ReadonlySet<string> | undefined
  refresh(): Promise<void>
}

function followAssignments(db: Kysely<Database>): FollowedAssignments {
  const assigned = new Map<string, ReadonlySet<string>>()
  let revision = 0
  return {
    of: (gateway) => assigned.get(gateway),
    async refresh() {
      const rows = await db
        .selectFrom('credentials')
        .select(['id', 'revision'])
        .select(
          sql<string[]>`array(select machine from credential_machines where credential = credentials.id)`.as(
            'machines',
          ),
        )
        .where('revision', '>', revision)
        .where('kind', '=', 'gateway')
        .execute()
      for (const { id, machines, revision: latest } of rows) {
        if (machines.length > 0) assigned.set(id, new Set(machines))
        else assigned.delete(id)
        revision = Math.max(revision, latest)
      }
    },
  }
}

interface FollowedOverrides {
  /** Overrides never change, so machines with the same profile and the same ones share their rules: `rulesKey` names both. */
  of(machine: MachineFacts, profile: Profile): { rules: ReadonlyMap<string, NamedRule>; rulesKey: string }
  /** @returns whether other overrides hold now than before */
  refresh(now: number): Promise<boolean>
}

function followOverrides(db: Kysely<Database>): FollowedOverrides {
  const known = new Map<number, StoredOverride>()
  const byScope = new Map<string, StoredOverride[]>()
  const shared = new Map<string, ReadonlyMap<string, NamedRule>>()
  let revision = 0
  let asOf = 0
  let nextExpiry = Number.POSITIVE_INFINITY

  return {
    of(machine, profile) {
      const scopes = [`type ${machine.type}`, `model ${machine.model}`, `site ${machine.site}`, `machine ${machine.id}`]
      const meant = scopes.flatMap((scope) => byScope.get(scope) ?? [])
      if (meant.length === 0) return { rules: profile.rules, rulesKey: '' }
      const rulesKey = `${profile.type} ${profile.model} ${meant.map(({ id }) => id).join()}`
      const rules = shared.get(rulesKey) ?? effectiveRules(profile, meant, machine, asOf)
      shared.set(rulesKey, rules)
      return { rules, rulesKey }
    },
    async refresh(now) {
      const rows = await db.selectFrom('rule_overrides').selectAll().where('revision', '>', revision).execute()
      if (rows.length === 0 && now < nextExpiry) return false
      for (const row of rows) {
        known.set(row.id, overrideOf(row))
        revision = Math.max(revision, row.revision)
      }
      for (const { id, expiresAt, withdrawnAt } of known.values()) {
        if (withdrawnAt !== undefined || (expiresAt ?? Number.POSITIVE_INFINITY) <= now) known.delete(id)
      }
      byScope.clear()
      shared.clear()
      for (const override of known.values()) {
        const scope = `${override.scope} ${override.scopeId}`
        byScope.set(scope, [...(byScope.get(scope) ?? []), override])
      }
      asOf = now
      nextExpiry = Math.min(...[...known.values()].map(({ expiresAt }) => expiresAt ?? Number.POSITIVE_INFINITY))
      return true
    },
  }
}
