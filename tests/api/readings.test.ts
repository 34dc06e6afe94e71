import { expect, test } from 'vitest'
import { setsOf } from '../store/sets-of.ts'
import { runningApi } from './running-api.ts'

const { get, post, store } = await runningApi()
const start = Date.UTC(2026, 2, 28, 22) // an hour before a day of 23 h begins in Berlin
const hourMs = 3_600_000

await post('/machines', { id: 'pump-1', type: 'boom_pump' })
await store.append(
  setsOf([
    ...Array.from({ length: 48 }, (_, i) => ({
      machine: 'pump-1',
      signal: 'hyd_oil_temp_c',
      measuredAt: start + i * hourMs,
      value: i,
    })),
    {
      machine: 'pump-1',
      signal: 'main_pressure_bar',
      measuredAt: start,
      value: { min: 35, mean: 182.1, max: 212.4, n: 5 },
    },
    { machine: 'pump-1', signal: '__proto__', measuredAt: start, value: 1 },
    ...Array.from({ length: 100_001 }, (_, i) => ({
      machine: 'pump-1',
      signal: 'many',
      measuredAt: start + i * 1000,
      value: i,
    })),
  ]),
)
const readings = (query: Record<string, string | number>) =>
  get(`/machines/pump-1/readings?${new URLSearchParams(query as Record<string, string>)}`)

test('latest has each signal with its unit, summaries by their mean', async () => {
  const { body } = await get('/machines/pump-1/latest')
  expect(body.signals.hyd_oil_temp_c).toEqual({
    value: 47,
    unit: '°C',
    measuredAt: new Date(start + 47 * hourMs).toISOString(),
  })
  expect(body.signals.main_pressure_bar).toMatchObject({ value: 182.1, unit: 'bar' })
  expect(Object.entries(body.signals).find(([name]) => name === '__proto__')?.[1]).toMatchObject({
    value: 1,
    unit: null,
  })
})

test('raw points are from ≤ t < to, exactly as they were measured', async () => {
  const { status, body } = await readings({
    signal: 'hyd_oil_temp_c',
    from: start + hourMs,
    to: new Date(start + 3 * hourMs).toISOString(),
  })
  expect(status).toBe(200)
  expect(body).toEqual({
    signal: 'hyd_oil_temp_c',
    unit: '°C',
    points: [
      [start + hourMs, 1],
      [start + 2 * hourMs, 2],
    ],
  })
})

test('a signal that was never sent has no points', async () => {
  expect((await readings({ signal: 'never' })).body).toEqual({ signal: 'never', unit: null, points: [] })
})

for (const [fn, points] of [
  [
    'mean',
    [
      [0, 0.5],
      [2, 2.5],
    ],
  ],
  [
    'min',
    [
      [0, 0],
      [2, 2],
    ],
  ],
  [
    'max',
    [
      [0, 1],
      [2, 3],
    ],
  ],
  [
    'last',
    [
      [0, 1],
      [2, 3],
    ],
  ],
  [
    'count',
    [
      [0, 2],
      [2, 2],
    ],
  ],
] as const) {
  test(`buckets of two hours: ${fn}`, async () => {
    const { body } = await readings({ signal: 'hyd_oil_temp_c', every: '2h', fn, to: start + 4 * hourMs })
    expect(body.points).toEqual(points.map(([hour, value]) => [start + hour * hourMs, value]))
  })
}

test("with tz, days are the site's own", async () => {
  const { body } = await readings({ signal: 'hyd_oil_temp_c', every: '1d', fn: 'count', tz: 'Europe/Berlin' })
  const midnights = [-23, 1, 24, 48].map((hour) => start + hour * hourMs)
  expect(body.points.map(([at]: number[]) => at)).toEqual(midnights.slice(0, body.points.length))
  expect(body.points.map(([, count]: number[]) => count)).toEqual([1, 23, 24])
})

for (const { name, query, detail } of [
  { name: 'no signal', query: {}, detail: 'does not fit' },
  { name: 'more raw points than fit into one answer', query: { signal: 'many' }, detail: 'every' },
  { name: 'more buckets than fit into one answer', query: { signal: 'many', every: '1s' }, detail: 'every' },
  { name: 'from after to', query: { signal: 'many', from: 2, to: 1 }, detail: '`from` lies after `to`' },
  { name: 'a time that is none', query: { signal: 'many', from: 'yesterday' }, detail: 'does not fit' },
  { name: 'a width that is none', query: { signal: 'many', every: '1w' }, detail: 'does not fit' },
  { name: 'a function that is none', query: { signal: 'many', every: '1h', fn: 'median' }, detail: 'does not fit' },
  { name: 'a function without buckets', query: { signal: 'many', fn: 'mean' }, detail: '`every`' },
  { name: 'a zone that is none', query: { signal: 'many', every: '1d', tz: 'Mars' }, detail: 'time zone' },
  { name: 'a zone for hours', query: { signal: 'many', every: '1h', tz: 'Europe/Berlin' }, detail: 'whole days' },
  { name: 'a limit, which this is not paged by', query: { signal: 'many', limit: 1 }, detail: 'does not fit' },
]) {
  test(`readings are refused for ${name}`, async () => {
    const { status, body } = await readings(query)
    expect(status).toBe(400)
    expect(body.detail).toContain(detail)
  })
}

test('100,000 raw points fit', async () => {
  const { status, body } = await readings({ signal: 'many', to: start + 100_000 * 1000 })
  expect([status, body.points.length]).toEqual([200, 100_000])
})

test('nobody knows the readings of a machine that is not there', async () => {
  expect((await get('/machines/nobody/readings?signal=x')).status).toBe(404)
  expect((await get('/machines/nobody/latest')).status).toBe(404)
})
