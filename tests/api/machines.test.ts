import { expect, test } from 'vitest'
import { setsOf } from '../store/sets-of.ts'
import { now, runningApi } from './running-api.ts'

const api = await runningApi()
const { get, post, patch, told, records, store } = api

test('id and type are enough to register a machine', async () => {
  const refreshed = told.refreshed
  const { status, body, headers } = await post('/machines', { id: 'bare', type: 'boom_pump' })
  expect([status, headers.location]).toEqual([201, '/api/v1/machines/bare'])
  expect(body).toEqual({
    id: 'bare',
    type: 'boom_pump',
    model: null,
    state: 'in_service',
    online: false,
    lastSeenAt: null,
    newestMeasuredAt: null,
    serviceHours: null,
    serviceHoursSource: null,
    serviceHoursAt: null,
    volumeM3: null,
    serial: null,
    customer: null,
    site: null,
    region: null,
    timeZone: 'UTC',
    deliveredAt: null,
    contacts: [],
    language: 'en',
    position: null,
    mergedInto: null,
    createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
  })
  // the stages know it before the answer goes out
  expect([told.refreshed, told.changed.at(-1)]).toEqual([refreshed + 1, 'bare'])
  expect((await get('/machines/bare')).body).toEqual(body)
})

test('what was written down comes back, and PATCH changes only what it names', async () => {
  const facts = {
    type: 'boom_pump',
    model: 'bp-38',
    serial: 'SN 1',
    customer: 'Züblin',
    site: '北京',
    region: 'north',
    timeZone: 'Asia/Shanghai',
    deliveredAt: '2025-03-01T08:00:00+08:00',
    contacts: [{ name: 'Li Wei', phone: '+86 1', role: 'planner' }],
    language: 'zh',
  }
  const written = { ...facts, id: 'full', deliveredAt: '2025-03-01T00:00:00.000Z', state: 'in_service' }
  expect((await post('/machines', { id: 'full', ...facts })).body).toMatchObject(written)
  const changed = await patch('/machines/full', {
    id: 'full',
    site: null,
    region: 'south',
    user: 'ana',
    reason: 'moved',
  })
  expect(changed).toMatchObject({ status: 200, body: { ...written, site: null, region: 'south' } })
})

for (const state of ['parked', 'workshop', 'retired', 'in_service'] as const) {
  test(`PATCH takes the state ${state}`, async () => {
    await post('/machines', { id: `to-${state}`, type: 'generic' })
    expect((await patch(`/machines/to-${state}`, { state, user: 'ana' })).body.state).toBe(state)
  })
}

test('a machine that nobody has named is named by PATCH or by POST', async () => {
  const unnamed = ['seen-1', 'seen-2'].map((id) => ({ id, type: 'generic', state: 'unassigned' as const }))
  await records.db.insertInto('machines').values(unnamed).execute()
  expect((await patch('/machines/seen-1', { type: 'excavator' })).body).toMatchObject({ state: 'in_service' })
  const named = await post('/machines', { id: 'seen-2', type: 'excavator' })
  expect(named).toMatchObject({ status: 201, body: { type: 'excavator', state: 'in_service' } })
})

for (const { name, body, status, detail } of [
  { name: 'a type that is none', body: { id: 'x', type: 'rocket' }, status: 400, detail: "'rocket' is no type" },
  {
    name: 'a model of another type',
    body: { id: 'x', type: 'excavator', model: 'bp-38' },
    status: 400,
    detail: 'no model',
  },
  { name: 'an id with a slash', body: { id: 'a/b', type: 'generic' }, status: 400, detail: 'no machine id' },
  { name: 'an id of 65', body: { id: 'a'.repeat(65), type: 'generic' }, status: 400, detail: 'no machine id' },
  {
    name: 'a time zone that is none',
    body: { id: 'x', type: 'generic', timeZone: 'Mars' },
    status: 400,
    detail: 'time zone',
  },
  { name: 'an id that is taken', body: { id: 'bare', type: 'generic' }, status: 409, detail: 'already' },
  { name: 'NUL in a name', body: { id: 'x', type: 'generic', site: 'a\0b' }, status: 400, detail: 'does not fit' },
  { name: 'no type', body: { id: 'x' }, status: 400, detail: 'does not fit' },
]) {
  test(`a machine is refused for ${name}`, async () => {
    const answer = await post('/machines', body)
    expect(answer.status).toBe(status)
    expect(answer.body.detail).toContain(detail)
  })
}

test('an id does not change', async () => {
  expect((await patch('/machines/bare', { id: 'other' })).status).toBe(400)
})

test('parking says who did it', async () => {
  await post('/machines', { id: 'winter', type: 'tower_crane' })
  expect((await post('/machines/winter/park', {})).status).toBe(400)
  expect((await post('/machines/winter/park', { user: 'ana' })).body).toMatchObject({ id: 'winter', state: 'parked' })
  expect((await get('/machines?state=parked&type=tower_crane')).body.items).toMatchObject([{ id: 'winter' }])
})

test('merging leads to the machine that has the history', async () => {
  await post('/machines', { id: 'twin', type: 'generic' })
  await post('/machines', { id: 'original', type: 'generic' })
  await store.append(setsOf([{ machine: 'twin', signal: 'rpm', measuredAt: now - 1, value: 7 }]))
  const merged = await post('/machines/twin/merge', { into: 'original', user: 'ana' })
  expect(merged).toMatchObject({ status: 200, body: { id: 'original' } })
  expect((await get('/machines/twin')).body).toMatchObject({ mergedInto: 'original', state: 'retired' })
  expect((await get('/machines/original/readings?signal=rpm')).body.points).toEqual([[now - 1, 7]])
  expect((await post('/machines/twin/merge', { into: 'original', user: 'ana' })).status).toBe(400)
  expect((await post('/machines/original/merge', { into: 'nobody', user: 'ana' })).status).toBe(404)
})

test('a device is bound to another machine from one time on, with its history', async () => {
  await post('/machines', { id: 'gateway-7', type: 'generic' })
  await post('/machines', { id: 'crane-7', type: 'tower_crane' })
  await store.append(
    setsOf([now - 2, now - 1].map((measuredAt) => ({ machine: 'gateway-7', signal: 'rpm', measuredAt, value: 7 }))),
  )
  const from = new Date(now - 1).toISOString()
  const bound = await post('/bindings', {
    device: 'gateway-7',
    machine: 'crane-7',
    from,
    user: 'ana',
    reason: 'swapped',
  })
  expect(bound.status).toBe(201)
  const binding = { device: 'gateway-7', machine: 'crane-7', from, to: null, boundBy: 'ana', reason: 'swapped' }
  expect(bound.body).toMatchObject({ binding, moved: [{ from: 'gateway-7', to: 'crane-7' }], unmoved: [] })
  expect((await get('/bindings?device=gateway-7')).body.items).toMatchObject([binding])
  expect((await get('/machines/crane-7/readings?signal=rpm')).body.points).toEqual([[now - 1, 7]])

  const again = await post('/bindings', { device: 'gateway-7', machine: 'gateway-7', user: 'ana' })
  expect(again.status).toBe(201)
  expect((await get('/bindings?device=gateway-7')).body.items).toHaveLength(1)
  expect((await get('/bindings?device=gateway-7&replaced=true')).body.items).toHaveLength(2)
})

for (const { name, body, status } of [
  { name: 'that ends before it begins', body: { from: '1000', to: '999' }, status: 400 },
  { name: 'of a device that cannot be', body: { device: 'a b' }, status: 400 },
  { name: 'to a machine that is not there', body: { machine: 'nobody' }, status: 404 },
]) {
  test(`a binding ${name} is refused`, async () => {
    const sound = { device: 'd', machine: 'bare', user: 'ana' }
    expect((await post('/bindings', { ...sound, ...body })).status).toBe(status)
  })
}

test("the operator's own tasks are counters of the machine", async () => {
  const { status, body } = await get('/machines/bare/operator-tasks')
  expect([status, body.next]).toEqual([200, null])
  expect(body.items.length).toBeGreaterThan(0)
  expect((await get('/machines/nobody/operator-tasks')).status).toBe(404)
})
