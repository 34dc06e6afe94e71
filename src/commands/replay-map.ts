import { isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml'
import { z } from 'zod'
import { isTimeZone } from '../time-zone.ts'
import { readTimes, type TimeReader } from './replay-time.ts'

const zone = z.string().refine(isTimeZone, 'is no IANA time zone such as Europe/Berlin')
const signal = z.string().min(1).max(128)

/** The shape of a map: how the columns of a recording become a machine's readings. */
const replayMapSchema = z.strictObject({
  separator: z
    .string()
    .length(1, 'is one character')
    .optional()
    .describe('Between columns; none: guessed from the header.'),
  decimal: z.enum(['.', ',']).default('.').describe('The decimal mark.'),
  time: z
    .union(
      [
        z.strictObject({
          column: z.string().min(1),
          format: z.string().min(1).default('auto'),
          zone: zone.default('UTC'),
        }),
        z.strictObject({
          start: z.union([z.string(), z.number()]).transform(String),
          stepSeconds: z.number().min(0.001, 'is at least a millisecond, 0.001'),
          zone: zone.default('UTC'),
        }),
      ],
      'has a column (and format, zone), or start and stepSeconds (and zone)',
    )
    .superRefine((time, context) => {
      try {
        const read = readTimes('column' in time ? time.format : 'auto', time.zone)
        if ('start' in time) read(time.start)
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message })
      }
    }),
  filter: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String))
    .default({})
    .describe('Rows count only where each of these columns has this value.'),
  ignore: z
    .union([z.literal('*'), z.array(z.string())])
    .default([])
    .describe("Columns that are not published; '*' for all that signals does not name."),
  signals: z
    .record(
      z.string(),
      z.union(
        [
          signal.transform((name) => ({ name, scale: undefined, offset: undefined })),
          z.strictObject({ name: signal, scale: z.number().optional(), offset: z.number().optional() }),
        ],
        'is the name of a signal, or name with scale and offset',
      ),
    )
    .optional()
    .describe(
      'Column to signal: its name, or its name with value = column * scale + offset. None: columns bear the names of signals.',
    ),
})

export type ReplayMap = z.infer<typeof replayMapSchema>

/** The map, or the recording's header beside it, cannot be used; the message names every fault. */
export class MapInvalid extends Error {
  override readonly name = 'MapInvalid'
}

/**
 * Reads a map.
 *
 * @param yaml its text
 * @param file its name, for messages
 * @throws {MapInvalid} with one line for each fault, each with its line in the file
 */
export function parseReplayMap(yaml: string, file: string): ReplayMap {
  const lines = new LineCounter()
  const document = parseDocument(yaml, { lineCounter: lines })
  const faults = document.errors.map(
    ({ message, pos }) => `${file}:${lines.linePos(pos[0]).line}: ${message.split('\n')[0]}`,
  )
  if (faults.length > 0) throw new MapInvalid(faults.join('\n'))

  const parsed = replayMapSchema.safeParse(document.toJS())
  if (parsed.success) return parsed.data
  throw new MapInvalid(
    parsed.error.issues
      .map(
        ({ path, message }) =>
          `${file}:${lines.linePos(offsetOf(document.contents, path)).line}: ${path.join('.') || 'the map'}: ${message}`,
      )
      .join('\n'),
  )
}

/** Offset of the deepest part of a path that the document has. */
function offsetOf(contents: Node | null, path: readonly PropertyKey[]): number {
  let node: unknown = contents
  let offset = contents?.range?.[0] ?? 0
  for (const key of path) {
    if (!isMap(node)) break
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key))
    if (!pair) break
    offset = (pair.key as Node).range?.[0] ?? offset
    node = pair.value
  }
  return offset
}

/** A map brought together with the header of a recording: where each thing stands in a row. */
export interface Columns {
  readonly count: number
  readonly time:
    | { readonly index: number; readonly read: TimeReader }
    | { readonly start: number; readonly stepMs: number }
  readonly filter: readonly { readonly index: number; readonly value: string }[]
  readonly signals: readonly {
    readonly index: number
    readonly column: string
    readonly name: string
    readonly scale?: number | undefined
    readonly offset?: number | undefined
  }[]
  readonly decimal: '.' | ','
}

const TIME_NAMES = [
  'ts',
  'time',
  'timestamp',
  'datetime',
  'date_time',
  'date',
  'measured_at',
  'measuredat',
  'zeit',
  '时间',
]

/**
 * Finds the columns of a map in a header. Without a map a column with a common name is the time and all others are
 * signals of their own names.
 *
 * @throws {MapInvalid} with one line for each fault
 */
export function findColumns(header: readonly string[], map?: ReplayMap): Columns {
  const faults: string[] = []
  const repeated = header.filter((name, index) => header.indexOf(name) !== index)
  if (repeated.length > 0) faults.push(`the header has more than one column ${quoted(repeated)}`)

  const find = (column: string, use: string) => {
    const index = header.indexOf(column)
    if (index < 0) faults.push(`${use}: the file has no column '${column}', only ${quoted(header)}`)
    return index
  }
  const time = timeOf(header, map, find, faults)
  const filter = Object.entries(map?.filter ?? {}).map(([column, value]) => ({ index: find(column, 'filter'), value }))
  const ignored = map?.ignore ?? []
  if (ignored !== '*') for (const column of ignored) find(column, 'ignore')

  const used = new Set(['index' in time ? header[time.index] : undefined, ...Object.keys(map?.filter ?? {})])
  const rest = header.filter((column) => !used.has(column) && ignored !== '*' && !ignored.includes(column))
  const named = map?.signals ?? Object.fromEntries(rest.map((column) => [column, { name: column }]))
  const signals = Object.entries(named).map(([column, target]) => ({
    index: find(column, 'signals'),
    column,
    ...target,
  }))

  const forgotten = rest.filter((column) => !Object.hasOwn(named, column))
  if (forgotten.length > 0) faults.push(`the map neither uses nor ignores the column ${quoted(forgotten)}`)
  const nameless = signals.filter(({ name }) => name === '')
  if (nameless.length > 0) faults.push('a column has no name in the header')
  const names = signals.map(({ name }) => name)
  const twice = names.filter((name, index) => names.indexOf(name) !== index)
  if (twice.length > 0) faults.push(`signals: more than one column becomes ${quoted(twice)}`)
  if (signals.length === 0) faults.push('no column is a signal')
  if (faults.length > 0) throw new MapInvalid(faults.join('\n'))
  return { count: header.length, time, filter, signals, decimal: map?.decimal ?? '.' }
}

function timeOf(
  header: readonly string[],
  map: ReplayMap | undefined,
  find: (column: string, use: string) => number,
  faults: string[],
): Columns['time'] {
  if (map && 'start' in map.time) {
    const [start] = readTimes('auto', map.time.zone)(map.time.start)
    return { start: start as number, stepMs: map.time.stepSeconds * 1000 }
  }
  if (map && 'column' in map.time)
    return { index: find(map.time.column, 'time'), read: readTimes(map.time.format, map.time.zone) }
  const index = header.findIndex((column) => TIME_NAMES.includes(column.toLowerCase()))
  if (index < 0) faults.push(`no column is named like a time (${TIME_NAMES.join(', ')}): say in a map where it stands`)
  return { index, read: readTimes() }
}

function quoted(names: readonly string[]): string {
  return [...new Set(names)].map((name) => `'${name}'`).join(', ')
}
