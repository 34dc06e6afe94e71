const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?$/
const ZONE = /([Zz]|[+-]\d\d:\d\d)$/

/**
 * The time of measuring as a device writes it. Whether its clock can be believed is for others to judge.
 * @param ts epoch milliseconds, or RFC 3339; where that has no zone it is read as if it were UTC
 * @returns epoch ms, whole; NaN for anything else
 */
export function parseMeasuredAt(ts: unknown): number {
  if (typeof ts === 'number') return Number.isFinite(ts) ? Math.floor(ts) : Number.NaN
  return typeof ts === 'string' ? parseRfc3339(ts) : Number.NaN
}

/** Whether a time is text without a zone: `…T08:00:00` and not `…T08:00:00Z`. @param ts that `parseMeasuredAt` reads */
export function isZoneless(ts: unknown): boolean {
  return typeof ts === 'string' && !ZONE.test(ts)
}

function parseRfc3339(text: string): number {
  const parts = RFC3339.exec(text)
  if (!parts) return Number.NaN
  const [, year, month, day, hour, minute, second, fraction = '', zone = 'Z'] = parts
  const days = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  if (Number(month) < 1 || Number(month) > 12 || Number(day) < 1 || Number(day) > days) return Number.NaN
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return Number.NaN // :60 is a leap second

  const ms = Number(fraction.slice(0, 3).padEnd(3, '0'))
  return Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute) - zoneMinutes(zone),
    Number(second),
    ms,
  )
}

/** NaN for what is no zone. */
function zoneMinutes(zone: string): number {
  if (zone === 'Z' || zone === 'z') return 0
  const hours = Number(zone.slice(1, 3))
  const minutes = Number(zone.slice(4))
  if (hours > 23 || minutes > 59) return Number.NaN
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes)
}
