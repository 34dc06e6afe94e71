import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { AccessKey } from '../acquire/access-key.ts'
import { CREDENTIAL_KINDS, type CredentialKind } from '../machines/credential-tables.ts'
import {
  type Credential,
  changeCredential,
  credentialByName,
  type IssuedCredential,
  issueCredential,
  listCredentials,
  revokeCredential,
  rotateCredential,
  rotateCredentials,
} from '../machines/credentials.ts'
import type { Database } from '../records/tables.ts'
import { cutPage, page, pageQuery, textCursor } from './page.ts'
import { optionalUser, reason } from './person.ts'
import { text } from './text.ts'
import { rfcTime } from './time.ts'

export interface CredentialParts {
  readonly db: Kysely<Database>
  readonly accessKey: AccessKey
  /** Resolves when the broker has taken over who may log in. */
  readonly refreshAccess: () => Promise<void>
  /** Resolves when the stages know for whom gateways speak. */
  readonly refresh: () => Promise<void>
  readonly now: () => number
}

/** 50,000 of the longest user names. */
const LARGEST_BYTES = 4 * 1024 * 1024
const USER_NAME = /^[A-Za-z0-9._-]{1,64}$/

const kind = z.enum(CREDENTIAL_KINDS)
const limit = z.number().positive().nullable()
const connections = z.int().min(1).max(100_000).nullable().describe('At the same time')
const packetBytes = z.int().min(128).max(268_435_455).nullable().describe('Largest MQTT packet')
const limitsSchema = z.object({
  connections: connections,
  messagesPerSecond: limit.describe('What comes beyond is acknowledged later, never dropped'),
  packetBytes,
})
const credentialSchema = z.object({
  kind,
  id: z.string().describe('User name'),
  proof: z.enum(['secret', 'password', 'none']).describe('`none`: a client certificate, or nothing'),
  limits: limitsSchema,
  machines: z.array(z.string()).describe('For whom a bridge may publish, and a gateway where it has any'),
  createdAt: z.string(),
  createdBy: z.string(),
  rotatedAt: z.string().nullable(),
  rotatedBy: z.string().nullable(),
  revokedAt: z.string().nullable(),
  revokedBy: z.string().nullable(),
  lastUsedAt: z.string().nullable().describe('When it logged in last, at most an hour old'),
})
const issuedSchema = credentialSchema.extend({
  secret: z.string().nullable().describe('Shown this once; null where a password was brought along'),
})

const limitsDraft = z
  .strictObject({
    connections,
    messagesPerSecond: z.number().min(0.001).max(1_000_000).nullable(),
    packetBytes,
  })
  .partial()
const password = text.optional().describe('12 to 256 characters; left out, a random secret is issued')
const machineList = z.array(text.max(64)).max(10_000)
const named = z.object({ kind, id: text })

/** Who may log in at the embedded broker, and for what. */
export function credentialRoutes({
  db,
  accessKey,
  refreshAccess,
  refresh,
  now,
}: CredentialParts): FastifyPluginAsyncZod {
  const decision = ({ user, reason: why }: { user: string; reason?: string | undefined }) => ({
    user,
    reason: why,
    now: now(),
  })
  /** Whom it concerns learns of it before whoever asked. */
  const effective = async <T>(ofKind: CredentialKind, work: Promise<T>): Promise<T> => {
    const done = await work
    await refreshAccess()
    if (ofKind === 'gateway') await refresh()
    return done
  }

  return async (app) => {
    app.get(
      '/credentials',
      {
        schema: {
          summary: 'Who may log in, in order of their user names',
          querystring: pageQuery.extend({
            id: text.optional(),
            kind: kind.optional(),
            machine: text.optional().describe('Only those that this machine was assigned to'),
            revoked: z.stringbool().optional(),
          }),
          response: { 200: page(credentialSchema) },
        },
      },
      async ({ query: { cursor, limit: most, ...filter } }) => {
        const found = await listCredentials(db, { ...filter, after: textCursor(cursor, USER_NAME), limit: most + 1 })
        return cutPage(found.map(shown), most, ({ id }) => id)
      },
    )
    app.get(
      '/credentials/:kind/:id',
      { schema: { summary: 'One of them', params: named, response: { 200: credentialSchema } } },
      async ({ params }) => shown(await credentialByName(db, params)),
    )
    app.post(
      '/credentials',
      {
        schema: {
          summary: 'Issue credentials; the secret is in the answer and never again',
          body: z.strictObject({
            kind,
            id: text.describe('User name, and what stands in its topics: 1 to 64 of A–Z a–z 0–9 . _ -'),
            password,
            limits: limitsDraft.optional(),
            machines: machineList.optional().describe('For whom a bridge may publish, or a gateway'),
            user: optionalUser,
            reason,
          }),
          response: { 201: issuedSchema },
        },
      },
      async ({ body: { user, reason: why, limits, ...draft } }, reply) => {
        const wanted = { ...draft, limits: withoutNull(limits) }
        const issued = await effective(
          wanted.kind,
          issueCredential(db, accessKey, wanted, decision({ user, reason: why })),
        )
        const { kind: ofKind, id } = issued.credential
        return reply.code(201).header('location', `/api/v1/credentials/${ofKind}/${id}`).send(shownIssued(issued))
      },
    )
    app.patch(
      '/credentials/:kind/:id',
      {
        schema: {
          summary: 'Change limits, and for whom a bridge or gateway speaks',
          params: named,
          body: z.strictObject({
            limits: limitsDraft.optional().describe('What is left out stays, null lifts a limit'),
            assign: machineList.optional(),
            unassign: machineList.optional(),
            user: optionalUser,
            reason,
          }),
          response: { 200: credentialSchema },
        },
      },
      async ({ params, body: { user, reason: why, ...change } }) =>
        shown(await effective(params.kind, changeCredential(db, params, change, decision({ user, reason: why })))),
    )
    app.post(
      '/credentials/rotate',
      {
        bodyLimit: LARGEST_BYTES,
        schema: {
          summary: 'Replace the secrets of many, all or none',
          body: z.strictObject({ ids: z.array(text.max(64)).min(1).max(50_000), user: optionalUser, reason }),
          response: { 200: z.object({ credentials: z.array(z.object({ id: z.string(), secret: z.string() })) }) },
        },
      },
      async ({ body: { ids, ...by } }) => {
        const secrets = await effective('machine', rotateCredentials(db, accessKey, ids, decision(by)))
        return { credentials: [...secrets].map(([id, secret]) => ({ id, secret })) }
      },
    )
    app.post(
      '/credentials/:kind/:id/rotate',
      {
        schema: {
          summary: 'Replace the secret: who is connected by the old one is cut off',
          params: named,
          body: z.preprocess((given) => given ?? {}, z.strictObject({ password, user: optionalUser, reason })),
          response: { 200: issuedSchema },
        },
      },
      async ({ params, body: { user, reason: why, password: brought } }) => {
        const draft = { ...params, password: brought }
        return shownIssued(
          await effective(params.kind, rotateCredential(db, accessKey, draft, decision({ user, reason: why }))),
        )
      },
    )
    app.post(
      '/credentials/:kind/:id/revoke',
      {
        schema: {
          summary: 'End credentials: who is connected by them is cut off; a machine with a certificate is locked out',
          params: named,
          body: z.preprocess((given) => given ?? {}, z.strictObject({ user: optionalUser, reason })),
          response: { 200: credentialSchema },
        },
      },
      async ({ params, body }) => shown(await effective(params.kind, revokeCredential(db, params, decision(body)))),
    )
  }
}

function withoutNull(limits: z.infer<typeof limitsDraft> | undefined) {
  const { connections: most, messagesPerSecond, packetBytes: largest } = limits ?? {}
  return {
    connections: most ?? undefined,
    messagesPerSecond: messagesPerSecond ?? undefined,
    packetBytes: largest ?? undefined,
  }
}

function shown(credential: Credential): z.infer<typeof credentialSchema> {
  const { connections: most, messagesPerSecond, packetBytes: largest } = credential.limits
  return {
    ...credential,
    limits: {
      connections: most ?? null,
      messagesPerSecond: messagesPerSecond ?? null,
      packetBytes: largest ?? null,
    },
    machines: [...credential.machines],
    createdAt: rfcTime(credential.createdAt),
    rotatedAt: rfcTime(credential.rotatedAt),
    revokedAt: rfcTime(credential.revokedAt),
    lastUsedAt: rfcTime(credential.lastUsedAt),
  }
}

function shownIssued({ credential, secret }: IssuedCredential): z.infer<typeof issuedSchema> {
  return { ...shown(credential), secret: secret ?? null }
}
