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
import { idInPath as params, text } from './text.ts'

export interface AlarmParts {
  readonly db: Kysely<Database>
  /** Told of machines whose alarms were changed here. */
  readonly changed: (machine: string) => void
  readonly now: () => number
}

/** When it was raised and its id. */
const ALARM_KEY = /^-?\d{1,15} A-\d{1,19}$/

/** Alarms, newest first, of one machine or of all. */
export function alarmRoutes({ db, changed, now }: AlarmParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/alarms',
      {
        schema: {
          summary: 'Alarms, newest first',
          querystring: pageQuery.extend({
            machine: text.optional(),
            state: alarmStateSchema.optional(),
            severity: severity.optional(),
          }),
          response: { 200: page(alarmSchema) },
        },
      },
      async ({ query: { cursor, ...query } }) =>
        toPage(await listAlarms(db, { ...query, after: textCursor(cursor, ALARM_KEY) })),
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
          body: z.strictObject({ user, note: text.trim().max(1000).optional() }),
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
