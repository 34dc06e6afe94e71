import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { AccessKey } from '../acquire/access-key.ts'
import type { Catalogue } from '../catalogue/catalogue.ts'
import { type FleetImport, importFleet } from '../machines/fleet-import.ts'
import { FLEET_COLUMNS, type FleetFault, type FleetTable, readFleetTable } from '../machines/fleet-table.ts'
import type { Database } from '../records/tables.ts'
import { optionalUser, reason } from './person.ts'
import { ApiProblem } from './problem.ts'
import { text } from './text.ts'

export interface FleetParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  readonly accessKey: AccessKey
  readonly refresh: () => Promise<void>
  readonly refreshAccess: () => Promise<void>
  readonly changed: (machine: string) => void
  /** Told that history waits to be moved, which takes its time. */
  readonly movesPlanned: () => void
  readonly now: () => number
}

/** 50,000 machines with every column filled. */
const LARGEST_BYTES = 16 * 1024 * 1024
const MOST_ROWS = 50_000
const LONE_SURROGATE = /\p{Surrogate}/u

const cell = text.max(1_000).refine((given) => !LONE_SURROGATE.test(given), 'whole characters')
const rowSchema = z
  .strictObject(
    Object.fromEntries(FLEET_COLUMNS.map((column) => [column, z.union([cell, z.number()])])) as {
      [Column in (typeof FLEET_COLUMNS)[number]]: z.ZodUnion<[typeof cell, z.ZodNumber]>
    },
  )
  .partial()
const bodySchema = z.union([
  z.strictObject({ rows: z.array(rowSchema).max(MOST_ROWS) }),
  z.instanceof(Buffer), // text/csv
])

const faultSchema = z.object({
  line: z.int().describe('Of the CSV, the header is 1; of a list of rows, which one'),
  column: z.enum(FLEET_COLUMNS).nullable(),
  detail: z.string(),
})
const reportSchema = z.object({
  outcome: z.enum(['written', 'unchanged', 'dry_run']),
  lines: z.int(),
  created: z.array(z.string()).describe('Machines that are new'),
  changed: z.array(z.string()).describe('Machines of which something is different'),
  unchanged: z.int(),
  bound: z.int().describe('Devices that speak for another machine than before'),
  meterReadings: z.int(),
  withoutCredentials: z.int().describe('Devices that had none, where credentials were asked for'),
  credentials: z.array(z.object({ id: z.string(), secret: z.string() })).describe('Issued now, shown this once'),
  ignoredColumns: z.array(z.string()),
  faults: z.array(faultSchema),
})

/** The import of a fleet from the table that somebody has of it. */
export function fleetRoutes(parts: FleetParts): FastifyPluginAsyncZod {
  const { refresh, refreshAccess, changed, movesPlanned, now } = parts

  return async (app) => {
    app.addContentTypeParser('text/csv', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    app.post(
      '/machines/import',
      {
        bodyLimit: LARGEST_BYTES,
        schema: {
          summary: 'Bring machines, devices, meter readings and credentials to what a table says',
          description: `A CSV with a header, sent as \`text/csv\`, or rows. Columns: ${FLEET_COLUMNS.join(', ')}. Where a line is wrong, nothing is written and the answer is 400 with every fault; done again, it changes nothing.`,
          querystring: z.strictObject({
            dryRun: z.stringbool().default(false).describe('Says what would be done'),
            keepGoing: z.stringbool().default(false).describe('Writes the good lines although others are wrong'),
            credentials: z.stringbool().default(false).describe('Issues credentials to devices that have none'),
            user: optionalUser,
            reason,
          }),
          body: bodySchema,
          response: { 200: reportSchema },
        },
      },
      async ({ query: { user, reason: why, ...options }, body }) => {
        const table = 'rows' in body ? tableOf(body.rows) : readFleetTable(body)
        if (table.rows.length > MOST_ROWS) throw new ApiProblem(400, `at most ${MOST_ROWS} rows at a time`)
        const report = await importFleet(parts, table, options, { user, reason: why, now: now() })
        if (report.outcome === 'refused') throw refusal(report.faults)
        if (report.outcome === 'written') {
          await refreshAccess()
          await refresh()
          for (const machine of [...report.created, ...report.changed]) changed(machine)
          if (report.bound > 0) movesPlanned()
        }
        return shown(report, report.outcome, table.ignored)
      },
    )
  }
}

function tableOf(rows: readonly z.infer<typeof rowSchema>[]): FleetTable {
  return {
    rows: rows.map((row, n) => {
      const filled = Object.entries(row).map(([column, value]) => [column, String(value).trim()])
      return { line: n + 1, cells: Object.fromEntries(filled.filter(([, value]) => value !== '')) }
    }),
    faults: [],
    ignored: [],
    decimalComma: false,
  }
}

function refusal(faults: readonly FleetFault[]): ApiProblem {
  const errors = faults.map(({ line, column, detail }) => ({
    detail,
    pointer: column === undefined ? `#/${line}` : `#/${line}/${column}`,
  }))
  const lines = new Set(faults.map(({ line }) => line)).size
  return new ApiProblem(
    400,
    `nothing was written, because ${lines} ${lines === 1 ? 'line is' : 'lines are'} wrong`,
    errors,
  )
}

function shown(
  { issued, faults, ...report }: FleetImport,
  outcome: 'written' | 'unchanged' | 'dry_run',
  ignored: readonly string[],
): z.infer<typeof reportSchema> {
  return {
    ...report,
    outcome,
    created: [...report.created],
    changed: [...report.changed],
    credentials: [...issued].map(([id, secret]) => ({ id, secret })),
    ignoredColumns: [...ignored],
    faults: faults.map(({ line, column, detail }) => ({ line, column: column ?? null, detail })),
  }
}
