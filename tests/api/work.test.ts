import { expect, test } from 'vitest'
import { now, runningApi } from './running-api.ts'
import { raise } from './story.ts'

const api = await runningApi()
const { get, post, told } = api
const queueOnly = await runningApi({ desk: undefined })
const at = new Date(now).toISOString()
const by = { user: 'ana' }

async function machine(id: string, of = api): Promise<string> {
  await of.post('/machines', { id, type: 'boom_pump' })
  return id
}

test('an alarm is listed, looked at and acknowledged once', async () => {
  const { alarm } = await raise(api, await machine('hot'), 'S3')
  const shown = {
    id: alarm,
    machine: 'hot',
    component: 'hyd_tank_filters_cooler',
    failureMode: 'CP-05',
    signal: 'hyd_oil_temp_c',
    rule: 'hyd_oil_temp_c.high',
    severity: 'S3',
    state: 'unacknowledged',
    historical: false,
    value: 97,
    limit: 90,
    raisedAt: new Date(now - 60_000).toISOString(),
    clearedAt: null,
  }
  expect((await get('/alarms?machine=hot&state=unacknowledged&severity=S3')).body.items).toMatchObject([shown])
  expect((await get('/alarms?machine=hot&severity=S2')).body).toEqual({ items: [], next: null })
  expect((await get(`/alarms/${alarm}`)).body).toMatchObject({ ...shown, history: [{ kind: 'raised' }] })

  const seen = { state: 'acknowledged', acknowledgedAt: at, acknowledgedBy: 'ana', note: 'on my way' }
  const acknowledged = await post(`/alarms/${alarm}/acknowledge`, { user: 'ana', note: 'on my way' })
  expect(acknowledged).toMatchObject({ status: 200, body: { ...shown, ...seen } })
  expect(told.changed.at(-1)).toBe('hot')
  expect((await post(`/alarms/${alarm}/acknowledge`, { user: 'ben' })).status).toBe(409)
  expect((await post('/alarms/A-999999/acknowledge', { user: 'ben' })).status).toBe(404)
  expect((await post(`/alarms/${alarm}/acknowledge`, {})).status).toBe(400)
})

test('alarms come in pages, newest first', async () => {
  for (const id of ['p1', 'p2', 'p3']) await raise(api, await machine(id), 'S2')
  const first = (await get('/alarms?severity=S2&limit=2')).body
  const rest = (await get(`/alarms?severity=S2&limit=2&cursor=${first.next}`)).body
  expect([...first.items, ...rest.items].map(({ machine }) => machine)).toEqual(['p3', 'p2', 'p1'])
  expect(rest.next).toBeNull()
})

test('an accepted proposal is a ticket in the answer, and the queue hears of it', async () => {
  const { job, alarm } = await raise(api, await machine('warm'), 'S2')
  expect((await get('/jobs?machine=warm&state=proposed')).body.items).toMatchObject([
    {
      id: job,
      key: 'warm/hyd_tank_filters_cooler/CP-05',
      priority: 'P3',
      title: { en: expect.any(String), zh: expect.any(String) },
      evidence: [{ signal: 'hyd_oil_temp_c', value: 97 }],
      alarmIds: [alarm],
      parts: expect.any(Array),
      dueAt: expect.any(String),
      createdAt: at,
    },
  ])
  const queued = told.queued
  const accepted = await post(`/jobs/${job}/accept`, { user: 'ana', reason: 'before the pour' })
  expect(accepted).toMatchObject({ status: 200, body: { state: 'ticketed', acceptedBy: 'ana', acceptedAt: at } })
  expect([told.queued, told.changed.at(-1)]).toEqual([queued + 1, 'warm'])
  expect((await get(`/jobs/${job}`)).body).toEqual(accepted.body)
  expect((await get('/tickets?machine=warm&state=new')).body.items).toMatchObject([
    { job, key: 'warm/hyd_tank_filters_cooler/CP-05', priority: 'P3', state: 'new', createdAt: at },
  ])
  expect((await post(`/jobs/${job}/withdraw`, by)).status).toBe(409)
})

test('where the desk is on the queue an accepted proposal waits for it there', async () => {
  const { job } = await raise(queueOnly, await machine('warm', queueOnly), 'S2')
  const accepted = await queueOnly.post(`/jobs/${job}/accept`, by)
  expect(accepted.body).toMatchObject({ state: 'proposed', acceptedBy: 'ana' })
  expect(queueOnly.told.queued).toBe(1)
})

test('a desk that fails does not undo the acceptance: the queue is told', async () => {
  const failing = await runningApi({
    desk: {
      take: async () => {
        throw new Error('the desk is closed')
      },
      remind: async () => {},
    },
  })
  const { job } = await raise(failing, await machine('warm', failing), 'S2')
  expect((await failing.post(`/jobs/${job}/accept`, by)).status).toBe(500)
  expect((await failing.get(`/jobs/${job}`)).body.acceptedBy).toBe('ana')
  expect(failing.told.queued).toBe(1)
})

test('a withdrawn proposal says who and why', async () => {
  const { job } = await raise(api, await machine('sensor'), 'S2')
  const ended = { state: 'withdrawn', endedBy: 'ana', endReason: 'the sensor is wrong', endedAt: at }
  const answer = await post(`/jobs/${job}/withdraw`, { user: 'ana', reason: 'the sensor is wrong' })
  expect(answer).toMatchObject({ status: 200, body: ended })
  expect((await get(`/audit?subject=${job}`)).body.items).toMatchObject([{ action: 'job.withdraw', user: 'ana' }])
})

test('a ticket goes its way, and its history and the audit log say how', async () => {
  const { job } = await raise(api, await machine('way'), 'S2')
  await post(`/jobs/${job}/accept`, by)
  const { id } = (await get('/tickets?machine=way')).body.items[0]

  expect((await post(`/tickets/${id}/state`, { state: 'triaged', user: 'ben' })).body.state).toBe('triaged')
  const skipped = await post(`/tickets/${id}/state`, { state: 'closed', user: 'ben' })
  expect([skipped.status, skipped.body.detail]).toEqual([409, expect.stringContaining('closed cannot follow')])
  const silent = await post(`/tickets/${id}/state`, { state: 'cancelled', user: 'ben' })
  expect([silent.status, silent.body.detail]).toEqual([400, expect.stringContaining('needs a reason')])
  const said = await post(`/tickets/${id}/comments`, { user: 'cho', text: '滤芯已订购' })
  expect(said.status).toBe(201)
  const over = await post(`/tickets/${id}/state`, { state: 'cancelled', user: 'ben', reason: 'sold' })
  expect(over.body).toMatchObject({ state: 'cancelled', closedAt: at })
  expect(over.body.history).toMatchObject([
    { kind: 'opened' },
    { kind: 'state', by: 'ben', state: 'triaged' },
    { kind: 'comment', by: 'cho', note: '滤芯已订购' },
    { kind: 'state', by: 'ben', state: 'cancelled', note: 'sold' },
  ])
  expect((await get(`/tickets/${id}`)).body).toEqual(over.body)
  expect((await get(`/jobs/${job}`)).body).toMatchObject({ state: 'withdrawn', endReason: 'sold' })
  expect((await get(`/audit?subject=${id}`)).body.items).toMatchObject([
    {
      user: 'ben',
      action: 'ticket.state',
      before: { state: 'triaged' },
      after: { state: 'cancelled' },
      reason: 'sold',
    },
    { user: 'cho', action: 'ticket.comment', after: { text: '滤芯已订购' } },
    { user: 'ben', action: 'ticket.state', before: { state: 'new' }, after: { state: 'triaged' } },
  ])
})

for (const path of ['jobs/J-999999', 'tickets/T-999999', 'alarms/A-999999']) {
  test(`${path} is not there`, async () => expect((await get(`/${path}`)).status).toBe(404))
}
