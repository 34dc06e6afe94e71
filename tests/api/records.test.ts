import { expect, test } from 'vitest'
import { now, runningApi } from './running-api.ts'
import { counterDoubt, fillRecords, quarantine } from './story.ts'

const api = await runningApi()
const { get, post, injected, told } = api
await fillRecords(api)
const at = new Date(now).toISOString()

test('what is in quarantine is listed, looked at and replayed once', async () => {
  const bytes = Buffer.from([0, 255, 123])
  const id = await quarantine(api, 'machines/odd/telemetry', bytes)
  const item = { id, receivedAt: at, topic: 'machines/odd/telemetry', reason: 'shape', state: 'held' }
  expect((await get('/quarantine?reason=shape&limit=1')).body.items).toMatchObject([item])
  expect((await get(`/quarantine/${id}`)).body).toMatchObject({ ...item, bytes: bytes.toString('base64') })

  const replayed = await post(`/quarantine/${id}/replay`, { user: 'ana', reason: 'mapped' })
  expect(replayed).toMatchObject({ status: 200, body: { state: 'replayed', decidedBy: 'ana', decidedAt: at } })
  expect(injected).toEqual([{ topic: 'machines/odd/telemetry', bytes }])
  expect((await post(`/quarantine/${id}/replay`)).status).toBe(409)
  expect((await post(`/quarantine/${id}/discard`)).status).toBe(409)
  expect((await get('/quarantine?state=replayed')).body.items).toMatchObject([{ id }])
})

test('a discard needs no body, and keeps the bytes', async () => {
  const id = await quarantine(api, 'nonsense', Buffer.from('x'))
  const { statusCode, body } = await api.app.inject({ method: 'POST', url: `/api/v1/quarantine/${id}/discard` })
  expect([statusCode, JSON.parse(body)]).toMatchObject([200, { state: 'discarded', decidedBy: 'api' }])
  expect((await get(`/quarantine/${id}`)).body.bytes).toBe('eA==')
  expect((await post('/quarantine/999999/discard')).status).toBe(404)
  expect((await get('/quarantine/0')).status).toBe(400)
})

test('a counter that fell is confirmed once', async () => {
  const id = await counterDoubt(api, 'pump-1', now - 1)
  const doubt = { id, machine: 'pump-1', signal: 'engine_hours_h', value: 4200, previous: 4300 }
  expect((await get('/counter-doubts?machine=pump-1&open=true')).body.items[0]).toMatchObject(doubt)
  expect((await post(`/counter-doubts/${id}/confirm`, { resolution: 'set', user: 'ana' })).status).toBe(400)
  const refreshed = told.refreshed
  const confirm = { resolution: 'accept', user: 'ana', note: 'new meter' }
  expect(await post(`/counter-doubts/${id}/confirm`, confirm)).toMatchObject({ status: 204, body: undefined })
  expect(told.refreshed).toBe(refreshed + 1)
  expect((await get('/counter-doubts?open=false')).body.items).toMatchObject([
    { ...doubt, confirmedAt: at, confirmedBy: 'ana', resolution: 'accept' },
  ])
  expect((await post(`/counter-doubts/${id}/confirm`, confirm)).status).toBe(409)
  expect((await post('/counter-doubts/999999/confirm', confirm)).status).toBe(404)
})

for (const { name, body, status } of [
  { name: 'now', body: { hours: 4321.5 }, status: 204 },
  { name: 'of yesterday', body: { hours: 4320, at: new Date(now - 86_400_000).toISOString() }, status: 204 },
  { name: 'of tomorrow', body: { hours: 4330, at: new Date(now + 86_400_000).toISOString() }, status: 400 },
  { name: 'below zero', body: { hours: -1 }, status: 400 },
  { name: 'that no meter shows', body: { hours: 214_748_364 }, status: 400 },
]) {
  test(`a meter reading ${name} is answered with ${status}`, async () => {
    expect((await post('/machines/pump-1/meter-readings', { ...body, user: 'ana' })).status).toBe(status)
  })
}

test('nobody reads the meter of a machine that is not there', async () => {
  expect((await post('/machines/nobody/meter-readings', { hours: 1, user: 'ana' })).status).toBe(404)
})

test('inspections are listed by machine, state and performer, in pages', async () => {
  const all = (await get('/inspections?machine=pump-1&limit=1000')).body.items
  expect(all.length).toBeGreaterThan(1)
  for (const one of all) {
    expect(one).toMatchObject({
      id: expect.stringMatching(/^I-\d{6}$/),
      machine: 'pump-1',
      tasks: expect.any(Array),
      performer: expect.stringMatching(/^(service|customer)$/),
      state: expect.stringMatching(/^(unknown|upcoming|open|overdue|done|skipped)$/),
    })
    expect(one).toHaveProperty('dueHours')
    expect(one).toHaveProperty('dueAt')
    expect(one).toHaveProperty('windowOpensAt')
    expect(one).toHaveProperty('remindedAt')
  }
  const paged: unknown[] = []
  let next: string | null = ''
  while (next !== null) {
    const page: { items: unknown[]; next: string | null } = (
      await get(`/inspections?machine=pump-1&limit=2${next && `&cursor=${next}`}`)
    ).body
    paged.push(...page.items)
    next = page.next
  }
  expect(paged).toEqual(all)
  const performers = ['service', 'customer'].map((performer) =>
    get(`/inspections?machine=pump-1&performer=${performer}`),
  )
  const [service, customer] = await Promise.all(performers)
  expect(service?.body.items.length + customer?.body.items.length).toBe(all.length)
  // the operator's tasks are counters of the machine
  expect((await get('/inspections?performer=operator')).body).toEqual({ items: [], next: null })
})
