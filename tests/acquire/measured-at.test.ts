import { expect, test } from 'vitest'
import { isZoneless, parseMeasuredAt } from '../../src/acquire/measured-at.ts'

const ts = Date.UTC(2026, 0, 1)

for (const { given, at, zoneless = false } of [
  { given: 1767225600000, at: ts },
  { given: 1767225600000.9, at: ts },
  { given: 0, at: 0 },
  { given: '2026-01-01T00:00:00Z', at: ts },
  { given: '2026-01-01t00:00:00z', at: ts },
  { given: '2026-01-01T08:00:00.250+08:00', at: ts + 250 },
  { given: '2025-12-31T19:00:00.1234567-05:00', at: ts + 123 },
  { given: '2016-12-31T23:59:60Z', at: Date.UTC(2017, 0, 1) },
  { given: '2026-01-01T00:00:00', at: ts, zoneless: true },
  { given: '2026-01-01 00:00:00.5', at: ts + 500, zoneless: true },
]) {
  test(`time ${JSON.stringify(given)} is read`, () => {
    expect(parseMeasuredAt(given)).toBe(at)
    expect(isZoneless(given)).toBe(zoneless)
  })
}

for (const given of [
  null,
  undefined,
  true,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  'NaN',
  '1767225600000',
  '2026-02-29T00:00:00Z',
  '2026-13-01T00:00:00Z',
  '2026-01-01T24:00:00Z',
  '2026-01-01T00:00:00+24:00',
  '2026-01-01T00:00:00+0800',
  '2026-01-01',
  'Thu, 01 Jan 2026 00:00:00 GMT',
  [1767225600000],
]) {
  test(`${JSON.stringify(given)} is no time`, () => expect(parseMeasuredAt(given)).toBeNaN())
}
