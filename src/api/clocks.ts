import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import { listJumps } from '../acquire/clock-records.ts'
import { CLOCK_STATES, type ClockView, type ClockViewQuery } from '../acquire/clock-view.ts'
import type { MachineSequence } from '../acquire/sequence.ts'
import { listClockPolicies, type RecordedClockPolicy, setClockPolicy } from '../machines/clock-policies.ts'
import { machineById } from '../machines/machines.ts'
import type { Database } from '../records/tables.ts'
import { cutPage, numberCursor, page, pageQuery, textCursor } from './page.ts'
import { neededReason, user } from './person.ts'
import { idInPath as params, text } from './text.ts'
import { instant, instantMs, rfcTime } from './time.ts'

/** What the stages know of clocks and of the machines' numbering. */
export interface ClockReads {
  clocks(query: ClockViewQuery): Promise<ClockView[]>
  sequenceOf(machine: string): Promise<MachineSequence | undefined>
}

export interface ClockParts {
  readonly db: Kysely<Database>
  readonly clockReads: ClockReads
  /** Resolves when what is received from now on is judged by what was changed. */
  readonly refresh: () => Promise<void>
  readonly now: () => number
}

const policySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('as_sent').describe('It is taken at its word') }),
  z.strictObject({
    kind: z.literal('offset'),
    offsetMs: z.int().describe('How far its clock is ahead, ms; negative: behind. It is taken off.'),
  }),
  z.strictObject({
    kind: z.literal('zone').describe('It sends local time, as if it were UTC or without a zone'),
    zone: text.max(64).describe('IANA name, for example Asia/Shanghai'),
  }),
  z.strictObject({ kind: z.literal('no_clock').describe('The time of receipt is taken, and marked so') }),
])
const clockSchema = z.object({
  device: z.string(),
  machine: z.string().describe('Whom it speaks for now'),
  policy: policySchema,
  state: z.enum(CLOCK_STATES).describe('After the policy; `right` is to a minute'),
  offsetMs: z.number().nullable().describe('How far it is ahead of ours, the fastest way to us included'),
  driftPpm: z.number().nullable().describe('How fast it gains on ours; 11.6 are a second a day'),
  latenessMs: z.number().nullable().describe('How much later than the fastest a live reading comes, on average'),
  liveAt: z.string().nullable(),
  readings: z.object({ live: z.int(), backlog: z.int(), refused: z.int().describe('As being ahead') }),
  jumps: z.int(),
  lastJump: z.object({ at: z.string(), fromMs: z.number(), toMs: z.number() }).nullable(),
  backlog: z
    .object({
      isUnderWay: z.boolean(),
      order: z.enum(['oldest_first', 'newest_first', 'mixed']),
      since: z.string(),
      until: z.string(),
      readings: z.int(),
      live: z.int().describe('Live readings that came between'),
      oldest: z.string(),
      newest: z.string(),
    })
    .nullable()
    .describe('What it sent last of what it had kept'),
})
const recordedSchema = z.object({
  id: z.int(),
  policy: policySchema,
  from: z.string().nullable(),
  to: z.string().nullable(),
  setBy: z.string(),
  reason: z.string(),
  createdAt: z.string(),
  replacedAt: z.string().nullable(),
})
const sequenceSchema = z.object({
  highest: z.int().nullable(),
  skipped: z.int().describe('Numbers that were left out'),
  filled: z.int().describe('Of those, came later'),
  repeated: z.int().describe('Numbers that came again'),
  restarts: z.int().describe('How often the device began its numbering anew'),
})

const jumpSchema = z.object({
  id: z.int(),
  machine: z.string(),
  at: z.string().describe('Receipt of the first reading after it'),
  fromMs: z.number().describe('How far the clock was ahead before'),
  toMs: z.number().describe('And after'),
  detail: z.string(),
})

const DEVICE_ID = /^[A-Za-z0-9._-]{1,64}$/

/** Clocks of devices, what people know of them, and the machines' numbering of what they send. */
export function clockRoutes({ db, clockReads, refresh, now }: ClockParts): FastifyPluginAsyncZod {
  return async (app) => {
    const deviceSchema = z.object({
      clock: clockSchema.nullable().describe('null: nothing with a time was received from it'),
      policies: z.array(recordedSchema).describe('All that was ever said, in the order in which it was'),
    })
    const aboutDevice = async (device: string) => {
      const [clock] = await clockReads.clocks({ device, limit: 1, now: now() })
      const policies = await listClockPolicies(db, device)
      return { clock: clock ? shown(clock) : null, policies: policies.map(shownPolicy) }
    }

    app.get(
      '/clocks',
      {
        schema: {
          summary: 'Clocks of devices as their readings show them, in order of the devices',
          querystring: pageQuery.extend({ machine: text.optional(), state: z.enum(CLOCK_STATES).optional() }),
          response: { 200: page(clockSchema) },
        },
      },
      async ({ query: { cursor, limit, ...filter } }) => {
        const after = textCursor(cursor, DEVICE_ID)
        const found = await clockReads.clocks({ ...filter, after, limit: limit + 1, now: now() })
        return cutPage(found.map(shown), limit, ({ device }) => device)
      },
    )
    app.get(
      '/devices/:id/clock',
      {
        schema: {
          summary: "A device's clock, and what was said of it",
          params,
          response: { 200: deviceSchema },
        },
      },
      ({ params: { id } }) => aboutDevice(id),
    )
    app.put(
      '/devices/:id/clock',
      {
        schema: {
          summary: "Say how a device's clock is to be read, in what is received from one time to another",
          params,
          body: z.strictObject({
            policy: policySchema,
            from: instant.nullable().optional().describe('Of receipt, inclusive; null: without beginning'),
            to: instant.nullable().optional().describe('Of receipt, exclusive; null: without end'),
            user,
            reason: neededReason,
          }),
          response: { 200: deviceSchema },
        },
      },
      async ({ params: { id: device }, body: { policy, from, to, user: by, reason } }) => {
        const draft = { device, policy, from: dateOf(from), to: dateOf(to) }
        await setClockPolicy(db, draft, { user: by, reason, now: now() })
        await refresh()
        return aboutDevice(device)
      },
    )
    app.get(
      '/clock-jumps',
      {
        schema: {
          summary: 'Clocks that were put somewhere else, newest first; at most ten a day of one machine',
          querystring: pageQuery.extend({ machine: text.optional() }),
          response: { 200: page(jumpSchema) },
        },
      },
      async ({ query: { cursor, limit, machine } }) => {
        const jumps = await listJumps(db, { machine, before: numberCursor(cursor), limit: limit + 1 })
        return cutPage(
          jumps.map((jump) => ({ ...jump, at: rfcTime(jump.at) })),
          limit,
          ({ id }) => id,
        )
      },
    )
    app.get(
      '/machines/:id/sequence',
      {
        schema: {
          summary: "Gaps and repeats in the machine's own numbering, since the service was started",
          params,
          response: { 200: sequenceSchema },
        },
      },
      async ({ params: { id } }) => {
        await machineById(db, id)
        const none = { highest: null, skipped: 0, filled: 0, repeated: 0, restarts: 0 }
        return (await clockReads.sequenceOf(id)) ?? none
      },
    )
  }
}

function dateOf(given: string | null | undefined): Date | null {
  return typeof given === 'string' ? new Date(instantMs(given)) : null
}

function shown({ liveAt, lastJump, backlog, ...clock }: ClockView): z.infer<typeof clockSchema> {
  return {
    ...clock,
    liveAt: rfcTime(liveAt),
    lastJump: lastJump && { at: rfcTime(lastJump.at), fromMs: lastJump.from, toMs: lastJump.to },
    backlog: backlog && {
      ...backlog,
      since: rfcTime(backlog.since),
      until: rfcTime(backlog.until),
      oldest: rfcTime(backlog.oldest),
      newest: rfcTime(backlog.newest),
    },
  }
}

function shownPolicy({ id, policy, setBy, reason, ...recorded }: RecordedClockPolicy): z.infer<typeof recordedSchema> {
  const { from, to, createdAt, replacedAt } = recorded
  return {
    id,
    policy,
    from: rfcTime(from),
    to: rfcTime(to),
    setBy,
    reason,
    createdAt: rfcTime(createdAt),
    replacedAt: rfcTime(replacedAt),
  }
}
