import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import { z } from 'zod'
import type { Profile } from '../catalogue/catalogue.ts'
import { level, MODE_SIGNAL } from '../reading.ts'
import type { BucketQuery, LatestReading, Point, RangeQuery } from '../store/telemetry-store.ts'
import { isTimeZone } from '../time-zone.ts'
import { ApiProblem, notFound } from './problem.ts'
import { idInPath as params } from './text.ts'
import { bucketWidth, bucketWidthMs, instant, instantMs, rfcTime } from './time.ts'

/** What the API reads of the telemetry store; it stands on another thread. */
export interface TelemetryReads {
  range(query: RangeQuery, limit: number): Promise<Point[]>
  buckets(query: BucketQuery): Promise<Point[]>
  latest(machine: string): Promise<LatestReading[]>
}

export interface ReadingsParts {
  readonly telemetry: TelemetryReads
  /** The profile of a machine; undefined when there is no such machine. */
  readonly profileOf: (machine: string) => Promise<Profile | undefined>
}

/** Points in one answer; beyond it `every`, or a wider one, has to be named. */
const MAX_POINTS = 100_000
const DAY_MS = 86_400_000

const readingsSchema = z.object({
  signal: z.string(),
  unit: z.string().nullable(),
  points: z.array(z.tuple([z.int().describe('epoch ms'), z.number()])),
})
const latestSchema = z.object({
  signals: z.record(
    z.string(),
    z.object({
      value: z.number(),
      unit: z.string().nullable(),
      measuredAt: z.string(),
      text: z.string().optional().describe('the name of an enumerated value'),
    }),
  ),
})

/** Latest values and ranges of one machine's signals. */
export function readingRoutes({ telemetry, profileOf }: ReadingsParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/machines/:id/latest',
      { schema: { params, response: { 200: latestSchema }, summary: 'Newest value of each signal' } },
      async ({ params: { id } }, reply) => {
        const profile = await known(id)
        const readings = await telemetry.latest(id)
        const signals = Object.fromEntries(
          readings.map(({ signal, value, measuredAt }) => [
            signal,
            {
              value: level(value),
              unit: unitOf(profile, signal),
              measuredAt: rfcTime(measuredAt),
              text: enumText(profile, signal, level(value)),
            },
          ]),
        )
        // Sent as text: a signal may be called `__proto__`, which a serialiser by schema would drop.
        return reply.type('application/json').send(JSON.stringify({ signals }) as never)
      },
    )

    app.get(
      '/machines/:id/readings',
      {
        schema: {
          params,
          querystring: z.strictObject({
            signal: z.string().min(1).max(200),
            from: instant.optional().describe('Inclusive; without it from the first reading'),
            to: instant.optional().describe('Exclusive; without it to the last reading'),
            every: bucketWidth.optional(),
            fn: z.enum(['mean', 'min', 'max', 'last', 'count']).optional(),
            tz: z.string().max(64).optional().describe('IANA zone of day buckets'),
          }),
          response: { 200: readingsSchema },
          summary: 'Points of one signal, raw or in buckets of time',
        },
      },
      async ({ params: { id }, query }, reply) => {
        const profile = await known(id)
        const range = {
          machine: id,
          signal: query.signal,
          from: query.from === undefined ? -8.64e15 : instantMs(query.from),
          to: query.to === undefined ? 8.64e15 : instantMs(query.to),
        }
        if (range.from > range.to) throw new ApiProblem(400, '`from` lies after `to`')
        const points = query.every === undefined ? await raw(range, query) : await inBuckets(range, query.every, query)
        return reply
          .type('application/json')
          .send(JSON.stringify({ signal: query.signal, unit: unitOf(profile, query.signal), points }) as never)
      },
    )

    async function known(id: string): Promise<Profile> {
      const profile = await profileOf(id)
      if (!profile) throw notFound('machine', id)
      return profile
    }

    async function raw(
      range: RangeQuery,
      { fn, tz }: { fn?: string | undefined; tz?: string | undefined },
    ): Promise<Point[]> {
      if (fn !== undefined || tz !== undefined) throw new ApiProblem(400, '`fn` and `tz` need `every`')
      const points = await telemetry.range(range, MAX_POINTS + 1)
      if (points.length > MAX_POINTS)
        throw new ApiProblem(
          400,
          `more than ${MAX_POINTS} points: name \`every\` (for example every=1m) or a shorter range`,
        )
      return points
    }

    async function inBuckets(
      range: RangeQuery,
      every: string,
      { fn = 'mean', tz }: { fn?: BucketQuery['fn'] | undefined; tz?: string | undefined },
    ): Promise<Point[]> {
      const everyMs = bucketWidthMs(every)
      if (tz !== undefined && !isTimeZone(tz)) throw new ApiProblem(400, `'${tz}' is no IANA time zone`)
      if (tz !== undefined && everyMs % DAY_MS !== 0) throw new ApiProblem(400, '`tz` is for buckets of whole days')
      const points = await telemetry.buckets({ ...range, everyMs, fn, timeZone: tz })
      if (points.length > MAX_POINTS)
        throw new ApiProblem(400, `more than ${MAX_POINTS} buckets: name a wider \`every\` or a shorter range`)
      return points
    }
  }
}

function unitOf(profile: Profile, signal: string): string | null {
  return profile.signals.get(signal)?.unit ?? null
}

function enumText(profile: Profile, signal: string, value: number): string | undefined {
  if (signal === MODE_SIGNAL) return [...profile.modes.entries()].find(([, { code }]) => code === value)?.[0]
  return profile.signals.get(signal)?.values?.[String(value)]?.en
}
