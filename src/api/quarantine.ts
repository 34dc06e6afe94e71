import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import { discardFromQuarantine, listQuarantine, quarantinedItem, replayFromQuarantine } from '../acquire/quarantine.ts'
import type { Database } from '../records/tables.ts'
import { numberCursor, page, pageQuery, toPage } from './page.ts'
import { optionalUser, reason } from './person.ts'
import { numberInPath as params, text } from './text.ts'

export interface QuarantineParts {
  readonly db: Kysely<Database>
  /** Puts a message into the spool again, as of its first receipt (epoch ms); resolves when it is durable. */
  readonly inject: (topic: string, bytes: Uint8Array, receivedAt: number) => Promise<void>
  readonly now: () => number
}

const itemSchema = z.object({
  id: z.int(),
  receivedAt: z.string(),
  topic: z.string(),
  device: z
    .string()
    .nullable()
    .describe('Whose topic it is, or whom a gateway’s set names; null where nobody is named'),
  reason: z.string(),
  detail: z.string(),
  size: z.int().describe('Bytes that came'),
  bytesDroppedAt: z.string().nullable().describe('When they were given up, because the budget was used up'),
  state: z.enum(['held', 'replayed', 'discarded']),
  decidedAt: z.string().nullable(),
  decidedBy: z.string().nullable(),
})

/** What could not be used, as it came: to look at, to put in again after a fix, or to give up. */
export function quarantineRoutes({ db, inject, now }: QuarantineParts): FastifyPluginAsyncZod {
  return async (app) => {
    // a POST without a body is enough
    const body = z.preprocess((given) => given ?? {}, z.strictObject({ user: optionalUser, reason }))

    app.get(
      '/quarantine',
      {
        schema: {
          summary: 'What is in quarantine, newest first',
          querystring: pageQuery.extend({
            reason: text.optional(),
            device: text.optional().describe('The sender'),
            state: itemSchema.shape.state.optional().describe('Without it, those that are held'),
          }),
          response: { 200: page(itemSchema) },
        },
      },
      async ({ query: { cursor, ...query } }) =>
        toPage(await listQuarantine(db, { ...query, after: numberCursor(cursor) })),
    )
    app.get(
      '/quarantine/:id',
      {
        schema: {
          summary: 'One entry with its bytes',
          params,
          response: {
            200: itemSchema.extend({ bytes: z.string().nullable().describe('base64; null where they were given up') }),
          },
        },
      },
      ({ params: { id } }) => quarantinedItem(db, id),
    )
    app.post(
      '/quarantine/:id/replay',
      { schema: { summary: 'Put it in again, as a new receipt', params, body, response: { 200: itemSchema } } },
      ({ params: { id }, body: { user, reason: why } }) =>
        replayFromQuarantine(db, id, { user, reason: why, now: now() }, inject),
    )
    app.post(
      '/quarantine/:id/discard',
      { schema: { summary: 'Give it up', params, body, response: { 200: itemSchema } } },
      ({ params: { id }, body: { user, reason: why } }) =>
        discardFromQuarantine(db, id, { user, reason: why, now: now() }),
    )
  }
}
