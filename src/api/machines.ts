import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Catalogue } from '../catalogue/catalogue.ts'
import { type Binding, bindDevice, listBindings } from '../machines/bindings.ts'
import type { MoveHistory } from '../machines/history-moves.ts'
import {
  changeMachine,
  listMachines,
  type Machine,
  type MachineFacts,
  type MachineStatus,
  machineById,
  registerMachine,
} from '../machines/machines.ts'
import { mergeMachines } from '../machines/merge.ts'
import type { Database } from '../records/tables.ts'
import { cutPage, numberCursor, page, pageQuery, textCursor } from './page.ts'
import { optionalUser, reason, user } from './person.ts'
import { ApiProblem } from './problem.ts'
import { idInPath as params, text } from './text.ts'
import { instant, instantMs, rfcTime } from './time.ts'

export interface MachineParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  /** Resolves when what is received from now on is judged by what was changed. */
  readonly refresh: () => Promise<void>
  readonly moveHistory: MoveHistory
  /** Told of machines that were changed here. */
  readonly changed: (machine: string) => void
  readonly now: () => number
}

const states = ['unassigned', 'in_service', 'parked', 'workshop', 'retired'] as const
/** A machine that was heard so recently is online, where it never sent a status. */
const RECENT_MS = 15 * 60_000
const MACHINE_ID = /^[A-Za-z0-9._-]{1,64}$/

const contactSchema = z.strictObject({
  name: text.max(200).optional(),
  phone: text.max(50).optional(),
  email: text.max(200).optional(),
  role: text.max(100).optional(),
})
const machineSchema = z.object({
  id: z.string(),
  type: z.string(),
  model: z.string().nullable(),
  state: z.enum(states),
  online: z.boolean(),
  lastSeenAt: z.string().nullable(),
  newestMeasuredAt: z.string().nullable(),
  serviceHours: z.number().nullable(),
  serviceHoursSource: z.string().nullable(),
  serviceHoursAt: z.string().nullable(),
  volumeM3: z.number().nullable(),
  serial: z.string().nullable(),
  customer: z.string().nullable(),
  site: z.string().nullable(),
  region: z.string().nullable(),
  timeZone: z.string(),
  deliveredAt: z.string().nullable(),
  contacts: z.array(contactSchema),
  language: z.enum(['en', 'zh']),
  position: z.object({ latitude: z.number(), longitude: z.number(), at: z.string() }).nullable(),
  mergedInto: z.string().nullable(),
  createdAt: z.string(),
})
const bindingSchema = z.object({
  id: z.int(),
  device: z.string(),
  machine: z.string(),
  from: z.string().nullable(),
  to: z.string().nullable(),
  boundBy: z.string(),
  reason: z.string().nullable(),
  createdAt: z.string(),
  replacedAt: z.string().nullable(),
})
const moveSchema = z.object({
  from: z.string(),
  to: z.string(),
  measuredFrom: z.string().nullable(),
  measuredTo: z.string().nullable(),
})

const factsSchema = z.strictObject({
  type: text.max(64).optional(),
  model: text.max(64).nullable().optional(),
  serial: text.max(100).nullable().optional().describe('Serial number or PIN'),
  customer: text.max(200).nullable().optional(),
  site: text.max(200).nullable().optional(),
  region: text.max(200).nullable().optional(),
  timeZone: text.max(64).optional().describe('IANA name of the site'),
  deliveredAt: instant.nullable().optional().describe('Handover acceptance: the start of all calendar counting'),
  contacts: z.array(contactSchema).max(20).optional(),
  language: z.enum(['en', 'zh']).optional(),
  state: z
    .enum(['in_service', 'parked', 'workshop', 'retired'])
    .optional()
    .describe('`parked` and `workshop` silence alarms'),
})

/** Machines, and the devices that speak for them. */
export function machineRoutes({
  db,
  catalogue,
  refresh,
  moveHistory,
  changed,
  now,
}: MachineParts): FastifyPluginAsyncZod {
  return async (app) => {
    const decision = (body: { user: string; reason?: string | undefined }) => ({
      user: body.user,
      reason: body.reason,
      now: now(),
    })
    const answer = async (id: string) => shown(await machineById(db, id), now())
    const afterChange = async (id: string) => {
      await refresh()
      changed(id)
      return answer(id)
    }

    app.get(
      '/machines',
      {
        schema: {
          summary: 'Machines in order of their id',
          querystring: pageQuery.extend({
            type: text.optional(),
            state: z.enum(states).optional(),
            site: text.optional(),
            customer: text.optional(),
          }),
          response: { 200: page(machineSchema) },
        },
      },
      async ({ query: { cursor, limit, ...filter } }) => {
        const found = await listMachines(db, { ...filter, after: textCursor(cursor, MACHINE_ID), limit: limit + 1 })
        return cutPage(
          found.map((machine) => shown(machine, now())),
          limit,
          ({ id }) => id,
        )
      },
    )
    app.get(
      '/machines/:id',
      { schema: { summary: 'One machine', params, response: { 200: machineSchema } } },
      ({ params: { id } }) => answer(id),
    )
    app.post(
      '/machines',
      {
        schema: {
          summary: 'Register a machine, or name one that was seen before',
          body: factsSchema.required({ type: true }).extend({ id: text, user: optionalUser, reason }),
          response: { 201: machineSchema },
        },
      },
      async ({ body }, reply) => {
        const { id, user: by, reason: why, ...facts } = body
        await registerMachine(
          db,
          catalogue,
          { id, ...datesOf(facts), type: facts.type },
          decision({ user: by, reason: why }),
        )
        const machine = await afterChange(id)
        return reply.code(201).header('location', `/api/v1/machines/${id}`).send(machine)
      },
    )
    app.patch(
      '/machines/:id',
      {
        schema: {
          summary: 'Change what is written down of a machine, its state included',
          params,
          body: factsSchema.extend({
            id: text.optional().describe('As in the path; an id does not change'),
            user: optionalUser,
            reason,
          }),
          response: { 200: machineSchema },
        },
      },
      async ({ params: { id }, body }) => {
        const { id: named = id, user: by, reason: why, ...facts } = body
        if (named !== id)
          throw new ApiProblem(400, `'${id}' cannot become '${named}': the id of a machine does not change`)
        await changeMachine(db, catalogue, id, datesOf(facts), decision({ user: by, reason: why }))
        return afterChange(id)
      },
    )
    app.post(
      '/machines/:id/park',
      {
        schema: {
          summary: 'Park a machine: its alarms are silenced, and say so',
          params,
          body: z.strictObject({ user, reason }),
          response: { 200: machineSchema },
        },
      },
      async ({ params: { id }, body }) => {
        await changeMachine(db, catalogue, id, { state: 'parked' }, decision(body))
        return afterChange(id)
      },
    )
    app.post(
      '/machines/:id/merge',
      {
        schema: {
          summary: 'Say that this machine is another one: devices and history go there',
          params,
          body: z.strictObject({ into: text, user, reason }),
          response: { 200: machineSchema },
        },
      },
      async ({ params: { id }, body }) => {
        await mergeMachines(db, { from: id, into: body.into }, decision(body), moveHistory)
        return afterChange(body.into)
      },
    )

    app.get(
      '/bindings',
      {
        schema: {
          summary: 'Which device speaks for which machine; without an entry, for the machine of its own name',
          querystring: pageQuery.extend({
            device: text.optional(),
            machine: text.optional(),
            replaced: z.stringbool().optional().describe('Also those that another took the place of'),
          }),
          response: { 200: page(bindingSchema) },
        },
      },
      async ({ query: { cursor, limit, ...filter } }) => {
        const found = await listBindings(db, { ...filter, after: numberCursor(cursor), limit: limit + 1 })
        return cutPage(found.map(shownBinding), limit, ({ id }) => id)
      },
    )
    app.post(
      '/bindings',
      {
        schema: {
          summary: 'Bind a device to a machine from one time to another',
          body: z.strictObject({
            device: text,
            machine: text,
            from: instant.nullable().optional().describe('Inclusive; null: without beginning'),
            to: instant.nullable().optional().describe('Exclusive; null: without end'),
            user,
            reason,
          }),
          response: {
            201: z.object({ binding: bindingSchema, moved: z.array(moveSchema), unmoved: z.array(moveSchema) }),
          },
        },
      },
      async ({ body }, reply) => {
        const draft = {
          device: body.device,
          machine: body.machine,
          from: dateOf(body.from) ?? null,
          to: dateOf(body.to) ?? null,
        }
        const { binding, moved, unmoved } = await bindDevice(db, draft, decision(body), moveHistory)
        await refresh()
        changed(binding.machine)
        const shownMove = (move: (typeof moved)[number]) => ({
          ...move,
          measuredFrom: rfcTime(move.measuredFrom),
          measuredTo: rfcTime(move.measuredTo),
        })
        return reply
          .code(201)
          .send({ binding: shownBinding(binding), moved: moved.map(shownMove), unmoved: unmoved.map(shownMove) })
      },
    )
  }
}

function datesOf<T extends { deliveredAt?: string | null | undefined }>(
  facts: T,
): Omit<T, 'deliveredAt'> & MachineFacts {
  return { ...facts, deliveredAt: dateOf(facts.deliveredAt) }
}

function dateOf(text: string | null | undefined): Date | null | undefined {
  return typeof text === 'string' ? new Date(instantMs(text)) : text
}

function shown(machine: Machine & MachineStatus, now: number): z.infer<typeof machineSchema> {
  const { lastSeenAt, position } = machine
  const heardRecently = lastSeenAt !== null && now - lastSeenAt.getTime() <= RECENT_MS
  return {
    ...machine,
    online: machine.online ?? heardRecently,
    lastSeenAt: rfcTime(lastSeenAt),
    newestMeasuredAt: rfcTime(machine.newestMeasuredAt),
    serviceHoursAt: rfcTime(machine.serviceHoursAt),
    deliveredAt: rfcTime(machine.deliveredAt),
    contacts: [...machine.contacts],
    position: position && { ...position, at: rfcTime(position.at) },
    createdAt: rfcTime(machine.createdAt),
  }
}

function shownBinding(binding: Binding): z.infer<typeof bindingSchema> {
  return {
    ...binding,
    from: rfcTime(binding.from),
    to: rfcTime(binding.to),
    createdAt: rfcTime(binding.createdAt),
    replacedAt: rfcTime(binding.replacedAt),
  }
}
