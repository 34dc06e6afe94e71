import { expect, test } from 'vitest'
import { bucketWidthMs, instantMs } from '../../src/api/time.ts'

for (const [text, at] of [
  ['2026-07-01T10:30:00Z', '2026-07-01T10:30:00.000Z'],
  ['2026-07-01t10:30:00.1234z', '2026-07-01T10:30:00.123Z'],
  ['2026-07-01 10:30:00+08:00', '2026-07-01T02:30:00.000Z'],
  ['2026-07-01T10:30:00 08:00', '2026-07-01T02:30:00.000Z'], // a plus that nobody encoded
  ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
  ['1767225600000', '2026-01-01T00:00:00.000Z'],
  ['-1', '1969-12-31T23:59:59.999Z'],
] as const) {
  test(`instant: ${text}`, () => expect(new Date(instantMs(text)).toISOString()).toBe(at))
}

for (const text of [
  '',
  'yesterday',
  '2026-07-01',
  '2026-07-01T10:30:00',
  '2026-02-30T00:00:00Z',
  '2026-13-01T00:00:00Z',
  '2026-07-01T24:00:00Z',
  '2026-07-01T10:60:00Z',
  '2026-07-01T10:30:00+24:00',
  '0000-01-01T00:00:00Z',
  '999999999999999',
  '-999999999999999',
  '1e3',
  ' 1',
]) {
  test(`no instant: '${text}'`, () => expect(instantMs(text)).toBeNaN())
}

for (const [text, ms] of [
  ['1s', 1_000],
  ['15m', 900_000],
  ['1h', 3_600_000],
  ['3650d', 315_360_000_000],
  ['3651d', Number.NaN],
  ['0s', Number.NaN],
  ['1.5h', Number.NaN],
  ['-1h', Number.NaN],
  ['1w', Number.NaN],
  ['h', Number.NaN],
  ['1h ', Number.NaN],
] as const) {
  test(`bucket width: '${text}'`, () => expect(bucketWidthMs(text)).toBe(ms))
}
