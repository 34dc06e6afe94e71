import type { MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { connectClient, dataFolder, publish, type RunningService, startService, until } from './running-service.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** A pump truck's hydraulic oil at one temperature, a reading every 5 s. */
function oil(start: number, seconds: number, value: number) {
  return Array.from({ length: seconds / 5 + 1 }, (_, i) => ({
    ts: start + i * 5_000,
    mode: 'pumping',
    signals: { hyd_oil_temp_c: value, engine_speed_rpm: 1500 },
  }))
}

/** Publishes sets of one machine one by one, and waits until they are judged and stored. */
async function send(service: RunningService, client: MqttClient, machine: string, sets: object[]): Promise<void> {
  await Promise.all(sets.map((set) => publish(client, `machines/${machine}/telemetry`, set)))
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
}

/** The only item of a machine's list, as soon as it looks as expected. */
async function only(service: RunningService, list: 'alarms' | 'jobs' | 'tickets', machine: string, like: object) {
  const path = `/${list}?machine=${machine}`
  await until(async () => {
    const { items } = await service.get(path)
    return items.some((item: object) => matches(item, like)) ? true : undefined
  }).catch(() => {}) // the difference says more than the time that ran out
  const { items } = await service.get(path)
  expect(items, `${list} of ${machine}`).toMatchObject([like])
  return items[0]
}

function matches(item: object, like: object): boolean {
  return Object.entries(like).every(([name, value]) => (item as Record<string, unknown>)[name] === value)
}

test('what people decide holds for the next reading', { timeout: 90_000 }, async () => {
  const service = await startService(await dataFolder())
  const client = await connectClient(service)
  const register = (id: string, type = 'boom_pump') => service.post('/machines', { id, type })
  const change = async (id: string, body: object) =>
    expect((await service.request('PATCH', `/api/v1/machines/${id}`, body)).status).toBe(200)

  // an S2 alarm is a proposal, until somebody accepts it
  await register('accepted')
  await send(service, client, 'accepted', oil(Date.now() - 2 * MINUTE, 100, 85))
  const { id: proposal } = await only(service, 'jobs', 'accepted', {
    severity: 'S2',
    priority: 'P3',
    state: 'proposed',
  })
  expect((await service.get('/tickets?machine=accepted')).items).toEqual([])
  await service.post(`/jobs/${proposal}/accept`, { user: 'ana', reason: 'with the next visit' })
  await only(service, 'tickets', 'accepted', { severity: 'S2', priority: 'P3', state: 'new' })
  await only(service, 'jobs', 'accepted', { state: 'ticketed', revision: 2 })

  // or until it grows worse: the same key again, one revision on
  await register('worse')
  await send(service, client, 'worse', oil(Date.now() - 4 * MINUTE, 100, 85))
  const { key } = await only(service, 'jobs', 'worse', { state: 'proposed', revision: 1 })
  await send(service, client, 'worse', oil(Date.now() - 2 * MINUTE, 60, 95))
  await only(service, 'tickets', 'worse', { key, severity: 'S3', priority: 'P2' })
  await only(service, 'jobs', 'worse', { key, state: 'ticketed', revision: 2 })

  // a type that is named gives the alarm its meaning and its voice
  await send(service, client, 'stranger', oil(Date.now() - 2 * MINUTE, 60, 97))
  await only(service, 'alarms', 'stranger', { state: 'suppressed', failureMode: 'limit.hyd_oil_temp_c.high' })
  expect((await service.get('/jobs?machine=stranger')).items).toEqual([])
  await change('stranger', { type: 'boom_pump' })
  await only(service, 'alarms', 'stranger', { state: 'unacknowledged', failureMode: 'CP-05' })
  await only(service, 'tickets', 'stranger', { failureMode: 'CP-05', severity: 'S3' })

  // a parked machine is silent; what still holds when it comes back is said then
  await register('parked')
  await service.post('/machines/parked/park', { user: 'ana', reason: 'winter' })
  await send(service, client, 'parked', oil(Date.now() - 2 * MINUTE, 60, 97))
  await only(service, 'alarms', 'parked', { state: 'suppressed' })
  expect((await service.get('/jobs?machine=parked')).items).toEqual([])
  await change('parked', { state: 'in_service', user: 'ana' })
  await only(service, 'alarms', 'parked', { state: 'unacknowledged' })
  await only(service, 'tickets', 'parked', { severity: 'S3' })

  // another limit counts from the next reading on
  await register('limit')
  await send(service, client, 'limit', oil(Date.now() - 4 * MINUTE, 100, 78))
  expect((await service.get('/alarms?machine=limit')).items).toEqual([])
  const override = {
    scope: 'machine',
    scopeId: 'limit',
    rule: 'hyd_oil_temp_c.high',
    parameter: 'warn.limit',
    value: 75,
  }
  await service.post('/rules/overrides', { ...override, user: 'ana', reason: 'old seals' })
  await send(service, client, 'limit', oil(Date.now() - 2 * MINUTE, 100, 78))
  await only(service, 'alarms', 'limit', { severity: 'S2', limit: 75 })
  const brake = { scope: 'type', scopeId: 'mobile_crane', rule: 'brake_temp_c.high', parameter: 'critical.limit' }
  const refused = await service.request('POST', '/api/v1/rules/overrides', {
    ...{ ...brake, value: 500, user: 'ana', reason: 'it is in the way' },
  })
  expect(refused.status).toBe(403)

  // a device that was moved: its history goes with it, and a redelivery finds it there
  const swap = Date.now() - HOUR
  const early = oil(swap - 10 * MINUTE, 20, 60)
  const late = oil(swap + 10 * MINUTE, 20, 61)
  await send(service, client, 'box', [...early, ...late])
  await register('left')
  await register('right')
  const swapped = new Date(swap).toISOString()
  await service.post('/bindings', { device: 'box', machine: 'left', to: swapped, user: 'ana', reason: 'swapped' })
  await service.post('/bindings', { device: 'box', machine: 'right', from: swapped, user: 'ana', reason: 'swapped' })
  const duplicates = await service.metric('reading_sets_total{outcome="duplicate"}')
  await send(service, client, 'box', [...early, ...late])
  expect(await service.metric('reading_sets_total{outcome="duplicate"}')).toBe(duplicates + early.length + late.length)
  for (const [machine, sets] of [['left', early] as const, ['right', late] as const, ['box', []] as const]) {
    const { points } = await service.get(`/machines/${machine}/readings?signal=hyd_oil_temp_c`)
    expect(
      points.map(([ts]: number[]) => ts),
      machine,
    ).toEqual(sets.map(({ ts }) => ts))
  }
  await service.post('/machines/left/merge', { into: 'right', user: 'ana', reason: 'one machine after all' })
  const { points } = await service.get('/machines/right/readings?signal=hyd_oil_temp_c')
  expect(points).toHaveLength(early.length + late.length)
})

test('the hour counter: no past, one reminder, no jump without a person', { timeout: 60_000 }, async () => {
  const service = await startService(await dataFolder())
  const client = await connectClient(service)
  const start = Date.now() - 400 * HOUR
  const hours = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => ({
      ts: start + (from + i) * HOUR,
      signals: { engine_hours_h: 6300 + from + i },
    }))
  const reminders = async (from = service) =>
    (await from.get('/inspections?machine=digger&limit=1000')).items
      .filter(({ remindedAt }: { remindedAt: string | null }) => remindedAt)
      .map(({ id, dueHours, remindedAt }: any) => ({ id, dueHours, remindedAt }))
  await service.post('/machines', { id: 'digger', type: 'excavator' })
  await send(service, client, 'digger', hours(0, 20))
  const statesOfPast = async () => {
    const { items } = await service.get('/inspections?machine=digger&limit=1000')
    const past = items.filter(({ dueHours, dueAt }: any) => dueHours !== null && dueHours < 6300 && dueAt === null)
    return new Set<string>(past.map(({ state }: { state: string }) => state))
  }
  await until(async () => ([...(await statesOfPast())].join() === 'unknown' ? true : undefined))
  expect(await reminders()).toEqual([])

  // 6,700 h at once: nothing moves, nobody is reminded, until a person has looked
  await send(service, client, 'digger', [{ ts: start + 20.5 * HOUR, signals: { engine_hours_h: 6700 } }])
  expect(await service.get('/machines/digger')).toMatchObject({ serviceHours: 6320 })
  const doubts = (await service.get('/counter-doubts?machine=digger')).items
  expect(doubts).toMatchObject([{ kind: 'counter_jump', value: 6700, previous: 6320, resolution: null }])
  expect(await reminders()).toEqual([])
  await service.post(`/counter-doubts/${doubts[0].id}/confirm`, { resolution: 'continue', user: 'ana' })
  expect(await service.get('/machines/digger')).toMatchObject({ serviceHours: 6320 })

  // the counter of the new controller goes on; 6,500 h − 10 % of the interval, at most 50 h, is reached at 6,830
  const onward = Array.from({ length: 131 }, (_, i) => ({
    ts: start + (21 + i) * HOUR,
    signals: { engine_hours_h: 6700.5 + i },
  }))
  await send(service, client, 'digger', onward)
  const isDue = ({ dueHours }: { dueHours: number }) => dueHours === 6500
  await until(async () => ((await reminders()).some(isDue) ? true : undefined))
  expect(await service.get('/machines/digger')).toMatchObject({ serviceHours: 6450.5 })
  await send(service, client, 'digger', [{ ts: start + 152 * HOUR, signals: { engine_hours_h: 6831.5 } }])
  await send(service, client, 'night', oil(Date.now() - 2 * MINUTE, 60, 97))
  const before = await reminders()
  expect(await service.stop()).toBe(0)

  // what is older than what is kept goes, what was counted from it stays
  const again = await startService(service.folder, { OUTRIGGER_RETENTION_DAYS: '12' })
  await until(async () => ((await again.metric('outbox_waiting')) === 0 ? true : undefined))
  expect(await reminders(again)).toEqual(expect.arrayContaining(before))
  const kept = Date.now() - 12 * 24 * HOUR
  const times = await until(async () => {
    const { points } = await again.get('/machines/digger/readings?signal=engine_hours_h')
    const found: number[] = points.map(([ts]: number[]) => ts)
    return found.every((ts) => ts >= kept) ? found : undefined
  })
  expect(times.length).toBeGreaterThan(30)
  expect(await again.get('/machines/digger')).toMatchObject({ serviceHours: 6451.5 })

  // a machine that has not been heard since the start is named: what was known of it follows its type
  expect((await again.request('PATCH', '/api/v1/machines/night', { type: 'boom_pump' })).status).toBe(200)
  await only(again, 'alarms', 'night', { state: 'unacknowledged', failureMode: 'CP-05' })
  await only(again, 'tickets', 'night', { failureMode: 'CP-05' })
})
