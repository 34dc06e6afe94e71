import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import { inspectionSchema, listInspections, listOperatorTasks, operatorTaskSchema } from '../advise/inspection-list.ts'
import { inspectionStates } from '../advise/programme-tables.ts'
import type { Catalogue } from '../catalogue/catalogue.ts'
import { machineById } from '../machines/machines.ts'
import type { Database } from '../records/tables.ts'
import { page, pageQuery, textCursor, toPage } from './page.ts'
import { idInPath, text } from './text.ts'

export interface InspectionParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  readonly now: () => number
}

/** When it was reminded of and its number. */
const INSPECTION_KEY = /^\d{0,15}:\d{1,15}$/

/** What is due by hours, volume and calendar, and the counters of the operator's own tasks. */
export function inspectionRoutes({ db, catalogue, now }: InspectionParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/inspections',
      {
        schema: {
          summary: 'Inspections: those that were reminded of, newest first, then the others',
          querystring: pageQuery.extend({
            machine: text.optional(),
            state: z.enum(inspectionStates).optional(),
            performer: z.enum(['service', 'customer', 'operator']).optional(),
          }),
          response: { 200: page(inspectionSchema) },
        },
      },
      async ({ query: { cursor, performer, ...query } }) => {
        // the operator's tasks are counters of the machine, not inspections
        if (performer === 'operator') return { items: [], next: null }
        return toPage(
          await listInspections(db, catalogue, { ...query, performer, after: textCursor(cursor, INSPECTION_KEY) }),
        )
      },
    )
    app.get(
      '/machines/:id/operator-tasks',
      {
        schema: {
          summary: "Counters of the operator's tasks: daily checks, greasing",
          params: idInPath,
          response: { 200: page(operatorTaskSchema) },
        },
      },
      async ({ params: { id } }) => {
        await machineById(db, id)
        return { items: await listOperatorTasks(db, catalogue, { machine: id, now: now() }), next: null }
      },
    )
  }
}
