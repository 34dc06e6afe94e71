import mqtt, { type MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { connectClient, dataFolder, publish, type RunningService, startService, until } from './running-service.ts'

const MINUTE = 60_000
const DONE_MS = 20_000 // a backlog is judged again when nothing more comes

/** An hour of a pump truck at 10 s: twice far too hot, once a little, fine in between. */
const now = Date.now()
const hour = Array.from({ length: 361 }, (_, i) => ({
  ts: now - 80 * MINUTE + i * 10_000,
  signals: { hyd_oil_temp_c: temperatureAt(i), engine_speed_rpm: 1500, engine_hours_h: 1000 + (i * 10) / 3600 },
}))

function temperatureAt(i: number): number {
  if (i >= 30 && i < 60) return 96
  if (i >= 150 && i < 190) return 85
  return i >= 260 && i < 300 ? 97 : 60
}

type ReadingOfHour = (typeof hour)[number]
type Send = (payload: object) => Promise<void>

function chunks(sets: readonly ReadingOfHour[], size: number): ReadingOfHour[][] {
  return Array.from({ length: Math.ceil(sets.length / size) }, (_, i) => sets.slice(i * size, (i + 1) * size))
}

/** In an order that has nothing to do with time, the same one each time. */
function mixed(sets: readonly ReadingOfHour[]): ReadingOfHour[] {
  return sets
    .map((set, i) => ({ set, place: (i * 197) % 361 }))
    .sort((a, b) => a.place - b.place)
    .map(({ set }) => set)
}

const ways: Record<string, (send: Send) => Promise<unknown>> = {
  'as-it-comes': (send) => Promise.all(hour.map(send)),
  'one-array': (send) => send(hour),
  'one-array-newest-first': (send) => send([...hour].reverse()),
  'all-of-it-twice': (send) => Promise.all([...hour, ...hour].map(send)),
  'in-no-order': (send) => Promise.all(mixed(hour).map(send)),
  'pieces-newest-first-beside-what-is-live': async (send) => {
    for (const [i, piece] of chunks(hour, 20).reverse().entries()) {
      await send({ ts: now - MINUTE + i * 1000, signals: { hyd_oil_temp_c: 60, engine_speed_rpm: 1500 } })
      await send([...piece].reverse())
    }
  },
}

const sender =
  (client: MqttClient, machine: string): Send =>
  (payload) =>
    publish(client, `machines/${machine}/telemetry`, payload)

/** What is left of an hour once everything is judged: one alarm that is over, one job, one ticket. */
async function outcome(service: RunningService, machine: string) {
  const read = async () => {
    const [alarms, jobs, tickets] = await Promise.all(
      ['alarms', 'jobs', 'tickets'].map(async (list) => (await service.get(`/${list}?machine=${machine}`)).items),
    )
    return {
      alarms: alarms.map(({ failureMode, severity, state, historical, raisedAt, clearedAt }: any) => ({
        ...{ failureMode, severity, state, historical, raisedAt, clearedAt },
      })),
      jobs: jobs.length,
      tickets: tickets.map(({ severity, priority }: any) => ({ severity, priority })),
    }
  }
  const at = (i: number) => new Date((hour[i]?.ts ?? 0) + 60_000).toISOString()
  const expected = {
    alarms: [
      {
        ...{ failureMode: 'CP-05', severity: 'S3', state: 'returned', historical: true },
        ...{ raisedAt: new Date((hour[30]?.ts ?? 0) + 30_000).toISOString(), clearedAt: at(300) },
      },
    ],
    jobs: 1,
    tickets: [{ severity: 'S3', priority: 'P2' }],
  }
  const isDone = async () => (JSON.stringify(await read()) === JSON.stringify(expected) ? true : undefined)
  await until(isDone, DONE_MS).catch(() => {}) // the difference says more than the time that ran out
  expect(await read(), machine).toEqual(expected)
  const { points } = await service.get(`/machines/${machine}/readings?signal=hyd_oil_temp_c&to=${now - 2 * MINUTE}`)
  expect(points, machine).toEqual(hour.map(({ ts, signals }) => [ts, signals.hyd_oil_temp_c]))
  expect(await service.get(`/machines/${machine}`)).toMatchObject({ serviceHours: 1001 })
}

test('the same hour is the same alarm and the same ticket, however it comes, and across a kill', {
  timeout: 120_000,
}, async () => {
  const folder = await dataFolder()
  const service = await startService(folder)
  const client = await connectClient(service)
  for (const id of [...Object.keys(ways), 'killed']) await service.post('/machines', { id, type: 'boom_pump' })
  await Promise.all(Object.entries(ways).map(([id, way]) => way(sender(client, id))))
  for (const id of Object.keys(ways)) await outcome(service, id)

  // killed between receipt and judgement; the machine itself says nothing more
  const send = sender(client, 'killed')
  await send({ ts: now, signals: { hyd_oil_temp_c: 60 } })
  await send(hour)
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
  await service.kill()
  const again = await startService(folder)
  await outcome(again, 'killed')
  for (const id of Object.keys(ways)) await outcome(again, id)

  // a cab that connects now is told what it would have been told before
  const cab = await connectClient(again)
  const told = new Map<string, any>()
  cab.on('message', (topic, payload) => told.set(topic, JSON.parse(payload.toString())))
  await cab.subscribeAsync('machines/+/advice', { qos: 1 })
  const advice = await until(async () => told.get('machines/one-array/advice'))
  expect(advice).toMatchObject({
    machine: 'one-array',
    alarms: [],
    jobs: [{ failureMode: 'CP-05', state: 'ticketed' }],
  })
})

test('fault codes, status and will, and what stands for no value', { timeout: 60_000 }, async () => {
  const service = await startService(await dataFolder())
  const client = await connectClient(service)
  const machine = (id: string) => service.get(`/machines/${id}`)
  const settled = () =>
    until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined)).then(() => undefined)
  await service.post('/machines', { id: 'pump', type: 'boom_pump' })

  // oil pressure counts at once; a sensor circuit has to fail for a minute; what is left out for a minute is over
  const short = { spn: 168, fmi: 4 }
  const faults = (minutesAgo: number, codes: object[]) =>
    publish(client, 'machines/pump/faults', { ts: now - minutesAgo * MINUTE, codes })
  const alarms = async () =>
    (await service.get('/alarms?machine=pump')).items.map(
      ({ failureMode, clearedAt }: any) => `${failureMode} ${clearedAt ? 'over' : 'active'}`,
    )
  await faults(4, [{ spn: 100, fmi: 1, lamp: 'red_stop' }, short])
  expect(await until(async () => ((await alarms()).length > 0 ? await alarms() : undefined))).toEqual(['EN-03 active'])
  await faults(2, [short])
  await until(async () => ((await alarms()).length > 1 ? true : undefined))
  await faults(1, [])
  await faults(0, [])
  const over = ['EN-03 over', 'EN-09 over']
  await until(async () => ((await alarms()).sort().join() === over.join() ? true : undefined)).catch(() => {})
  expect((await alarms()).sort()).toEqual(over)
  expect((await service.get('/tickets?machine=pump')).items).toMatchObject([{ failureMode: 'EN-03', priority: 'P1' }])

  // what J1939 says for "error" and "not available", scaled and raw, is no value; the others of its set are
  const signals = {
    ...{ coolant_temp_c: 215, engine_oil_pressure_kpa: 65_535, hyd_oil_temp_c: 254, engine_hours_h: 214_748_364 },
    ...{ engine_speed_rpm: 8191.875, battery_voltage_v: null, e_stop: true, weather: 3 },
  }
  for (let i = 0; i < 20; i++)
    await publish(client, 'machines/pump/telemetry', { ts: now - 60_000 + i * 3000, signals })
  await settled()
  expect(Object.keys((await service.get('/machines/pump/latest')).signals).sort()).toEqual(['e_stop', 'weather'])
  expect(await alarms()).toHaveLength(2)
  expect(await machine('pump')).toMatchObject({ serviceHours: null })

  // a will says offline; readings say that the machine is back
  const will = {
    topic: 'machines/pump/status',
    payload: Buffer.from('{"online":false}'),
    qos: 1 as const,
    retain: true,
  }
  const cab = await mqtt.connectAsync(service.broker, { reconnectPeriod: 0, will })
  await publish(cab, 'machines/pump/status', { ts: Date.now(), online: true })
  await until(async () => ((await machine('pump')).online ? true : undefined))
  cab.stream.destroy()
  await until(async () => ((await machine('pump')).online ? undefined : true))
  await publish(client, 'machines/pump/telemetry', { ts: Date.now(), signals: { engine_speed_rpm: 700 } })
  await until(async () => ((await machine('pump')).online ? true : undefined))

  // the will of the connection before, and readings right behind it
  await publish(client, 'machines/pump/status', { ts: Date.now(), online: true })
  await settled()
  const words: [string, object][] = [
    ['status', { online: false }],
    ['telemetry', { ts: Date.now(), signals: { engine_speed_rpm: 710 } }],
  ]
  await Promise.all(words.map(([kind, payload]) => publish(client, `machines/pump/${kind}`, payload)))
  await until(async () =>
    (await service.get('/machines/pump/latest')).signals.engine_speed_rpm.value === 710 ? true : undefined,
  )
  expect(await machine('pump')).toMatchObject({ online: true })
})
