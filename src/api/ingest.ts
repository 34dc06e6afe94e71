import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { RefusedLogin } from '../acquire/access.ts'
import { type HttpAdmission, type HttpLogin, httpTopic } from '../acquire/http-topic.ts'
import { isId } from '../acquire/topics.ts'
import { ApiProblem } from './problem.ts'
import { rfcTime } from './time.ts'
import { carriesToken } from './token.ts'

export interface IngestParts {
  /** Of the API; whoever has it may send for every machine. */
  readonly token: string | undefined
  readonly prefix: string
  /** Largest body, after decompression. */
  readonly maxBytes: number
  /** Asks who that is, and for whom it may speak. */
  readonly admit: (login: HttpLogin, machine: string | undefined) => Promise<HttpAdmission>
  /** Puts a message into the spool, and resolves when it is durable. The bytes are given away. */
  readonly take: (topic: string, bytes: Uint8Array) => Promise<void>
  readonly now: () => number
}

const unzipped = promisify(gunzip)
const DURABLE_MS = 5_000
const RETRY_SECONDS = 5
/** What may be under way at once, in multiples of the largest body: memory is flat however many send. */
const BODIES_AT_ONCE = 4

const answerSchema = z.object({
  receivedAt: z.string(),
  bytes: z.int().describe('Of the reading sets, after decompression'),
})
const bodySchema = z
  .unknown()
  .describe('One reading set or an array of them, as on the MQTT topics; whatever it is, it is kept as it comes')

/**
 * Reading sets over HTTP, under the same promise as over MQTT: 202 means durable. The body goes as it is into the spool;
 * what cannot be used is found behind it, and is in quarantine.
 */
export function ingestRoutes(parts: IngestParts): FastifyPluginAsyncZod {
  const { token, prefix, maxBytes, admit, take, now } = parts
  const topics = new WeakMap<FastifyRequest, string>()
  let underWay = 0

  /** Before the body is read: who nobody is sends none. */
  async function authorize(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const machine = machineOf(request)
    const { authorization } = request.headers
    const login = basicLogin(request)
    if (login) {
      const admission = await admit(login, machine)
      if ('topic' in admission) topics.set(request, admission.topic)
      else refuse(admission.refused, reply)
    } else if (!token || carriesToken(authorization, token)) {
      topics.set(request, httpTopic(undefined, machine, prefix) as string)
    } else {
      reply.header('www-authenticate', 'Bearer, Basic realm="ingest"')
      throw new ApiProblem(401, 'this needs the API token, or the credentials of a machine or gateway as Basic')
    }
  }

  /** What is announced counts until the answer is out, or the sender is gone. */
  async function makeRoom(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const announced = Number(request.headers['content-length'] ?? maxBytes)
    const size = request.headers['content-encoding'] === undefined ? Math.min(announced, maxBytes) : maxBytes
    if (underWay > 0 && underWay + size > BODIES_AT_ONCE * maxBytes) throw busy(reply, 'too much is being sent at once')
    underWay += size
    reply.raw.once('close', () => {
      underWay -= size
    })
  }

  async function answer(request: FastifyRequest, reply: FastifyReply) {
    const bytes = await decompressed(request, maxBytes)
    const size = bytes.length
    try {
      await inTime(take(topics.get(request) as string, owned(bytes)))
    } catch (error) {
      request.log.debug({ err: error }, 'a body could not be made durable in time')
      throw busy(reply, 'it could not be made durable yet: send it again, it will be stored once')
    }
    return reply.code(202).send({ receivedAt: rfcTime(now()), bytes: size })
  }

  return async (app) => {
    app.removeContentTypeParser('application/json')
    app.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit: maxBytes }, (_, body, done) =>
      done(null, body),
    )
    const route = {
      onRequest: [authorize, makeRoom],
      bodyLimit: maxBytes,
    }
    const described = {
      description:
        'The same promise as over MQTT: 202 means that it is on disk, before anybody has looked inside; what cannot be used is in quarantine then. `content-encoding: gzip` is understood.',
      security: [{ token: [] }, { basic: [] }] as Record<string, string[]>[],
      body: bodySchema,
      response: { 202: answerSchema },
    }
    app.post(
      '/api/v1/ingest',
      {
        ...route,
        schema: {
          ...described,
          summary: 'Take in reading sets',
          querystring: z.strictObject({
            machine: z.string().optional().describe('Whose sets they are; without it each set names its `machine`'),
          }),
        },
      },
      answer,
    )
    app.post(
      '/api/v1/ingest/:machine',
      {
        ...route,
        schema: {
          ...described,
          summary: 'Take in reading sets of one machine',
          params: z.object({ machine: z.string() }),
        },
      },
      answer,
    )
  }
}

/** @throws {ApiProblem} 400, when it is no id: there is no topic that it could go under */
function machineOf(request: FastifyRequest): string | undefined {
  const { machine: inPath } = request.params as { machine?: string }
  const { machine = inPath } = request.query as { machine?: unknown }
  if (machine === undefined || isId(machine)) return machine
  throw new ApiProblem(400, 'machine has to be an id: 1 to 64 of A–Z a–z 0–9 . _ -')
}

function basicLogin({ headers, ip }: FastifyRequest): HttpLogin | undefined {
  const encoded = headers.authorization?.match(/^Basic\s+([A-Za-z0-9+/=_-]+)$/i)?.[1]
  if (encoded === undefined) return undefined
  const [, username = '', password = ''] = /^([^:]*):?(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? []
  return { username, password, address: ip }
}

function refuse(why: RefusedLogin | 'not_authorized', reply: FastifyReply): never {
  if (why === 'not_authorized')
    throw new ApiProblem(403, 'these credentials may send for their own machine or gateway, or for assigned machines')
  if (why === 'too_many_attempts' || why === 'busy') throw busy(reply, 'too many log-ins at once')
  reply.header('www-authenticate', 'Basic realm="ingest"')
  throw new ApiProblem(401, 'these credentials are not known, or the secret is wrong or revoked')
}

function busy(reply: FastifyReply, detail: string): ApiProblem {
  reply.header('retry-after', String(RETRY_SECONDS))
  return new ApiProblem(503, detail)
}

async function decompressed({ body, headers }: FastifyRequest, maxBytes: number): Promise<Buffer> {
  const bytes = body instanceof Buffer ? body : Buffer.alloc(0) // a request without a body is a message without bytes
  const encoding = headers['content-encoding']
  if (encoding === undefined || encoding === 'identity') return bytes
  if (encoding !== 'gzip') throw new ApiProblem(415, `content-encoding '${encoding}' is not gzip`)
  try {
    return await unzipped(bytes, { maxOutputLength: maxBytes })
  } catch (error) {
    const tooLarge = error instanceof RangeError
    throw tooLarge
      ? new ApiProblem(413, `more than ${maxBytes} bytes after decompression`)
      : new ApiProblem(400, 'the body is no gzip')
  }
}

/** Bytes that can be handed to another thread: small buffers share their memory with others. */
function owned(bytes: Buffer): Uint8Array {
  return bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}

async function inTime(durable: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not durable within ${DURABLE_MS} ms`)), DURABLE_MS)
  })
  await Promise.race([durable, late]).finally(() => clearTimeout(timer))
}
