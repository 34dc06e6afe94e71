import { isZoneless, parseMeasuredAt } from '../acquire/measured-at.ts'
import { isId } from '../acquire/topics.ts'
import type { FleetColumn, FleetFault, FleetRow } from './fleet-table.ts'
import type { MachineFacts } from './machines.ts'

/** A row of a fleet's table, understood. */
export interface FleetEntry {
  readonly line: number
  /** What the unit calls itself in its topics. */
  readonly device: string
  readonly machine: string
  readonly facts: MachineFacts
  /** What its hour meter showed; undefined: nobody says. */
  readonly hours: number | undefined
  /** When it was read, epoch ms; undefined: now. */
  readonly hoursAt: number | undefined
}

export interface FleetReading {
  readonly decimalComma: boolean
  /** Takes its time: a fleet's table names the same few again and again. */
  readonly isTimeZone: (name: string) => boolean
  /** Epoch ms. */
  readonly now: number
}

const HIGHEST_HOURS = 200_000
const LONGEST: Readonly<Partial<Record<FleetColumn, number>>> = {
  type: 64,
  model: 64,
  serial: 100,
  customer: 200,
  site: 200,
  region: 200,
}

/**
 * Understands the cells of a row, one by one; what depends on the catalogue or the records is not looked at. Where only
 * one of device and machine stands, it is both.
 *
 * @returns all faults of the row, where there are any
 */
export function readFleetRow(
  { line, cells }: FleetRow,
  { decimalComma, isTimeZone, now }: FleetReading,
): FleetEntry | readonly FleetFault[] {
  const faults: FleetFault[] = []
  const fault = (column: FleetColumn | undefined, detail: string) => void faults.push({ line, column, detail })

  const device = cells.device ?? cells.machine ?? ''
  const machine = cells.machine ?? device
  if (device === '') fault(undefined, 'neither device nor machine is named')
  for (const column of ['device', 'machine'] as const) {
    const id = cells[column]
    if (id !== undefined && !isId(id)) fault(column, `'${shortened(id)}' is no id: 1 to 64 of A–Z a–z 0–9 . _ -`)
  }
  for (const [column, longest] of Object.entries(LONGEST) as [FleetColumn, number][]) {
    if ((cells[column]?.length ?? 0) > longest) fault(column, `longer than ${longest} characters`)
  }
  const { zone, language } = cells
  if (zone !== undefined && !isTimeZone(zone))
    fault('zone', `'${shortened(zone)}' is no time zone: an IANA name such as Europe/Berlin`)
  if (language !== undefined && language !== 'en' && language !== 'zh')
    fault('language', `'${shortened(language)}' is no language: en or zh`)

  const time = (column: 'deliveredAt' | 'hoursAt') => {
    const text = cells[column]
    const at = text === undefined ? undefined : dateOf(text)
    if (text !== undefined && at === undefined)
      fault(column, `'${shortened(text)}' is no date: 2025-03-01, 01.03.2025, or RFC 3339 with a zone`)
    return at
  }
  const deliveredAt = time('deliveredAt')
  const hoursAt = time('hoursAt')
  if (hoursAt !== undefined && hoursAt > now) fault('hoursAt', 'a meter cannot be read in the future')
  const hours = cells.hours === undefined ? undefined : numberOf(cells.hours, decimalComma)
  if (cells.hours !== undefined && !(hours !== undefined && hours >= 0 && hours <= HIGHEST_HOURS))
    fault('hours', `'${shortened(cells.hours)}' is no number from 0 to ${HIGHEST_HOURS}`)
  if (faults.length > 0) return faults

  const { type, model, serial, customer, site, region } = cells
  return {
    line,
    device,
    machine,
    facts: {
      type,
      model,
      serial,
      customer,
      site,
      region,
      timeZone: zone,
      deliveredAt: deliveredAt === undefined ? undefined : new Date(deliveredAt),
      language: language as MachineFacts['language'],
    },
    hours,
    hoursAt,
  }
}

/** Epoch ms; a date alone begins at midnight UTC. undefined: no date between 1950 and 2099. */
function dateOf(text: string): number | undefined {
  const dotted = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/.exec(text)
  const date = dotted ? `${dotted[3]}-${dotted[2]?.padStart(2, '0')}-${dotted[1]?.padStart(2, '0')}` : text
  const at = parseMeasuredAt(/^\d{4}-\d\d-\d\d$/.test(date) ? `${date}T00:00:00Z` : date)
  const year = new Date(at).getUTCFullYear()
  const isUsable = !(date === text && text.includes('T') && isZoneless(text)) && year >= 1950 && year <= 2099
  return isUsable ? at : undefined
}

function numberOf(text: string, decimalComma: boolean): number | undefined {
  const plain = decimalComma ? text.replace(',', '.') : text
  return /^\d+(\.\d+)?$/.test(plain) ? Number(plain) : undefined
}

function shortened(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}
