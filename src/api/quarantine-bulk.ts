import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import { bulkById, cancelBulk, listBulks, type QuarantineBulk, startBulk } from '../acquire/quarantine-bulk.ts'
import { groupQuarantine, type QuarantineGroup } from '../acquire/quarantine-groups.ts'
import type { Database } from '../records/tables.ts'
import { numberCursor, page, pageQuery, toPage } from './page.ts'
import { optionalUser, reason } from './person.ts'
import { numberInPath as params, text } from './text.ts'
import { instant, instantMs, rfcTime } from './time.ts'

export interface QuarantineBulkParts {
  readonly db: Kysely<Database>
  /** Told that a bulk decision waits to be worked off. */
  readonly bulkStarted: () => void
  readonly now: () => number
}

const groupSchema = z.object({
  reason: z.string(),
  type: z.string().nullable().describe('Of the machines for which the senders speak now; null: none that is known'),
  devices: z.int().describe('Senders; 0 where the topics name nobody'),
  entries: z.int().describe('Those that nobody decided on'),
  withoutBytes: z.int().describe('Of them, those whose bytes were given up'),
  bytes: z.int().describe('Of the others'),
  merged: z.int().describe('Entries given up of which only the number is left'),
  mergedFrom: z.string().nullable(),
  mergedTo: z.string().nullable(),
  firstAt: z.string().nullable(),
  lastAt: z.string().nullable(),
  exampleId: z.int().nullable().describe('The newest one'),
  exampleDevice: z.string().nullable(),
  exampleDetail: z.string().nullable(),
})

const filterSchema = z
  .strictObject({
    reason: text.max(64).optional(),
    type: text
      .max(64)
      .nullable()
      .optional()
      .describe('Of the machine for which the sender speaks now; null: of no known machine'),
    device: text.max(64).optional().describe('The sender; empty: topics that name nobody'),
    from: instant.optional().describe('Received from then on'),
    to: instant.optional().describe('Received before then'),
    ids: z.array(z.int().min(1)).min(1).max(10_000).optional(),
  })
  .refine((filter) => Object.values(filter).some((value) => value !== undefined), 'name at least one criterion')
  .describe('All of what is named has to fit')

const bulkSchema = z.object({
  id: z.int(),
  action: z.enum(['replay', 'discard']),
  filter: z.object({
    reason: z.string().optional(),
    type: z.string().nullable().optional(),
    device: z.string().optional(),
    from: z.string().optional(),
    to: z.string().optional(),
    ids: z.array(z.int()).optional(),
  }),
  state: z.enum(['running', 'done', 'cancelled']),
  decided: z.int().describe('Entries replayed or discarded'),
  skipped: z.int().describe('Entries that have no bytes to replay; they stay'),
  remaining: z.int().nullable().describe('Entries still to come; null in lists while it runs'),
  startedAt: z.string(),
  startedBy: z.string(),
  reason: z.string().nullable(),
  endedAt: z.string().nullable(),
  cancelledBy: z.string().nullable(),
})

/** The quarantine as a whole: what is in it by reason and type, and decisions on much of it at once. */
export function quarantineBulkRoutes({ db, bulkStarted, now }: QuarantineBulkParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/quarantine/groups',
      {
        schema: {
          summary: 'What is in quarantine, by reason and type of the sending device',
          response: { 200: page(groupSchema) },
        },
      },
      async () => ({ items: (await groupQuarantine(db, now())).map(shownGroup), next: null }),
    )
    for (const action of ['replay', 'discard'] as const) {
      app.post(
        `/quarantine/${action}`,
        {
          schema: {
            summary: action === 'replay' ? 'Put all that fits in again' : 'Give up all that fits',
            description: 'It is done in the background, for what is in quarantine now.',
            body: z.strictObject({ filter: filterSchema, user: optionalUser, reason }),
            response: { 202: bulkSchema },
          },
        },
        async ({ body: { filter, user, reason: why } }, reply) => {
          const { from, to, ...rest } = filter
          const span = { from: from && rfcTime(instantMs(from)), to: to && rfcTime(instantMs(to)) }
          const decision = { user, reason: why, now: now() }
          const bulk = await startBulk(db, { action, filter: { ...rest, ...span } }, decision)
          bulkStarted()
          return reply.code(202).send(shownBulk(bulk))
        },
      )
    }
    app.get(
      '/quarantine/bulk',
      {
        schema: {
          summary: 'Bulk decisions, newest first',
          querystring: pageQuery,
          response: { 200: page(bulkSchema) },
        },
      },
      async ({ query: { cursor, limit } }) => {
        const { items, next } = await listBulks(db, { after: numberCursor(cursor), limit })
        return toPage({ items: items.map(shownBulk), next })
      },
    )
    app.get(
      '/quarantine/bulk/:id',
      { schema: { summary: 'How far a bulk decision has got', params, response: { 200: bulkSchema } } },
      async ({ params: { id } }) => shownBulk(await bulkById(db, id)),
    )
    app.post(
      '/quarantine/bulk/:id/cancel',
      {
        schema: {
          summary: 'End a bulk decision where it is',
          params,
          // a POST without a body is enough
          body: z.preprocess((given) => given ?? {}, z.strictObject({ user: optionalUser, reason })),
          response: { 200: bulkSchema },
        },
      },
      async ({ params: { id }, body: { user, reason: why } }) =>
        shownBulk(await cancelBulk(db, id, { user, reason: why, now: now() })),
    )
  }
}

function shownGroup(group: QuarantineGroup) {
  const { mergedFrom, mergedTo, firstAt, lastAt } = group
  return {
    ...group,
    mergedFrom: rfcTime(mergedFrom),
    mergedTo: rfcTime(mergedTo),
    firstAt: rfcTime(firstAt),
    lastAt: rfcTime(lastAt),
  }
}

function shownBulk(bulk: QuarantineBulk) {
  const { ids, ...filter } = bulk.filter
  return {
    ...bulk,
    filter: ids ? { ...filter, ids: [...ids] } : filter,
    startedAt: rfcTime(bulk.startedAt),
    endedAt: rfcTime(bulk.endedAt),
  }
}
