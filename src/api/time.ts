import { z } from 'zod'

/** An instant in a query or body. Becomes epoch ms by `instantMs`. */
export const instant = z
  .string()
  .max(40)
  .refine((text) => Number.isFinite(instantMs(text)), 'an RFC 3339 time with a zone, or epoch milliseconds')
  .describe('RFC 3339 with a zone, or epoch milliseconds; years 1 to 9999')

// An unencoded `+` arrives in a query as a space: before the zone it cannot be meant otherwise.
const RFC3339 =
  /^(\d{4}-\d{2})-(\d{2})[Tt ]((?:[01]\d|2[0-3]):\d{2}:\d{2}(?:\.\d+)?)([Zz]|[+ -](?:[01]\d|2[0-3]):[0-5]\d)$/
const EARLIEST = Date.parse('0001-01-01T00:00:00Z')
const LATEST = Date.parse('9999-12-31T23:59:59.999Z')

/** NaN when the text is no instant. */
export function instantMs(text: string): number {
  const at = /^-?\d{1,15}$/.test(text) ? Number(text) : rfc3339Ms(text)
  return at >= EARLIEST && at <= LATEST ? at : Number.NaN
}

function rfc3339Ms(text: string): number {
  const [, month, day, time, zone] = RFC3339.exec(text) ?? []
  // 30 February would become 2 March
  const isInMonth = new Date(Date.parse(`${month}-${day}T00:00:00Z`)).getUTCDate() === Number(day)
  return isInMonth ? Date.parse(`${month}-${day}T${time}${zone?.toUpperCase().replace(' ', '+')}`) : Number.NaN
}

/** RFC 3339 UTC with milliseconds, as every time in an answer. */
export function rfcTime(at: Date | number): string
export function rfcTime(at: Date | number | null | undefined): string | null
export function rfcTime(at: Date | number | null | undefined): string | null {
  return at === null || at === undefined ? null : new Date(at).toISOString()
}

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const longestMs = 3_650 * unitMs.d

/** A bucket's width: `<int>(s|m|h|d)` from 1 s to 3650 d. */
export const bucketWidth = z
  .string()
  .refine((text) => Number.isFinite(bucketWidthMs(text)), 'a whole number with s, m, h or d, from 1s to 3650d')
  .describe('For example 10s, 5m, 1h, 1d; from 1s to 3650d')

/** NaN when the text is no width. */
export function bucketWidthMs(text: string): number {
  const match = /^(\d{1,9})([smhd])$/.exec(text)
  if (!match) return Number.NaN
  const width = Number(match[1]) * unitMs[match[2] as keyof typeof unitMs]
  return width >= unitMs.s && width <= longestMs ? width : Number.NaN
}
