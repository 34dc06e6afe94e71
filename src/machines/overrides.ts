import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Catalogue } from '../catalogue/catalogue.ts'
import { type OverriddenMachine, overrideFault, type RuleOverride, touchesSafety } from '../catalogue/rules.ts'
import { type Decision, recordChange } from '../records/audit.ts'
import type { Database, RuleOverridesTable } from '../records/tables.ts'
import { MachineUnknown } from './machines.ts'
import { lockRevisions, nextRevision } from './revisions.ts'

/** An override with its history. Times in epoch ms. */
export interface RecordedOverride extends RuleOverride {
  readonly id: number
  readonly reason: string
  readonly changedBy: string
  readonly createdAt: number
  readonly withdrawnBy: string | undefined
  readonly withdrawnBecause: string | undefined
}

/** Who decides on an override; limits of severity S4 are for the role `admin`. */
export interface OverrideDecision extends Decision {
  readonly reason: string
  readonly role: string
}

/** The override changes when an S4 alarm comes or goes, and the role is not `admin`. */
export class OverrideForbidden extends Error {
  override readonly name = 'OverrideForbidden'
  constructor({ rule, parameter }: RuleOverride) {
    super(`'${parameter}' of '${rule}' decides about alarms of severity S4: only the role admin may change it`)
  }
}

/** The override cannot be; the message says why. */
export class OverrideRefused extends Error {
  override readonly name = 'OverrideRefused'
}

/** There is no override of this id that holds. */
export class OverrideUnknown extends Error {
  override readonly name = 'OverrideUnknown'
  constructor(id: number) {
    super(`there is no override ${id} that holds`)
  }
}

/**
 * Changes one parameter of a rule for a type, a model, a site or a machine. The one before it for the same parameter
 * and the same place is withdrawn.
 *
 * @throws {MachineUnknown}
 * @throws {OverrideRefused}
 * @throws {OverrideForbidden}
 */
export async function createOverride(
  db: Kysely<Database>,
  catalogue: Catalogue,
  draft: Omit<RuleOverride, 'withdrawnAt'>,
  decision: OverrideDecision,
): Promise<RecordedOverride> {
  const { scope, scopeId, rule, parameter, value, expiresAt } = draft
  if (expiresAt !== undefined && expiresAt <= decision.now) throw new OverrideRefused('it would have expired already')
  return db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const place = { catalogue, machine: await machineIn(trx, draft) }
    const others = await holdingOverrides(trx, rule, decision.now)
    const replaced = others.find((o) => o.scope === scope && o.scopeId === scopeId && o.parameter === parameter)
    const fault = overrideFault(draft, { ...place, others: others.filter((o) => o !== replaced), now: decision.now })
    if (fault !== undefined) throw new OverrideRefused(fault)
    if (decision.role !== 'admin' && touchesSafety(draft, place)) throw new OverrideForbidden(draft)

    if (replaced) await setWithdrawn(trx, replaced.id, { ...decision, reason: 'replaced by another override' })
    const row = await trx
      .insertInto('rule_overrides')
      .values({
        scope,
        scope_id: scopeId,
        rule,
        parameter,
        value,
        reason: decision.reason,
        changed_by: decision.user,
        created_at: new Date(decision.now),
        expires_at: expiresAt === undefined ? null : new Date(expiresAt),
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    const subject = `${scope}/${scopeId}/${rule}`
    await recordChange(trx, { action: 'rule.override', subject, before: replaced, after: draft }, decision)
    return recorded(row)
  })
}

/**
 * Ends an override: from then on the wider one holds, or the catalogue.
 *
 * @throws {OverrideUnknown}
 * @throws {OverrideForbidden}
 */
export async function withdrawOverride(
  db: Kysely<Database>,
  catalogue: Catalogue,
  id: number,
  decision: OverrideDecision,
): Promise<RecordedOverride> {
  return db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const row = await trx.selectFrom('rule_overrides').selectAll().where('id', '=', id).executeTakeFirst()
    if (!row || row.withdrawn_at || (row.expires_at && row.expires_at.getTime() <= decision.now)) {
      throw new OverrideUnknown(id)
    }
    const before = recorded(row)
    const place = { catalogue, machine: await machineIn(trx, before) }
    if (decision.role !== 'admin' && touchesSafety(before, place)) throw new OverrideForbidden(before)
    const after = recorded(await setWithdrawn(trx, id, decision))
    const subject = `${before.scope}/${before.scopeId}/${before.rule}`
    await recordChange(trx, { action: 'rule.override.withdraw', subject, before, after }, decision)
    return after
  })
}

export interface OverrideQuery {
  readonly scope?: RuleOverride['scope'] | undefined
  readonly scopeId?: string | undefined
  readonly rule?: string | undefined
  /** Only those that hold at this instant, epoch ms; without it, the whole history. */
  readonly holdingAt?: number | undefined
  /** Id of the last override of the page before. */
  readonly before?: number | undefined
  readonly limit: number
}

/** Overrides, newest first, at most `limit`. */
export async function listOverrides(
  db: Kysely<Database>,
  { scope, scopeId, rule, holdingAt, before, limit }: OverrideQuery,
): Promise<RecordedOverride[]> {
  let query = db.selectFrom('rule_overrides').selectAll().orderBy('id', 'desc').limit(limit)
  if (scope !== undefined) query = query.where('scope', '=', scope)
  if (scopeId !== undefined) query = query.where('scope_id', '=', scopeId)
  if (rule !== undefined) query = query.where('rule', '=', rule)
  if (before !== undefined) query = query.where('id', '<', before)
  if (holdingAt !== undefined) {
    query = query
      .where('withdrawn_at', 'is', null)
      .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', new Date(holdingAt))]))
  }
  return (await query.execute()).map(recorded)
}

async function holdingOverrides(trx: Transaction<Database>, rule: string, now: number): Promise<RecordedOverride[]> {
  const rows = await trx
    .selectFrom('rule_overrides')
    .selectAll()
    .where('rule', '=', rule)
    .where('withdrawn_at', 'is', null)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', new Date(now))]))
    .execute()
  return rows.map(recorded)
}

async function machineIn(
  trx: Transaction<Database>,
  { scope, scopeId }: Pick<RuleOverride, 'scope' | 'scopeId'>,
): Promise<OverriddenMachine | undefined> {
  if (scope !== 'machine') return undefined
  const machine = await trx
    .selectFrom('machines')
    .select(['id', 'type', 'model', 'site'])
    .where('id', '=', scopeId)
    .executeTakeFirst()
  if (!machine) throw new MachineUnknown(scopeId)
  return machine
}

function setWithdrawn(
  trx: Transaction<Database>,
  id: number,
  { user, reason, now }: OverrideDecision,
): Promise<Selectable<RuleOverridesTable>> {
  return trx
    .updateTable('rule_overrides')
    .set({
      withdrawn_at: new Date(now),
      withdrawn_by: user,
      withdrawn_because: reason,
      revision: nextRevision,
    })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

/** A row of the records in the words of the catalogue. */
export function overrideOf(row: Selectable<RuleOverridesTable>): RuleOverride & { readonly id: number } {
  return {
    id: row.id,
    scope: row.scope,
    scopeId: row.scope_id,
    rule: row.rule,
    parameter: row.parameter,
    value: row.value,
    expiresAt: row.expires_at?.getTime(),
    withdrawnAt: row.withdrawn_at?.getTime(),
  }
}

function recorded(row: Selectable<RuleOverridesTable>): RecordedOverride {
  return {
    ...overrideOf(row),
    reason: row.reason,
    changedBy: row.changed_by,
    createdAt: row.created_at.getTime(),
    withdrawnBy: row.withdrawn_by ?? undefined,
    withdrawnBecause: row.withdrawn_because ?? undefined,
  }
}
