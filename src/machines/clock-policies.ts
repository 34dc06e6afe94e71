import type { Kysely, Selectable, Transaction } from 'kysely'
import { type ClockMend, type ClockPolicy, clockMend } from '../acquire/clock-policy.ts'
import { type Decision, recordChange } from '../records/audit.ts'
import type { ClockPoliciesTable } from '../records/clock-tables.ts'
import type { Database } from '../records/tables.ts'
import { isTimeZone } from '../time-zone.ts'
import { lockRevisions, nextRevision } from './revisions.ts'
import { endOf, overlap, type Span, startOf } from './span.ts'

/** What was said of a device's clock, for what is received from one time to another. */
export interface RecordedClockPolicy {
  readonly id: number
  readonly device: string
  readonly policy: ClockPolicy
  /** Inclusive; null: without beginning. */
  readonly from: Date | null
  /** Exclusive; null: without end. */
  readonly to: Date | null
  readonly setBy: string
  readonly reason: string
  readonly createdAt: Date
  /** When something else was said instead; null: it holds. */
  readonly replacedAt: Date | null
}

export interface ClockPolicyDraft extends Span {
  readonly device: string
  /** `as_sent`: it is taken at its word again. */
  readonly policy: ClockPolicy | { readonly kind: 'as_sent' }
}

/** The policy cannot be; the message says why. */
class ClockPolicyRefused extends Error {
  override readonly name = 'ClockPolicyRefused'
}

const DEVICE_ID = /^[A-Za-z0-9._-]{1,64}$/
const LONGEST_OFFSET_MS = 100 * 366 * 86_400_000

/**
 * Says how a device's clock is to be read in what is received in a span of time; what was said before gives way where
 * it overlaps. It holds for what is judged from now on, put in again from quarantine or new.
 *
 * @returns the policies of the device that hold, in order of time
 * @throws {ClockPolicyRefused}
 */
export async function setClockPolicy(
  db: Kysely<Database>,
  draft: ClockPolicyDraft,
  decision: Decision & { readonly reason: string },
): Promise<RecordedClockPolicy[]> {
  const { device, policy, from, to } = draft
  check(draft)
  return db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const before = await holding(trx, device)
    for (const former of before.filter((other) => overlap(other, draft))) await replace(trx, former, draft, decision)
    if (policy.kind !== 'as_sent') await insert(trx, { device, policy, from, to }, decision)
    const after = await holding(trx, device)
    await recordChange(trx, { action: 'device.clock', subject: device, before, after: { ...draft } }, decision)
    return after
  })
}

/** All that was ever said of a device's clock, in the order in which it was; with `replaced` false only what holds. */
export async function listClockPolicies(
  db: Kysely<Database>,
  device: string,
  { replaced = true }: { replaced?: boolean } = {},
): Promise<RecordedClockPolicy[]> {
  let query = db.selectFrom('clock_policies').selectAll().where('device', '=', device).orderBy('id')
  if (!replaced) query = query.where('replaced_at', 'is', null)
  return (await query.execute()).map(recorded)
}

/** A policy in force. */
export interface AppliedPolicy {
  readonly policy: ClockPolicy
  /** undefined: the device has no clock. */
  readonly mend: ClockMend | undefined
}

/** The policies in memory, as of the last refresh. */
export interface ClockPolicies {
  /** The policy for what is received from a device at an instant (epoch ms); undefined: it is taken at its word. */
  at(device: string, receivedAt: number): AppliedPolicy | undefined
  /** @returns devices of which something else is said now */
  refresh(): Promise<string[]>
}

interface AppliedSpan extends AppliedPolicy {
  readonly id: number
  readonly from: number
  readonly to: number
}

/** Reads all policies that hold. */
export async function followClockPolicies(db: Kysely<Database>): Promise<ClockPolicies> {
  const spansOf = new Map<string, AppliedSpan[]>()
  let revision = 0

  async function refresh(): Promise<string[]> {
    const rows = await db.selectFrom('clock_policies').selectAll().where('revision', '>', revision).execute()
    for (const row of rows) {
      const others = spansOf.get(row.device)?.filter(({ id }) => id !== row.id) ?? []
      if (!row.replaced_at) others.push(applied(row))
      if (others.length > 0) spansOf.set(row.device, others)
      else spansOf.delete(row.device)
      revision = Math.max(revision, row.revision)
    }
    return rows.map(({ device }) => device)
  }

  await refresh()
  return {
    at: (device, receivedAt) =>
      spansOf.size === 0
        ? undefined
        : spansOf.get(device)?.find(({ from, to }) => from <= receivedAt && receivedAt < to),
    refresh,
  }
}

function applied(row: Selectable<ClockPoliciesTable>): AppliedSpan {
  const { id, policy, from, to } = recorded(row)
  return {
    id,
    policy,
    mend: policy.kind === 'no_clock' ? undefined : clockMend(policy),
    from: startOf({ from, to }),
    to: endOf({ from, to }),
  }
}

function check({ device, policy, ...span }: ClockPolicyDraft): void {
  if (!DEVICE_ID.test(device)) throw new ClockPolicyRefused(`'${device}' is no device id: 1 to 64 of A–Z a–z 0–9 . _ -`)
  if (startOf(span) >= endOf(span)) throw new ClockPolicyRefused('a policy begins before it ends')
  if (policy.kind === 'zone' && !isTimeZone(policy.zone))
    throw new ClockPolicyRefused(`'${policy.zone}' is no IANA time zone such as Europe/Berlin`)
  if (policy.kind === 'offset' && !(Math.abs(policy.offsetMs) <= LONGEST_OFFSET_MS))
    throw new ClockPolicyRefused('no clock is off by more than a hundred years')
}

/** Policies of a device that hold, in order of time; they never overlap. */
async function holding(trx: Transaction<Database>, device: string): Promise<RecordedClockPolicy[]> {
  const found = await listClockPolicies(trx, device, { replaced: false })
  return found.sort((a, b) => startOf(a) - startOf(b))
}

async function replace(
  trx: Transaction<Database>,
  former: RecordedClockPolicy,
  draft: Span,
  { now }: Decision,
): Promise<void> {
  await trx
    .updateTable('clock_policies')
    .set({ replaced_at: new Date(now), revision: nextRevision })
    .where('id', '=', former.id)
    .execute()
  const decision = { user: former.setBy, reason: former.reason, now }
  if (startOf(former) < startOf(draft)) await insert(trx, { ...former, to: draft.from }, decision)
  if (endOf(draft) < endOf(former)) await insert(trx, { ...former, from: draft.to }, decision)
}

async function insert(
  trx: Transaction<Database>,
  { device, policy, from, to }: Pick<RecordedClockPolicy, 'device' | 'policy'> & Span,
  { user, reason, now }: Decision & { readonly reason: string },
): Promise<void> {
  await trx
    .insertInto('clock_policies')
    .values({
      device,
      kind: policy.kind,
      offset_ms: policy.kind === 'offset' ? policy.offsetMs : null,
      zone: policy.kind === 'zone' ? policy.zone : null,
      received_from: from,
      received_to: to,
      set_by: user,
      reason,
      created_at: new Date(now),
      replaced_at: null,
    })
    .execute()
}

function recorded(row: Selectable<ClockPoliciesTable>): RecordedClockPolicy {
  return {
    id: row.id,
    device: row.device,
    policy: policyOf(row),
    from: row.received_from,
    to: row.received_to,
    setBy: row.set_by,
    reason: row.reason,
    createdAt: row.created_at,
    replacedAt: row.replaced_at,
  }
}

function policyOf({ kind, offset_ms, zone }: Selectable<ClockPoliciesTable>): ClockPolicy {
  if (kind === 'offset') return { kind, offsetMs: offset_ms ?? 0 }
  if (kind === 'zone') return { kind, zone: zone ?? 'UTC' }
  return { kind: 'no_clock' }
}
