import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import { z } from 'zod'
import { type MachineTail, machineTail, type TailMessage, type TailParts } from '../machine-tail.ts'
import { idInPath as params } from './text.ts'
import { rfcTime } from './time.ts'

const messageSchema = z.object({
  device: z.string(),
  receivedAt: z.string(),
  measuredAt: z.string().nullable().describe('Newest of its usable sets'),
  topic: z.string().nullable(),
  qos: z.int().nullable(),
  retained: z.boolean().nullable(),
  replayed: z.boolean().nullable().describe('Put in again from quarantine'),
  size: z.int().nullable().describe('Bytes'),
  outcome: z
    .enum(['stored', 'duplicate', 'quarantined', 'mixed', 'taken', 'waiting'])
    .describe('`taken`: good, and without reading sets; `waiting`: in the spool, not judged yet'),
  stored: z.int().describe('Reading sets'),
  duplicate: z.int(),
  quarantined: z.int(),
  quarantine: z
    .array(z.object({ id: z.int(), reason: z.string(), detail: z.string() }))
    .describe('The first of them that are in quarantine'),
  rejected: z
    .array(z.object({ signal: z.string(), reason: z.string() }))
    .nullable()
    .describe('The first values that count as no value; null where the bytes are gone or too many'),
  payload: z.string().nullable().describe('At most 4096 bytes; null where they are gone'),
  encoding: z.enum(['utf8', 'base64']).nullable(),
  isCut: z.boolean().nullable().describe('There is more of the payload than is shown'),
})
const tailSchema = z.object({
  id: z.string(),
  machine: z
    .object({ id: z.string(), type: z.string(), state: z.string(), mergedInto: z.string().nullable() })
    .nullable()
    .describe('For which the device of this id speaks now; null where none is known'),
  devices: z.array(z.string()).describe('Whose messages these are'),
  since: z.string().describe('Since when messages and connections are remembered; older ones are from the quarantine'),
  unjudgedBytes: z.int().describe('In the spool, of all devices'),
  diagnosis: z.array(z.object({ code: z.string(), text: z.string() })).describe('Most important first'),
  connections: z
    .array(
      z.object({
        at: z.string(),
        event: z.string(),
        reason: z.string().nullable(),
        detail: z.string().nullable(),
        clientId: z.string(),
        address: z.string(),
      }),
    )
    .describe('Oldest first; of the built-in broker only'),
  messages: z.array(messageSchema).describe('Newest first, at most 50'),
})

export interface TailRouteParts extends TailParts {
  readonly now: () => number
}

/** Why a machine does not show: its last messages, and what became of them. */
export function tailRoutes({ now, ...parts }: TailRouteParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/machines/:id/tail',
      {
        schema: {
          summary: 'The last messages of a machine, device or gateway, what became of them, and why it may not show',
          description: 'Also for ids that nobody has registered.',
          params,
          response: { 200: tailSchema },
        },
      },
      async ({ params: { id } }) => shown(await machineTail(parts, id, now())),
    )
  }
}

function shown({ machine, since, connections, messages, devices, diagnosis, ...tail }: MachineTail) {
  return {
    ...tail,
    devices: [...devices],
    diagnosis: [...diagnosis],
    machine: machine
      ? { id: machine.id, type: machine.type, state: machine.state, mergedInto: machine.mergedInto }
      : null,
    since: rfcTime(since),
    connections: connections.map(({ at, reason = null, detail = null, ...event }) => ({
      ...event,
      at: rfcTime(at),
      reason,
      detail,
    })),
    messages: messages.map(shownMessage),
  }
}

function shownMessage({ position, isOlder, message, payload, receivedAt, measuredAt, rejected, ...rest }: TailMessage) {
  return {
    ...rest,
    receivedAt: rfcTime(receivedAt),
    measuredAt: rfcTime(measuredAt),
    topic: rest.topic ?? null,
    size: rest.size ?? null,
    qos: message?.qos ?? null,
    retained: message?.retained ?? null,
    replayed: message ? message.origin === 'replay' : null,
    quarantine: [...rest.quarantine],
    rejected: rejected ? [...rejected] : null,
    payload: payload?.text ?? null,
    encoding: payload?.encoding ?? null,
    isCut: payload?.isCut ?? null,
  }
}
