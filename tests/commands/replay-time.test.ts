import { expect, test } from 'vitest'
import { readTimes } from '../../src/commands/replay-time.ts'

test.each([
  { text: '2026-03-01T12:30:15.250Z', iso: '2026-03-01T12:30:15.250Z' },
  { text: '2026-03-01 12:30:15', iso: '2026-03-01T12:30:15.000Z' },
  { text: '2026-03-01 12:30:15', zone: 'Asia/Shanghai', iso: '2026-03-01T04:30:15.000Z' },
  { text: '2026-03-01T12:30:15+0530', iso: '2026-03-01T07:00:15.000Z' },
  { text: '2026-03-01T12:30:15-03:30', zone: 'Asia/Shanghai', iso: '2026-03-01T16:00:15.000Z' },
  { text: '2026/03/01 12:30', iso: '2026-03-01T12:30:00.000Z' },
  { text: '2026-03-01', iso: '2026-03-01T00:00:00.000Z' },
  { text: '2026-03-01 12:30:15,123456', iso: '2026-03-01T12:30:15.123Z' },
  { text: '2026-03-01 23:59:59.9999', iso: '2026-03-02T00:00:00.000Z' },
  { text: '1772368215', iso: '2026-03-01T12:30:15.000Z' },
  { text: '1772368215.5', iso: '2026-03-01T12:30:15.500Z' },
  { text: '1772368215250', iso: '2026-03-01T12:30:15.250Z' },
  { text: '1772368215', format: 'epoch_ms', iso: '1970-01-21T12:19:28.215Z' },
  { text: '12', format: 'epoch_s', iso: '1970-01-01T00:00:12.000Z' },
  { text: '1.3.2026 7:05', format: 'DD.MM.YYYY hh:mm', iso: '2026-03-01T07:05:00.000Z' },
  { text: '20260301_123015', format: 'YYYYMMDD_hhmmss', iso: '2026-03-01T12:30:15.000Z' },
  {
    text: '03/01/2026 12:30:15.25',
    format: 'MM/DD/YYYY hh:mm:ss.SSS',
    zone: 'America/New_York',
    iso: '2026-03-01T17:30:15.250Z',
  },
])('$text ($format, $zone) is $iso', ({ text, format, zone, iso }) => {
  expect(readTimes(format, zone)(text).map((instant) => new Date(instant).toISOString())).toEqual([iso])
})

test('an hour that comes twice has two instants, in order', () => {
  expect(
    readTimes('auto', 'Europe/Berlin')('2025-10-26 02:30:00').map((instant) => new Date(instant).toISOString()),
  ).toEqual(['2025-10-26T00:30:00.000Z', '2025-10-26T01:30:00.000Z'])
})

test.each([
  { text: '', reason: /is no time of the expected form/ },
  { text: '2026-13-01', reason: /is no time of the calendar/ },
  { text: '2026-02-29 00:00', reason: /is no time of the calendar/ },
  { text: '2026-03-01 24:00', reason: /is no time of the calendar/ },
  { text: '2026-03-01 12:60', reason: /is no time of the calendar/ },
  { text: '42', reason: /is no time; for a counter/ },
  { text: '-5', reason: /is no time; for a counter/ },
  { text: 'x', format: 'epoch_s', reason: /is no number/ },
  { text: '2026-03-29 02:00:00', zone: 'Europe/Berlin', reason: /does not exist in Europe\/Berlin/ },
])('$text ($format, $zone) is refused', ({ text, format, zone, reason }) => {
  expect(() => readTimes(format, zone)(text)).toThrow(reason)
})
