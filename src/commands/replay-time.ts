import { instantsOf, zoneOffset } from '../time-zone.ts'

/**
 * Reads times as text. The answer lists every instant that the text can mean, in order: one as a rule, two in the hour
 * that a zone repeats when its clocks go back.
 *
 * @throws {TypeError} with the reason in words: the text is no time of this form, no date of the calendar, or an hour
 *   that the zone skips
 */
export type TimeReader = (text: string) => readonly number[]

/** What `readTimes` understands beside patterns of YYYY, MM, DD, hh, mm, ss and SSS (a fraction of any length). */
const NAMED_FORMATS = ['auto', 'iso', 'epoch_s', 'epoch_ms'] as const

const ISO =
  /^(\d{4})[-/](\d{2})[-/](\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?\s*(Z|[+-]\d{2}:?\d{2})?$/i
const NUMBER = /^-?\d+(\.\d+)?$/
const EARLIEST_EPOCH_S = 1e8 // 1973: smaller numbers are counters, not times
const EARLIEST_EPOCH_MS = 1e11 // as seconds the year 5138

/**
 * @param format one of the named ones or a pattern; `auto` takes ISO 8601 and epoch seconds or milliseconds
 * @param zone IANA name for times that do not bring their own
 * @throws {RangeError} the zone is unknown, or the pattern names no date
 */
export function readTimes(format = 'auto', zone = 'UTC'): TimeReader {
  const offset = zone === 'UTC' ? () => 0 : zoneOffset(zone)
  const iso = byPattern(ISO, ['year', 'month', 'day', 'hour', 'minute', 'second', 'fraction', 'zone'], offset, zone)
  if (format === 'iso') return iso
  if (format === 'epoch_s') return (text) => [Math.round(numberOf(text) * 1000)]
  if (format === 'epoch_ms') return (text) => [Math.round(numberOf(text))]
  if (format === 'auto') {
    return (text) => {
      if (!NUMBER.test(text)) return iso(text)
      const number = Number(text)
      if (number < EARLIEST_EPOCH_S)
        throw new TypeError(`'${text}' is no time; for a counter, give start and step in a map`)
      return [Math.round(number < EARLIEST_EPOCH_MS ? number * 1000 : number)]
    }
  }
  const { pattern, fields } = compiled(format)
  return byPattern(pattern, fields, offset, zone)
}

const TOKENS = {
  YYYY: ['year', '(\\d{4})'],
  MM: ['month', '(\\d{1,2})'],
  DD: ['day', '(\\d{1,2})'],
  hh: ['hour', '(\\d{1,2})'],
  mm: ['minute', '(\\d{2})'],
  ss: ['second', '(\\d{2})'],
  SSS: ['fraction', '(\\d+)'],
} as const

type Field = (typeof TOKENS)[keyof typeof TOKENS][0] | 'zone'

function compiled(format: string): { pattern: RegExp; fields: readonly Field[] } {
  const fields: Field[] = []
  const source = format.replace(/YYYY|MM|DD|hh|mm|ss|SSS|[^A-Za-z0-9]|./g, (part) => {
    const token = TOKENS[part as keyof typeof TOKENS]
    if (!token) return part.replace(/[^A-Za-z0-9]/, '\\$&')
    fields.push(token[0])
    return token[1]
  })
  if (!['year', 'month', 'day'].every((field) => fields.includes(field as Field)))
    throw new RangeError(`the time format '${format}' needs YYYY, MM and DD, or is one of ${NAMED_FORMATS.join(', ')}`)
  return { pattern: new RegExp(`^${source}$`), fields }
}

function byPattern(
  pattern: RegExp,
  fields: readonly Field[],
  offset: (instant: number) => number,
  zone: string,
): TimeReader {
  return (text) => {
    const match = pattern.exec(text)
    if (!match) throw new TypeError(`'${text}' is no time of the expected form`)
    const part = Object.fromEntries(fields.map((field, index) => [field, match[index + 1]])) as Partial<
      Record<Field, string>
    >
    const [year, month, day, hour, minute, second] = (
      ['year', 'month', 'day', 'hour', 'minute', 'second'] as const
    ).map((field) => Number(part[field] ?? 0)) as [number, number, number, number, number, number]
    const local = new Date(Date.UTC(year, month - 1, day, hour, minute, second))
    const exists =
      local.getUTCMonth() === month - 1 && local.getUTCDate() === day && hour < 24 && minute < 60 && second < 60
    if (!exists) throw new TypeError(`'${text}' is no time of the calendar`)
    const wall = local.getTime() + Math.round(Number(`0.${part.fraction ?? 0}`) * 1000)
    if (part.zone) return [wall - givenOffset(part.zone)]
    const instants = instantsOf(wall, offset)
    if (instants.length === 0) throw new TypeError(`'${text}' does not exist in ${zone}: the clocks skip it`)
    return instants
  }
}

function givenOffset(zone: string): number {
  if (/^z$/i.test(zone)) return 0
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(-2))]
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000
}

function numberOf(text: string): number {
  if (!NUMBER.test(text)) throw new TypeError(`'${text}' is no number`)
  return Number(text)
}
