import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Database } from '../records/tables.ts'
import { cutPage, numberCursor, page, pageQuery } from './page.ts'
import { text } from './text.ts'
import { rfcTime } from './time.ts'

const changeSchema = z.object({
  id: z.int(),
  at: z.string(),
  user: z.string(),
  action: z.string().describe('`machine.register`, `rule.override`, …'),
  subject: z.string().describe('Id of what was changed'),
  before: z.unknown().describe('What it was; null where it is new'),
  after: z.unknown().describe('What it became, where that is more than the action says'),
  reason: z.string().nullable(),
})

/** What people changed. */
export function auditRoutes({ db }: { readonly db: Kysely<Database> }): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/audit',
      {
        schema: {
          summary: 'What people changed, newest first',
          querystring: pageQuery.extend({
            user: text.optional(),
            action: text.optional(),
            subject: text.optional(),
          }),
          response: { 200: page(changeSchema) },
        },
      },
      async ({ query: { cursor, limit, user, action, subject } }) => {
        const before = numberCursor(cursor)
        let query = db
          .selectFrom('audit')
          .selectAll()
          .orderBy('id', 'desc')
          .limit(limit + 1)
        if (user !== undefined) query = query.where('by', '=', user)
        if (action !== undefined) query = query.where('action', '=', action)
        if (subject !== undefined) query = query.where('subject', '=', subject)
        if (before !== undefined) query = query.where('id', '<', before)
        const changes = (await query.execute()).map(({ at, by, ...change }) => ({
          ...change,
          at: rfcTime(at),
          user: by,
        }))
        return cutPage(changes, limit, ({ id }) => id)
      },
    )
  }
}
