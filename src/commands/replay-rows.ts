import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { type Info, parse } from 'csv-parse'
import type { Columns } from './replay-map.ts'

/** A row of a recording: something to publish, left out by the filter, or bad with the reason. */
export type Row =
  | {
      readonly kind: 'reading'
      readonly line: number
      readonly measuredAt: number
      readonly signals: Readonly<Record<string, number>>
    }
  | { readonly kind: 'left out'; readonly line: number }
  | { readonly kind: 'bad'; readonly line: number; readonly reason: string }

/** The recording cannot be read any further. */
export class RecordingUnreadable extends Error {
  override readonly name = 'RecordingUnreadable'
}

const SEPARATORS = [',', ';', '\t', '|']
const HEADER_BYTES = 1_048_576

/**
 * Reads the first line of a recording.
 *
 * @param separator guessed where undefined: the one of comma, semicolon, tab and bar that the line has most of
 * @throws {RecordingUnreadable} there is no such file, it is empty or damaged
 */
export async function readHeader(file: string, separator?: string): Promise<{ header: string[]; separator: string }> {
  const { text } = await textOf(file)
  let start = ''
  try {
    for await (const chunk of text) {
      start += chunk.toString('utf8')
      if (start.includes('\n') || start.length > HEADER_BYTES) break
    }
  } catch (error) {
    throw new RecordingUnreadable(`${file} cannot be read: ${(error as Error).message}`, { cause: error })
  }
  const line = start.replace(/^\uFEFF/, '').split(/\r?\n/)[0] as string
  if (line.trim() === '') throw new RecordingUnreadable(`${file} does not begin with a header`)
  const count = (mark: string) => line.replace(/"[^"]*"/g, '').split(mark).length
  const found = separator ?? (SEPARATORS.reduce((best, mark) => (count(mark) > count(best) ? mark : best)) as string)
  const parser = parse(`${line}\n`, { delimiter: found, trim: true, relax_quotes: true })
  for await (const header of parser) return { header: header as string[], separator: found }
  throw new RecordingUnreadable(`${file} does not begin with a header`)
}

/**
 * Reads the rows of a recording one after the other; the file is never in memory as a whole.
 *
 * @param progress told the part of the file that has been read, 0 to 1
 * @throws {RecordingUnreadable} the file is damaged; what came before it has been given
 */
export async function* readRows(
  file: string,
  separator: string,
  columns: Columns,
  progress: (part: number) => void = () => {},
): AsyncGenerator<Row> {
  const { text, part } = await textOf(file)
  const parser = parse({
    delimiter: separator,
    bom: true,
    trim: true,
    relax_quotes: true,
    relax_column_count: true,
    skip_empty_lines: true,
    info: true,
    from: 2,
  })
  pipeline(text, parser, () => {}) // an error ends the parser, where it is seen
  let line = 1
  const toRow = rowReader(columns)
  try {
    for await (const item of parser as AsyncIterable<{ record: string[]; info: Info }>) {
      line = item.info.lines
      progress(part())
      yield toRow(item.record, line)
    }
  } catch (error) {
    throw new RecordingUnreadable(`${file} cannot be read beyond line ${line}: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/** The bytes of a file, unpacked when they are gzip, whatever its name. */
async function textOf(file: string): Promise<{ text: Readable; part: () => number }> {
  let packed: boolean
  let size: number
  try {
    const handle = await open(file)
    try {
      const { buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0)
      packed = buffer[0] === 0x1f && buffer[1] === 0x8b
      size = (await handle.stat()).size
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw new RecordingUnreadable(`${file} cannot be read: ${(error as Error).message}`, { cause: error })
  }
  const bytes = createReadStream(file)
  const part = () => (size === 0 ? 1 : bytes.bytesRead / size)
  return { text: packed ? pipeline(bytes, createGunzip(), () => {}) : bytes, part }
}

const MISSING = /^(|nan|na|n\/a|null|none)$/i

/** Turns the cells of one row after the other into what they mean. */
function rowReader({
  count,
  time,
  filter,
  signals,
  decimal,
}: Columns): (cells: readonly string[], line: number) => Row {
  const lineOf = linesByTime()
  let previous = Number.NEGATIVE_INFINITY
  let passed = 0

  return (cells, line) => {
    if (cells.length !== count) return { kind: 'bad', line, reason: `has ${cells.length} columns, the header ${count}` }
    if (filter.some(({ index, value }) => !sameValue(cells[index] as string, value))) return { kind: 'left out', line }
    const position = passed
    passed += 1

    let measuredAt: number
    const values: [string, number][] = []
    try {
      measuredAt =
        'start' in time
          ? Math.round(time.start + position * time.stepMs)
          : later(time.read(cells[time.index] as string), previous)
      for (const { index, column, name, scale, offset } of signals) {
        const cell = cells[index] as string
        if (MISSING.test(cell)) continue
        const value = numberOf(cell, decimal)
        if (value === undefined) throw new TypeError(`column '${column}': '${cell}' is no number`)
        values.push([name, scale === undefined && offset === undefined ? value : value * (scale ?? 1) + (offset ?? 0)])
      }
    } catch (error) {
      return { kind: 'bad', line, reason: (error as Error).message }
    }
    if (values.length === 0) return { kind: 'bad', line, reason: 'has no value' }
    const same = lineOf(measuredAt, line)
    if (same !== undefined)
      return { kind: 'bad', line, reason: `has the same time as line ${same}, ${new Date(measuredAt).toISOString()}` }
    previous = measuredAt
    return { kind: 'reading', line, measuredAt, signals: Object.fromEntries(values) }
  }
}

/** In the hour that a zone repeats the order of the rows tells which one is meant. */
function later(instants: readonly number[], previous: number): number {
  return instants.find((instant) => instant > previous) ?? (instants[0] as number)
}

function sameValue(cell: string, wanted: string): boolean {
  return cell === wanted || (cell !== '' && Number(cell) === Number(wanted))
}

function numberOf(cell: string, decimal: '.' | ','): number | undefined {
  if (/^true$/i.test(cell)) return 1
  if (/^false$/i.test(cell)) return 0
  const text = decimal === ',' ? cell.replaceAll('.', '').replace(',', '.') : cell
  const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
  return Number.isFinite(number) ? number : undefined
}

/**
 * Remembers the line of each time: 16 bytes a row as long as times rise, which they nearly always do.
 *
 * @returns a function that gives the line which had this time before, and remembers the time otherwise
 */
function linesByTime(): (measuredAt: number, line: number) => number | undefined {
  const rising: number[] = []
  const lines: number[] = []
  const others = new Map<number, number>()
  return (measuredAt, line) => {
    if (rising.length === 0 || measuredAt > (rising.at(-1) as number)) {
      rising.push(measuredAt)
      lines.push(line)
      return undefined
    }
    let [low, high] = [0, rising.length - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((rising[middle] as number) < measuredAt) low = middle + 1
      else high = middle
    }
    const known = rising[low] === measuredAt ? lines[low] : others.get(measuredAt)
    if (known === undefined) others.set(measuredAt, line)
    return known
  }
}
