import { expect, test } from 'vitest'
import { keepWithinBudget } from '../../src/acquire/quarantine-budget.ts'
import { SpoolHolds } from '../../src/acquire/spool-holds.ts'
import { now, runningApi } from './running-api.ts'
import { quarantine } from './story.ts'

const api = await runningApi({ config: { OUTRIGGER_QUARANTINE_BYTES: 1 << 20 } })
const { get, post, told, records } = api
const at = new Date(now).toISOString()

test('the quarantine is shown by reason and type', async () => {
  await post('/machines', { id: 'pump-1', type: 'boom_pump' })
  const id = await quarantine(api, 'machines/pump-1/telemetry', Buffer.from('{'))
  await quarantine(api, 'kitchen/toaster', Buffer.from('x'))
  const { status, body } = await get('/quarantine/groups')
  expect(status).toBe(200)
  expect(body).toEqual({
    items: [
      {
        reason: 'shape',
        type: 'boom_pump',
        devices: 1,
        entries: 1,
        withoutBytes: 0,
        bytes: 1,
        merged: 0,
        mergedFrom: null,
        mergedTo: null,
        firstAt: at,
        lastAt: at,
        exampleId: id,
        exampleDevice: 'pump-1',
        exampleDetail: 'not a set',
      },
      expect.objectContaining({ reason: 'shape', type: null, devices: 0, entries: 1, exampleDevice: null }),
    ],
    next: null,
  })
})

test('a bulk decision is taken up, looked at and cancelled', async () => {
  const filter = { reason: 'shape', device: 'pump-1', from: String(now - 1_000) }
  const started = await post('/quarantine/discard', { filter, user: 'ana', reason: 'a test bench' })
  expect(started).toMatchObject({
    status: 202,
    body: {
      action: 'discard',
      state: 'running',
      filter: { reason: 'shape', device: 'pump-1', from: new Date(now - 1_000).toISOString() },
      startedAt: at,
      startedBy: 'ana',
      reason: 'a test bench',
    },
  })
  expect(told.bulks).toBe(1)
  const { id } = started.body
  expect((await get(`/quarantine/bulk/${id}`)).body).toMatchObject({ id, state: 'running', remaining: 1 })
  expect((await get('/quarantine/bulk')).body.items).toMatchObject([{ id, remaining: null }])
  expect(await post(`/quarantine/bulk/${id}/cancel`)).toMatchObject({ status: 200, body: { state: 'cancelled' } })
  expect((await post(`/quarantine/bulk/${id}/cancel`)).status).toBe(409)
  expect((await get('/quarantine/bulk/999999')).status).toBe(404)
})

for (const { name, filter } of [
  { name: 'an empty filter, which would mean everything', filter: {} },
  { name: 'a misspelt criterion', filter: { reasons: 'shape' } },
  { name: 'a time that is none', filter: { from: 'yesterday' } },
  { name: 'ids that are none', filter: { ids: [0] } },
  { name: 'no filter', filter: undefined },
]) {
  test(`a bulk decision is refused with ${name}`, async () => {
    expect((await post('/quarantine/replay', { filter, user: 'ana' })).status).toBe(400)
  })
}

test('what lost its bytes says so, and a replay of it is a 409', async () => {
  const id = await quarantine(api, 'machines/loud/telemetry', Buffer.alloc(900_000))
  await quarantine(api, 'machines/loud/telemetry', Buffer.alloc(900_000))
  await keepWithinBudget(records.db, 1 << 20, now)
  expect((await get(`/quarantine/${id}`)).body).toMatchObject({ bytes: null, size: 900_000, bytesDroppedAt: at })
  const refused = await post(`/quarantine/${id}/replay`)
  expect(refused).toMatchObject({ status: 409, body: { detail: expect.stringContaining('were given up') } })
  const metrics = (await api.app.inject('/metrics')).body
  expect(metrics).toContain('\noutrigger_quarantine_budget_bytes 1048576\n')
  expect(metrics).toContain('\noutrigger_quarantine_entries_stripped_total 1\n')
  expect(metrics).toMatch(/\noutrigger_quarantine_bytes 90\d{4}\n/)
  expect((await get('/quarantine?device=loud')).body.items).toHaveLength(2)
})

test('while the spool takes nothing, a replay is a 503 and the entry stays', async () => {
  const holding = await runningApi({
    inject: async () => {
      throw new SpoolHolds()
    },
  })
  const id = await quarantine(holding, 'machines/pump-1/telemetry', Buffer.from('{'))
  const refused = await holding.post(`/quarantine/${id}/replay`)
  expect(refused).toMatchObject({ status: 503, body: { detail: expect.stringContaining('try again') } })
  expect((await holding.get(`/quarantine/${id}`)).body.state).toBe('held')
})
