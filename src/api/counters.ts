import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import { confirmCounter, enterMeterReading, listCounterDoubts } from '../features/hours-ledger-records.ts'
import { machineById } from '../machines/machines.ts'
import type { Database } from '../records/tables.ts'
import { cutPage, numberCursor, page, pageQuery } from './page.ts'
import { user } from './person.ts'
import { idInPath, numberInPath, text } from './text.ts'
import { instant, instantMs, rfcTime } from './time.ts'

export interface CounterParts {
  readonly db: Kysely<Database>
  /** Resolves when the ledgers have taken over what was said. */
  readonly refresh: () => Promise<void>
  readonly now: () => number
}

const doubtSchema = z.object({
  id: z.int(),
  machine: z.string(),
  signal: z.string(),
  kind: z.string(),
  at: z.string(),
  value: z.number().nullable(),
  previous: z.number().nullable(),
  detail: z.string(),
  confirmedAt: z.string().nullable(),
  confirmedBy: z.string().nullable(),
  resolution: z.string().nullable(),
})

/** Hour and volume counters that fell or jumped, and hour meters that people read. */
export function counterRoutes({ db, refresh, now }: CounterParts): FastifyPluginAsyncZod {
  return async (app) => {
    const note = text.trim().max(1000).optional()

    app.get(
      '/counter-doubts',
      {
        schema: {
          summary: 'Counters that fell or jumped, newest first',
          querystring: pageQuery.extend({
            machine: text.optional(),
            open: z.stringbool().optional().describe('true: only those that nobody decided on; false: only the others'),
          }),
          response: { 200: page(doubtSchema) },
        },
      },
      async ({ query: { cursor, limit, ...filter } }) => {
        const doubts = await listCounterDoubts(db, { ...filter, before: numberCursor(cursor), limit: limit + 1 })
        const shown = doubts.map((doubt) => ({
          ...doubt,
          at: rfcTime(doubt.at),
          confirmedAt: rfcTime(doubt.confirmedAt),
        }))
        return cutPage(shown, limit, ({ id }) => id)
      },
    )
    app.post(
      '/counter-doubts/:id/confirm',
      {
        schema: {
          summary: 'Decide about a counter that fell or jumped',
          params: numberInPath,
          body: z.strictObject({
            resolution: z
              .enum(['accept', 'continue', 'set'])
              .describe('accept: the counter is right; continue: go on from the last good value; set: it was `value`'),
            value: z.number().min(0).optional(),
            user,
            note,
          }),
          response: { 204: z.void() },
        },
      },
      async ({ params: { id }, body: { user: by, ...body } }, reply) => {
        await confirmCounter(db, { event: id, ...body, by, now: now() })
        await refresh()
        return reply.code(204).send()
      },
    )
    app.post(
      '/machines/:id/meter-readings',
      {
        schema: {
          summary: 'Enter what the hour meter shows',
          params: idInPath,
          body: z.strictObject({
            hours: z.number().min(0),
            at: instant.optional().describe('When it was read; without it, now'),
            user,
            note,
          }),
          response: { 204: z.void() },
        },
      },
      async ({ params: { id }, body: { user: by, at, ...body } }, reply) => {
        await machineById(db, id)
        const readAt = at === undefined ? now() : instantMs(at)
        await enterMeterReading(db, { machine: id, ...body, at: readAt, by, now: now() })
        await refresh()
        return reply.code(204).send()
      },
    )
  }
}
