import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import { severity } from '../catalogue/schema.ts'
import {
  acknowledgeAlarm,
  alarmSchema,
  alarmStateSchema,
  alarmWithHistory,
  alarmWithHistorySchema,
  listAlarms,
} from '../detect/alarms.ts'
import type { Database } from '../records/tables.ts'
import { page, pageQuery, textCursor, toPage } from './page.ts'
import { user } from './person.ts'

export interface AlarmParts {
  readonly db: Kysely<Database>
  /** Told of machines whose alarms were changed here. */
  readonly changed: (machine: string) => void
  readonly now: () => number
}

/** Alarms, newest first, of one machine or of all. */
export function alarmRoutes({ db, changed, now }: AlarmParts): FastifyPluginAsyncZod {
  return async (app) => {
    const params = z.object({ id: z.string() })
    app.get(
      '/alarms',
      {
        schema: {
          summary: 'Alarms, newest first',
          querystring: pageQuery.extend({
            machine: z.string().optional(),
            state: alarmStateSchema.optional(),
            severity: severity.optional(),
          }),
          response: { 200: page(alarmSchema) },
        },
      },
      async ({ query: { cursor, ...query } }) => toPage(await listAlarms(db, { ...query, after: textCursor(cursor) })),
    )
    app.get(
      '/alarms/:id',
      { schema: { summary: 'One alarm with its history', params, response: { 200: alarmWithHistorySchema } } },
      ({ params: { id } }) => alarmWithHistory(db, id),
    )
    app.post(
      '/alarms/:id/acknowledge',
      {
        schema: {
          summary: 'Say that somebody has seen an alarm',
          params,
          body: z.object({ user, note: z.string().trim().max(1000).optional() }),
          response: { 200: alarmSchema },
        },
      },
      async ({ params: { id }, body }) => {
        const alarm = await acknowledgeAlarm(db, id, { user: body.user, note: body.note ?? null, now: now() })
        changed(alarm.machine)
        return alarm
      },
    )
  }
}
