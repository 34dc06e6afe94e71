import { expect, test } from 'vitest'
import { localDayStarts } from '../../src/store/local-days.ts'

test.each([
  {
    zone: 'UTC',
    from: '2026-01-01T00:00Z',
    to: '2026-01-02T00:00Z',
    starts: ['2026-01-01T00:00Z', '2026-01-02T00:00Z'],
  },
  {
    zone: 'Asia/Shanghai',
    from: '2026-01-01T15:59Z',
    to: '2026-01-01T16:00Z',
    starts: ['2025-12-31T16:00Z', '2026-01-01T16:00Z'],
  },
  // Clocks jump from 0:00 to 1:00 on 29 March, so the day begins at 1:00.
  {
    zone: 'Asia/Beirut',
    from: '2026-03-28T12:00Z',
    to: '2026-03-29T12:00Z',
    starts: ['2026-03-27T22:00Z', '2026-03-28T22:00Z'],
  },
  // 30 December 2011 did not exist there.
  {
    zone: 'Pacific/Apia',
    from: '2011-12-29T12:00Z',
    to: '2011-12-31T12:00Z',
    starts: ['2011-12-29T10:00Z', '2011-12-30T10:00Z', '2011-12-31T10:00Z'],
  },
  // Before the zone had whole minutes: 0:53:28 ahead of UTC.
  { zone: 'Europe/Berlin', from: '1890-01-01T12:00Z', to: '1890-01-01T12:00Z', starts: ['1889-12-31T23:06:32Z'] },
])('days of $zone from $from to $to begin at $starts', ({ zone, from, to, starts }) => {
  const days = localDayStarts(Date.parse(from), Date.parse(to), zone)
  expect(days.map((start) => new Date(start).toISOString())).toEqual(
    starts.map((start) => new Date(start).toISOString()),
  )
})

test('days of a decade follow each other, each at 0:00 and each an hour longer or shorter at most', () => {
  const days = localDayStarts(Date.UTC(2020, 0, 1), Date.UTC(2030, 0, 1), 'America/New_York')
  expect(days.length).toBe(3654)
  const hours = new Set(days.slice(1).map((start, index) => (start - (days[index] as number)) / 3_600_000))
  expect([...hours].sort()).toEqual([23, 24, 25])
})

test('an unknown zone is refused', () => {
  expect(() => localDayStarts(0, 1, 'Mars/Olympus')).toThrow(RangeError)
})
