import { isUtf8 } from 'node:buffer'
import { type CsvError, type Info, parse } from 'csv-parse/sync'

/** The columns of a fleet's table, in the order in which they are documented. */
export const FLEET_COLUMNS = [
  'device',
  'machine',
  'type',
  'model',
  'serial',
  'customer',
  'site',
  'region',
  'zone',
  'deliveredAt',
  'hours',
  'hoursAt',
  'language',
] as const
export type FleetColumn = (typeof FLEET_COLUMNS)[number]

/** A row as it was written: what is empty is left out. */
export interface FleetRow {
  /** Of the file, from 1; of a list, which one. */
  readonly line: number
  readonly cells: Readonly<Partial<Record<FleetColumn, string>>>
}

/** What is wrong with a line. */
export interface FleetFault {
  readonly line: number
  /** undefined: the line as a whole. */
  readonly column: FleetColumn | undefined
  readonly detail: string
}

export interface FleetTable {
  readonly rows: readonly FleetRow[]
  readonly faults: readonly FleetFault[]
  /** Headers that mean nothing to us. */
  readonly ignored: readonly string[]
  /** What stands before the decimals of a number. */
  readonly decimalComma: boolean
}

/** The file is no table of a fleet; the message says what to do about it. */
export class FleetTableUnreadable extends Error {
  override readonly name = 'FleetTableUnreadable'
}

const SEPARATORS = [';', ',', '\t']

/** What other systems call these columns; case, spaces and marks do not matter. */
const SPELLINGS: Readonly<Record<FleetColumn, readonly string[]>> = {
  device: ['device', 'deviceid', 'gateway', 'unit', 'tcu', 'telematicsunit'],
  machine: ['machine', 'machineid', 'id', 'fleetnumber', 'fleetno', 'assetid', 'equipmentid'],
  type: ['type', 'machinetype', 'category'],
  model: ['model', 'machinemodel'],
  serial: ['serial', 'serialnumber', 'serialno', 'sn', 'pin', 'vin'],
  customer: ['customer', 'client', 'owner'],
  site: ['site', 'jobsite', 'location', 'project'],
  region: ['region', 'area'],
  zone: ['zone', 'timezone', 'tz'],
  deliveredAt: ['deliveredat', 'delivered', 'deliverydate', 'delivery', 'handover', 'commissioned'],
  hours: ['hours', 'hoursh', 'servicehours', 'operatinghours', 'enginehours', 'hourmeter', 'smr', 'meter'],
  hoursAt: ['hoursat', 'hoursdate', 'meterat', 'meterdate', 'readat'],
  language: ['language', 'lang'],
}
const columnOf = new Map(FLEET_COLUMNS.flatMap((column) => SPELLINGS[column].map((spelling) => [spelling, column])))

/**
 * Reads the table of a fleet as spreadsheets write it: separated by comma, semicolon or tab, with or without byte order
 * mark, the first line a header.
 *
 * @throws {FleetTableUnreadable} not UTF-8 or UTF-16, no header that names a device or machine, a column twice
 */
export function readFleetTable(bytes: Buffer): FleetTable {
  const text = decode(bytes)
  const first = text.slice(0, text.search(/\n|$/))
  if (first.trim() === '') throw new FleetTableUnreadable('the file does not begin with a header')
  const count = (mark: string) => first.replace(/"[^"]*"/g, '').split(mark).length
  const delimiter = SEPARATORS.reduce((best, mark) => (count(mark) > count(best) ? mark : best))

  const [header, ...records] = recordsOf(text, delimiter)
  const columns = (header?.record ?? []).map((name) => columnOf.get(plain(name)))
  checkColumns(header?.record ?? [], columns)

  const rows: FleetRow[] = []
  const faults: FleetFault[] = []
  let line = header?.info.lines ?? 1
  for (const { record, info } of records) {
    // a cell may hold line breaks: a record begins after the one before it
    const at = { line: line + 1 }
    line = info.lines
    if (record.every((cell) => cell === '')) continue
    if (record.length !== columns.length) {
      const detail = `${record.length} cells under a header of ${columns.length}: is there a ${delimiter} within a cell?`
      faults.push({ ...at, column: undefined, detail })
      continue
    }
    const cells = columns.flatMap((column, n) => (column && record[n] ? [[column, record[n]] as const] : []))
    rows.push({ ...at, cells: Object.fromEntries(cells) })
  }
  const ignored = (header?.record ?? []).filter((name, n) => name !== '' && columns[n] === undefined)
  return { rows, faults, ignored, decimalComma: delimiter === ';' }
}

function decode(bytes: Buffer): string {
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe
  if (!isUtf16 && !isUtf8(bytes))
    throw new FleetTableUnreadable("the file is not UTF-8: save it as 'CSV UTF-8', or names would be mangled")
  const text = bytes.toString(isUtf16 ? 'utf16le' : 'utf8')
  if (/\0|\p{Surrogate}/u.test(text)) throw new FleetTableUnreadable('the file is no text')
  return text.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n') // or a line break within a cell would count twice
}

function recordsOf(text: string, delimiter: string): { record: string[]; info: Info }[] {
  try {
    const options = { delimiter, trim: true, info: true, relax_column_count: true, relax_quotes: true } as const
    return parse(text, options) as unknown as { record: string[]; info: Info }[] // its types forget `info`
  } catch (error) {
    const { lines, message } = error as CsvError & { lines?: number }
    throw new FleetTableUnreadable(`the file is no CSV${lines ? ` at line ${lines}` : ''}: ${message}`)
  }
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '')
}

function checkColumns(header: readonly string[], columns: readonly (FleetColumn | undefined)[]): void {
  if (!columns.includes('device') && !columns.includes('machine')) {
    throw new FleetTableUnreadable(
      `no column is named 'device' or 'machine'; the header has: ${header.join(', ').slice(0, 300)}`,
    )
  }
  const twice = columns.find((column, n) => column !== undefined && columns.indexOf(column) !== n)
  if (twice === undefined) return
  const names = header.filter((_, n) => columns[n] === twice).join("' and '")
  throw new FleetTableUnreadable(`'${names}' both mean the column '${twice}': keep one of them`)
}
