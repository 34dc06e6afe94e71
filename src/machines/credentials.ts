import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { IdentityLimits } from '../acquire/access.ts'
import type { AccessKey } from '../acquire/access-key.ts'
import { issueSecret, passwordVerifier, secretVerifier } from '../acquire/access-secret.ts'
import { isId } from '../acquire/topics.ts'
import { type Decision, recordChange } from '../records/audit.ts'
import type { Database } from '../records/tables.ts'
import type { CredentialKind, CredentialsTable } from './credential-tables.ts'
import { lockRevisions, nextRevision } from './revisions.ts'

/** Who may log in, without anything secret. */
export interface Credential {
  readonly kind: CredentialKind
  /** User name. */
  readonly id: string
  /** `secret`: random, issued by us; `password`: brought along; `none`: it shows a certificate, or was revoked without ever having had one. */
  readonly proof: 'secret' | 'password' | 'none'
  readonly limits: IdentityLimits
  /** For whom a bridge may publish; and a gateway, where it has any. */
  readonly machines: readonly string[]
  readonly createdAt: Date
  readonly createdBy: string
  readonly rotatedAt: Date | null
  readonly rotatedBy: string | null
  readonly revokedAt: Date | null
  readonly revokedBy: string | null
  /** When it logged in last, at most an hour old. */
  readonly lastUsedAt: Date | null
}

export interface CredentialDraft {
  readonly kind: CredentialKind
  readonly id: string
  /** Brought along; without it a secret is issued. */
  readonly password?: string | undefined
  readonly limits?: Partial<IdentityLimits> | undefined
  readonly machines?: readonly string[] | undefined
}

/** A credential with what its owner has to know, told once. */
export interface IssuedCredential {
  readonly credential: Credential
  /** undefined: they brought a password along. */
  readonly secret: string | undefined
}

/** What may be changed without a new secret; what is left out stays. */
export interface CredentialChange {
  /** null lifts a limit. */
  readonly limits?: { readonly [Limit in keyof IdentityLimits]?: number | null | undefined } | undefined
  readonly assign?: readonly string[] | undefined
  readonly unassign?: readonly string[] | undefined
}

type Name = Pick<Credential, 'kind' | 'id'>

/** Nobody has this user name, or has it as another kind. */
export class CredentialUnknown extends Error {
  override readonly name = 'CredentialUnknown'
  constructor({ kind, id }: Name) {
    super(`the ${kind} '${id}' has no credentials`)
  }
}

/** The user name is taken: rotate its secret, or choose another name. */
export class CredentialExists extends Error {
  override readonly name = 'CredentialExists'
  constructor({ kind, id }: Name) {
    super(`the ${kind} '${id}' has credentials already`)
  }
}

/** What was asked for cannot be; the message says why. */
export class CredentialRefused extends Error {
  override readonly name = 'CredentialRefused'
}

const SHORTEST_PASSWORD = 12
const LONGEST_PASSWORD = 256
const MOST_MACHINES = 10_000

/**
 * Issues credentials, also to somebody whose earlier ones were revoked.
 *
 * @throws {CredentialExists}
 * @throws {CredentialRefused}
 */
export async function issueCredential(
  db: Kysely<Database>,
  key: AccessKey,
  draft: CredentialDraft,
  decision: Decision,
): Promise<IssuedCredential> {
  const { kind, id, limits = {}, machines = [] } = draft
  if (!isId(id)) throw new CredentialRefused(`'${id}' is no user name: 1 to 64 of A–Z a–z 0–9 . _ -`)
  checkMachines(kind, machines)
  const { verifier, secret } = await newVerifier(key, draft)
  return db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const before = await trx.selectFrom('credentials').selectAll().where('id', '=', id).executeTakeFirst()
    if (before && (!before.revoked_at || before.kind !== kind)) throw new CredentialExists(before)
    const columns = {
      verifier,
      ...limitColumns({ connections: null, messagesPerSecond: null, packetBytes: null, ...limits }),
      created_at: new Date(decision.now),
      created_by: decision.user,
      rotated_at: null,
      rotated_by: null,
      revoked_at: null,
      revoked_by: null,
    }
    await trx
      .insertInto('credentials')
      .values({ id, kind, ...columns })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ ...columns, revision: nextRevision }))
      .execute()
    await trx.deleteFrom('credential_machines').where('credential', '=', id).execute()
    await assign(trx, id, machines)
    const credential = await credentialByName(trx, { kind, id })
    await recordChange(trx, { action: 'credential.issue', subject: id, after: audited(credential) }, decision)
    return { credential, secret }
  })
}

/**
 * Issues credentials to each of these machines that has none, in the transaction that needs them. Who has some keeps
 * them, revoked ones too.
 *
 * @returns secrets by user name
 */
export async function issueMissing(
  trx: Transaction<Database>,
  key: AccessKey,
  ids: readonly string[],
  { user, reason, now }: Decision,
): Promise<Map<string, string>> {
  await lockRevisions(trx)
  const taken = await trx.selectFrom('credentials').select('id').where(sql<boolean>`id = any(${ids}::text[])`).execute()
  const owners = new Set(taken.map(({ id }) => id))
  const secrets = new Map(ids.filter((id) => !owners.has(id)).map((id) => [id, issueSecret()]))
  if (secrets.size === 0) return secrets
  const names = [...secrets.keys()]
  const verifiers = names.map((id) => secretVerifier(key, id, secrets.get(id) as string))
  await sql`
    insert into credentials (id, kind, verifier, created_at, created_by)
    select id, 'machine', verifier, ${new Date(now)}, ${user}
    from unnest(${names}::text[], ${verifiers}::text[]) as issued (id, verifier)`.execute(trx)
  await sql`
    insert into audit (at, by, action, subject, after, reason)
    select ${new Date(now)}, ${user}, 'credential.issue', id, '{"kind": "machine", "proof": "secret"}', ${reason ?? null}
    from unnest(${names}::text[]) as issued (id)`.execute(trx)
  return secrets
}

/**
 * Replaces the secret: the one before fits nothing from now on.
 *
 * @throws {CredentialUnknown}
 * @throws {CredentialRefused} it was revoked
 */
export async function rotateCredential(
  db: Kysely<Database>,
  key: AccessKey,
  draft: Omit<CredentialDraft, 'limits' | 'machines'>,
  decision: Decision,
): Promise<IssuedCredential> {
  const { verifier, secret } = await newVerifier(key, draft)
  const credential = await change(db, draft, 'credential.rotate', decision, async (trx, before) => {
    if (before.revokedAt)
      throw new CredentialRefused(`'${draft.id}' was revoked: add it again, and it gets new credentials`)
    const rotated = { verifier, rotated_at: new Date(decision.now), rotated_by: decision.user }
    await trx.updateTable('credentials').set(rotated).where('id', '=', draft.id).execute()
  })
  return { credential, secret }
}

/**
 * Replaces the secrets of many at once, all or none.
 *
 * @returns the new ones, by user name
 * @throws {CredentialRefused} one of them has no credentials, or was revoked
 */
export async function rotateCredentials(
  db: Kysely<Database>,
  key: AccessKey,
  ids: readonly string[],
  { user, reason, now }: Decision,
): Promise<Map<string, string>> {
  const secrets = new Map(ids.map((id) => [id, issueSecret()]))
  const names = [...secrets.keys()]
  const verifiers = [...secrets].map(([id, secret]) => secretVerifier(key, id, secret))
  await db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const { rows } = await sql<{ id: string }>`
      update credentials set verifier = rotated.verifier, rotated_at = ${new Date(now)}, rotated_by = ${user},
        revision = nextval('machine_revision')
      from unnest(${names}::text[], ${verifiers}::text[]) as rotated (id, verifier)
      where credentials.id = rotated.id and revoked_at is null returning credentials.id`.execute(trx)
    const rotated = new Set(rows.map(({ id }) => id))
    const missing = names.find((id) => !rotated.has(id))
    if (missing !== undefined)
      throw new CredentialRefused(`'${missing}' has no credentials, or they were revoked: add issues new ones`)
    await sql`
      insert into audit (at, by, action, subject, after, reason)
      select ${new Date(now)}, ${user}, 'credential.rotate', id, '{"proof": "secret"}', ${reason ?? null}
      from unnest(${names}::text[]) as rotated (id)`.execute(trx)
  })
  return secrets
}

/**
 * Ends credentials: who is connected by them is cut off. A machine without any, which shows a certificate, is
 * locked out all the same. What is revoked already stays as it is.
 *
 * @throws {CredentialUnknown}
 */
export async function revokeCredential(db: Kysely<Database>, name: Name, decision: Decision): Promise<Credential> {
  const revoked = { revoked_at: new Date(decision.now), revoked_by: decision.user }
  await db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const machine = await trx.selectFrom('machines').select('id').where('id', '=', name.id).executeTakeFirst()
    if (!machine || name.kind !== 'machine') return
    const created = { created_at: revoked.revoked_at, created_by: decision.user }
    await trx
      .insertInto('credentials')
      .values({ ...name, ...created })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  })
  return change(db, name, 'credential.revoke', decision, async (trx, before) => {
    if (!before.revokedAt) await trx.updateTable('credentials').set(revoked).where('id', '=', name.id).execute()
  })
}

/**
 * Changes limits, and for whom a bridge or gateway speaks.
 *
 * @throws {CredentialUnknown}
 * @throws {CredentialRefused}
 */
export async function changeCredential(
  db: Kysely<Database>,
  name: Name,
  { limits = {}, assign: added = [], unassign: removed = [] }: CredentialChange,
  decision: Decision,
): Promise<Credential> {
  checkMachines(name.kind, [...added, ...removed])
  return change(db, name, 'credential.change', decision, async (trx) => {
    await trx
      .updateTable('credentials')
      .set({ ...limitColumns(limits), revision: nextRevision })
      .where('id', '=', name.id)
      .execute()
    await sql`delete from credential_machines where credential = ${name.id} and machine = any(${removed}::text[])`.execute(
      trx,
    )
    await assign(trx, name.id, added)
  })
}

export interface CredentialQuery {
  readonly id?: string | undefined
  readonly kind?: CredentialKind | undefined
  /** Only those that this machine was assigned to. */
  readonly machine?: string | undefined
  /** Whether only those that were revoked, or only those that were not. */
  readonly revoked?: boolean | undefined
  /** User name of the last one of the page before. */
  readonly after?: string | undefined
  readonly limit: number
}

/** Credentials in order of their user names, at most `limit`. */
export async function listCredentials(
  db: Kysely<Database>,
  { id, kind, machine, revoked, after, limit }: CredentialQuery,
): Promise<Credential[]> {
  let query = selectCredentials(db).orderBy('id').limit(limit)
  if (id !== undefined) query = query.where('id', '=', id)
  if (kind !== undefined) query = query.where('kind', '=', kind)
  if (revoked !== undefined) query = query.where('revoked_at', revoked ? 'is not' : 'is', null)
  if (after !== undefined) query = query.where('id', '>', after)
  if (machine !== undefined)
    query = query.where('id', 'in', (of) =>
      of.selectFrom('credential_machines').select('credential').where('machine', '=', machine),
    )
  return (await query.execute()).map(credentialOf)
}

/** @throws {CredentialUnknown} */
export async function credentialByName(db: Kysely<Database>, { kind, id }: Name): Promise<Credential> {
  const row = await selectCredentials(db).where('id', '=', id).where('kind', '=', kind).executeTakeFirst()
  if (!row) throw new CredentialUnknown({ kind, id })
  return credentialOf(row)
}

/** Writes down who has logged in. */
export async function noteUse(db: Kysely<Database>, ids: readonly string[], now: number): Promise<void> {
  if (ids.length === 0) return
  await db
    .updateTable('credentials')
    .set({ last_used_at: new Date(now) })
    .where(sql<boolean>`id = any(${ids}::text[])`)
    .execute()
}

async function change(
  db: Kysely<Database>,
  { kind, id }: Name,
  action: string,
  decision: Decision,
  work: (trx: Transaction<Database>, before: Credential) => Promise<void>,
): Promise<Credential> {
  return db.transaction().execute(async (trx) => {
    await lockRevisions(trx)
    const before = await credentialByName(trx, { kind, id })
    await work(trx, before)
    await trx.updateTable('credentials').set({ revision: nextRevision }).where('id', '=', id).execute()
    const after = await credentialByName(trx, { kind, id })
    const both = { before: audited(before), after: audited(after) }
    await recordChange(trx, { action, subject: id, ...both }, decision)
    return after
  })
}

async function newVerifier(
  key: AccessKey,
  { id, password }: Pick<CredentialDraft, 'id' | 'password'>,
): Promise<{ verifier: string; secret: string | undefined }> {
  if (password !== undefined) {
    if (password.length < SHORTEST_PASSWORD || password.length > LONGEST_PASSWORD)
      throw new CredentialRefused(`a password has ${SHORTEST_PASSWORD} to ${LONGEST_PASSWORD} characters`)
    return { verifier: await passwordVerifier(password), secret: undefined }
  }
  const secret = issueSecret()
  return { verifier: secretVerifier(key, id, secret), secret }
}

function checkMachines(kind: CredentialKind, machines: readonly string[]): void {
  if (kind === 'machine' && machines.length > 0)
    throw new CredentialRefused('a machine speaks for itself: machines are assigned to bridges and gateways')
  const wrong = machines.find((machine) => !isId(machine))
  if (wrong !== undefined) throw new CredentialRefused(`'${wrong}' is no machine id: 1 to 64 of A–Z a–z 0–9 . _ -`)
  if (machines.length > MOST_MACHINES) throw new CredentialRefused(`at most ${MOST_MACHINES} machines at a time`)
}

async function assign(trx: Transaction<Database>, credential: string, machines: readonly string[]): Promise<void> {
  if (machines.length === 0) return
  await sql`
    insert into credential_machines (credential, machine) select ${credential}, unnest(${machines}::text[])
    on conflict do nothing`.execute(trx)
}

function limitColumns(limits: NonNullable<CredentialChange['limits']>) {
  const { connections, messagesPerSecond, packetBytes } = limits
  return { connections, messages_per_second: messagesPerSecond, packet_bytes: packetBytes }
}

function selectCredentials(db: Kysely<Database>) {
  return db
    .selectFrom('credentials')
    .selectAll()
    .select(
      sql<
        string[]
      >`array(select machine from credential_machines where credential = credentials.id order by machine)`.as(
        'machines',
      ),
    )
}

function credentialOf(row: Selectable<CredentialsTable> & { machines: string[] }): Credential {
  return {
    kind: row.kind,
    id: row.id,
    proof: row.verifier === null ? 'none' : row.verifier.startsWith('scrypt$') ? 'password' : 'secret',
    limits: limitsOf(row),
    machines: row.machines,
    createdAt: row.created_at,
    createdBy: row.created_by,
    rotatedAt: row.rotated_at,
    rotatedBy: row.rotated_by,
    revokedAt: row.revoked_at,
    revokedBy: row.revoked_by,
    lastUsedAt: row.last_used_at,
  }
}

export function limitsOf(
  row: Pick<Selectable<CredentialsTable>, 'connections' | 'messages_per_second' | 'packet_bytes'>,
): IdentityLimits {
  return {
    connections: row.connections ?? undefined,
    messagesPerSecond: row.messages_per_second ?? undefined,
    packetBytes: row.packet_bytes ?? undefined,
  }
}

/** What the audit log shows: how it is proven, never by what. */
function audited({ kind, proof, limits, machines, revokedAt, rotatedAt }: Credential): object {
  return { kind, proof, limits, machines, rotatedAt, revokedAt }
}
