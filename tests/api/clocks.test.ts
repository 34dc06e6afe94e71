import { expect, test } from 'vitest'
import { openClockBook } from '../../src/acquire/clock-book.ts'
import { recordJumps } from '../../src/acquire/clock-records.ts'
import { viewClocks } from '../../src/acquire/clock-view.ts'
import { type ClockPolicies, followClockPolicies } from '../../src/machines/clock-policies.ts'
import { now, runningApi } from './running-api.ts'

const minute = 60_000
let policies: ClockPolicies | undefined
const policiesNow = { at: (device: string, at: number) => policies?.at(device, at) }
const book = openClockBook(policiesNow)
for (const [index, [device, ahead]] of Object.entries({ 'd-1': 0, 'd-2': 3_600_000, 'd-3': -120_000 }).entries()) {
  for (let at = now - 10 * minute; at < now; at += 10_000) {
    const message = {
      receivedAt: at,
      kind: 'telemetry',
      origin: 'mqtt',
      retained: false,
      position: at + index,
    } as const
    const whole = { ...message, topic: '', payload: Buffer.alloc(0), qos: 1, next: at + index + 1 } as const
    book.judge(device, { measuredAt: at + ahead, zoneless: false }, whole, 0)
  }
}
const machineOf = (device: string) => (device === 'd-3' ? 'crane-1' : device)
const api = await runningApi({
  clockReads: {
    clocks: async (query) => viewClocks(book, policiesNow, { machineOf, ...query }),
    sequenceOf: async (machine) =>
      machine === 'counting' ? { highest: 9, skipped: 3, filled: 1, repeated: 2, restarts: 0 } : undefined,
  },
})
policies = await followClockPolicies(api.records.db)
const { get } = api

async function put(device: string, payload: object) {
  const answer = await api.app.inject({ method: 'PUT', url: `/api/v1/devices/${device}/clock`, payload })
  return { status: answer.statusCode, body: answer.json() }
}
const said = { user: 'li.wei', reason: 'read off its display' }

test('clocks are listed by device, in pages, by state and by the machine that a device speaks for', async () => {
  const first = await get('/clocks?limit=2')
  expect(first.body.items.map(({ device, state }: any) => [device, state])).toEqual([
    ['d-1', 'right'],
    ['d-2', 'ahead'],
  ])
  expect(first.body.items[0]).toMatchObject({
    machine: 'd-1',
    policy: { kind: 'as_sent' },
    offsetMs: 0,
    driftPpm: null,
    liveAt: new Date(now - 10_000).toISOString(),
    readings: { live: 60, backlog: 0, refused: 0 },
    jumps: 0,
    lastJump: null,
    backlog: null,
  })
  const second = await get(`/clocks?limit=2&cursor=${first.body.next}`)
  expect(second.body).toMatchObject({ items: [{ device: 'd-3', machine: 'crane-1', offsetMs: -120_000 }], next: null })
  expect((await get('/clocks?state=ahead')).body.items).toMatchObject([{ device: 'd-2', readings: { refused: 60 } }])
  expect((await get('/clocks?machine=crane-1')).body.items).toMatchObject([{ device: 'd-3' }])
  expect((await get('/clocks?state=late')).status).toBe(400)
  expect((await get('/clocks?cursor=nonsense')).status).toBe(400)
})

test('what is said of a clock holds, is written down and is told to the stages', async () => {
  const before = api.told.refreshed
  const policy = { kind: 'zone', zone: 'Asia/Shanghai' }
  const { status, body } = await put('d-2', { policy, to: '2026-12-01T00:00:00Z', ...said })
  expect(status).toBe(200)
  expect(api.told.refreshed).toBe(before + 1)
  const recorded = { policy, from: null, to: '2026-12-01T00:00:00.000Z', setBy: 'li.wei', replacedAt: null }
  expect(body).toMatchObject({ clock: { device: 'd-2' }, policies: [{ ...recorded, reason: said.reason }] })
  expect((await put('d-2', { policy: { kind: 'as_sent' }, ...said })).body.policies).toMatchObject([
    { ...recorded, replacedAt: expect.any(String) },
  ])
  const { body: audit } = await get('/audit?subject=d-2')
  expect(audit.items).toMatchObject([{ action: 'device.clock' }, { action: 'device.clock', ...said }])
})

test('a device that was never heard may have a policy, and no clock', async () => {
  expect((await get('/devices/new/clock')).body).toEqual({ clock: null, policies: [] })
  expect((await put('new', { policy: { kind: 'no_clock' }, ...said })).body).toMatchObject({
    clock: null,
    policies: [{ policy: { kind: 'no_clock' } }],
  })
})

for (const { name, body } of [
  { name: 'nobody says it', body: { policy: { kind: 'no_clock' }, reason: 'so' } },
  { name: 'nobody says why', body: { policy: { kind: 'no_clock' }, user: 'li.wei' } },
  { name: 'a kind that there is not', body: { policy: { kind: 'ntp' }, ...said } },
  { name: 'an offset without a length', body: { policy: { kind: 'offset' }, ...said } },
  { name: 'an offset of half a millisecond', body: { policy: { kind: 'offset', offsetMs: 0.5 }, ...said } },
  { name: 'an offset of a millennium', body: { policy: { kind: 'offset', offsetMs: 4e13 }, ...said } },
  { name: 'a zone that there is not', body: { policy: { kind: 'zone', zone: 'Mars/Olympus' }, ...said } },
  { name: 'a zone beside an offset', body: { policy: { kind: 'offset', offsetMs: 1, zone: 'UTC' }, ...said } },
  { name: 'an end before the beginning', body: { policy: { kind: 'no_clock' }, from: '2', to: '1', ...said } },
  { name: 'a time that is none', body: { policy: { kind: 'no_clock' }, from: 'noon', ...said } },
]) {
  test(`what is said of a clock is refused: ${name}`, async () => expect((await put('d-1', body)).status).toBe(400))
}

test('jumps are listed newest first, of one machine or of all', async () => {
  for (const id of ['jumpy', 'jumpier']) await api.post('/machines', { id, type: 'boom_pump' })
  const jump = (device: string, minutes: number, to: number) => ({ device, at: now + minutes * minute, from: -200, to })
  const jumps = [jump('jumpy', 0, 3_600_000), jump('jumpier', 1, -60_000), jump('unregistered', 2, 1)]
  for (let i = 0; i < 2; i++) await recordJumps(api.records.db, jumps, (device) => device)
  await recordJumps(
    api.records.db,
    Array.from({ length: 20 }, (_, i) => jump('jumpier', 5 + i, 90_000)),
    (device) => device,
  )
  const { body } = await get('/clock-jumps')
  expect(body.items).toHaveLength(11)
  expect(body.items.at(-1)).toMatchObject({
    machine: 'jumpy',
    at: new Date(now).toISOString(),
    fromMs: -200,
    toMs: 3_600_000,
    detail: 'the clock of jumpy was put forward by 60 min',
  })
  expect((await get('/clock-jumps?machine=jumpy')).body.items).toHaveLength(1)
  const page = (await get('/clock-jumps?limit=10')).body
  expect((await get(`/clock-jumps?limit=10&cursor=${page.next}`)).body.items).toMatchObject([{ machine: 'jumpy' }])
})

test("a machine's numbering is shown, also where it has none", async () => {
  await api.post('/machines', { id: 'counting', type: 'boom_pump' })
  await api.post('/machines', { id: 'silent', type: 'boom_pump' })
  expect((await get('/machines/counting/sequence')).body).toMatchObject({ highest: 9, skipped: 3, repeated: 2 })
  expect((await get('/machines/silent/sequence')).body).toMatchObject({ highest: null, skipped: 0 })
  expect((await get('/machines/unheard-of/sequence')).status).toBe(404)
})
