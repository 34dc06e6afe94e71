const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)$/

const EARLIEST = Date.UTC(2000, 0, 1) // before it: a clock that was never set, or seconds taken for milliseconds
const LATEST = Date.UTC(2100, 0, 1) // after it: microseconds or nanoseconds taken for milliseconds

/**
 * The time of measuring as the contract allows it.
 * @param ts epoch milliseconds, or RFC 3339 with a zone
 * @returns epoch ms, whole; undefined for anything else and for what lies outside the years 2000 to 2099
 */
export function parseMeasuredAt(ts: unknown): number | undefined {
  const at = typeof ts === 'number' ? Math.floor(ts) : typeof ts === 'string' ? parseRfc3339(ts) : undefined
  return at !== undefined && at >= EARLIEST && at < LATEST ? at : undefined
}

function parseRfc3339(text: string): number | undefined {
  const parts = RFC3339.exec(text)
  if (!parts) return undefined
  const [, year, month, day, hour, minute, second, fraction = '', zone = 'Z'] = parts
  const days = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  if (Number(month) < 1 || Number(month) > 12 || Number(day) < 1 || Number(day) > days) return undefined
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return undefined // :60 is a leap second

  const offset = zoneMinutes(zone)
  if (offset === undefined) return undefined
  const ms = Number(fraction.slice(0, 3).padEnd(3, '0'))
  return Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute) - offset,
    Number(second),
    ms,
  )
}

function zoneMinutes(zone: string): number | undefined {
  if (zone === 'Z' || zone === 'z') return 0
  const hours = Number(zone.slice(1, 3))
  const minutes = Number(zone.slice(4))
  if (hours > 23 || minutes > 59) return undefined
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes)
}
