import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { TicketDesk } from '../advise/desk.ts'
import { acceptJob, jobById, jobSchema, listJobs, withdrawJob } from '../advise/jobs.ts'
import { ticketStates } from '../advise/tables.ts'
import {
  changeTicketState,
  commentOnTicket,
  listTickets,
  ticketSchema,
  ticketWithHistory,
  ticketWithHistorySchema,
} from '../advise/tickets.ts'
import type { Catalogue } from '../catalogue/catalogue.ts'
import type { Database } from '../records/tables.ts'
import { numberCursor, page, pageQuery, toPage } from './page.ts'
import { reason, user } from './person.ts'
import { idInPath as params, text } from './text.ts'

export interface WorkParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  /** The built-in desk, where it takes the jobs. */
  readonly desk: TicketDesk | undefined
  /** Told of machines whose jobs or tickets were changed here. */
  readonly changed: (machine: string) => void
  /** Told that a message for the queue was written. */
  readonly queued: () => void
  readonly now: () => number
}

/** Jobs that were proposed, and the tickets that follow them to their end. */
export function workRoutes({ db, catalogue, desk, changed, queued, now }: WorkParts): FastifyPluginAsyncZod {
  return async (app) => {
    const decision = z.strictObject({ user, reason })

    app.get(
      '/jobs',
      {
        schema: {
          summary: 'Maintenance jobs, newest first',
          querystring: pageQuery.extend({ machine: text.optional(), state: jobSchema.shape.state.optional() }),
          response: { 200: page(jobSchema) },
        },
      },
      async ({ query: { cursor, ...query } }) => toPage(await listJobs(db, { ...query, after: numberCursor(cursor) })),
    )
    app.get(
      '/jobs/:id',
      { schema: { summary: 'One job', params, response: { 200: jobSchema } } },
      ({ params: { id } }) => jobById(db, id),
    )
    app.post(
      '/jobs/:id/accept',
      {
        schema: {
          summary: 'Have a proposal done: it becomes a ticket',
          params,
          body: decision,
          response: { 200: jobSchema },
        },
      },
      async ({ params: { id }, body }) => {
        // Even where the desk fails: the acceptance is written, and the queue brings it there again.
        const job = await acceptJob(db, id, { ...body, now: now() }, { catalogue, desk }).finally(queued)
        changed(job.machine)
        return job
      },
    )
    app.post(
      '/jobs/:id/withdraw',
      {
        schema: {
          summary: 'Say that a proposal is not worth doing',
          params,
          body: decision,
          response: { 200: jobSchema },
        },
      },
      async ({ params: { id }, body }) => {
        const job = await withdrawJob(db, id, { ...body, now: now() })
        changed(job.machine)
        return job
      },
    )

    app.get(
      '/tickets',
      {
        schema: {
          summary: 'Tickets, newest first',
          querystring: pageQuery.extend({ machine: text.optional(), state: z.enum(ticketStates).optional() }),
          response: { 200: page(ticketSchema) },
        },
      },
      async ({ query: { cursor, ...query } }) =>
        toPage(await listTickets(db, { ...query, after: numberCursor(cursor) })),
    )
    app.get(
      '/tickets/:id',
      { schema: { summary: 'One ticket with its history', params, response: { 200: ticketWithHistorySchema } } },
      ({ params: { id } }) => ticketWithHistory(db, id),
    )
    app.post(
      '/tickets/:id/state',
      {
        schema: {
          summary: 'Move a ticket on',
          params,
          body: z.strictObject({ state: z.enum(ticketStates), user, reason: reason.describe('Needed to cancel') }),
          response: { 200: ticketWithHistorySchema },
        },
      },
      async ({ params: { id }, body }) => {
        const ticket = await changeTicketState(db, id, { ...body, now: now() })
        changed(ticket.machine)
        return ticket
      },
    )
    app.post(
      '/tickets/:id/comments',
      {
        schema: {
          summary: 'Comment on a ticket',
          params,
          body: z.strictObject({ user, text: text.trim().min(1).max(10_000) }),
          response: { 201: ticketWithHistorySchema },
        },
      },
      async ({ params: { id }, body }, reply) =>
        reply.code(201).send(await commentOnTicket(db, id, { user: body.user, text: body.text, now: now() })),
    )
  }
}
