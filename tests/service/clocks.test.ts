import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { projectRoot } from '../../src/root.ts'
import { connectClient, dataFolder, publish, type RunningService, startService, until } from './running-service.ts'

const MINUTE = 60_000
const HOUR = 3_600_000
const TEN_MINUTES = 600_000

/** A service whose clock can be put while it runs. */
async function startSkewed(folder: string, skewMs: number) {
  const file = `${folder}.skew`
  const put = (ms: number) => writeFileSync(file, String(ms))
  put(skewMs)
  const skewed = join(projectRoot, 'tests', 'service', 'skewed-clock.mjs')
  const service = await startService(folder, { NODE_OPTIONS: `--import "${skewed}"`, SKEW_FILE: file })
  return { service, put }
}

const noteOf = async (service: RunningService): Promise<string | undefined> => {
  const { body } = await service.request('GET', '/readyz')
  expect(body.ready).toBe(true)
  return body.parts.find(({ part }: { part: string }) => part === 'clock')?.note
}

test('a machine on local time is found, named, mended and put in again, and so is one without a clock', async () => {
  const service = await startService(await dataFolder())
  const client = await connectClient(service)
  const at = Math.floor(Date.now() / 1000) * 1000 - 10_000
  const times = Array.from({ length: 5 }, (_, i) => at + i * 1000)
  const local = (time: number) => new Date(time + 8 * HOUR).toISOString()
  for (const [i, time] of times.entries()) {
    const signals = { hyd_oil_temp_c: 50 + i }
    await publish(client, 'machines/local/telemetry', { ts: local(time), seq: i * 2, signals })
    await publish(client, 'machines/zoneless/telemetry', { ts: local(time).replace('Z', ''), signals })
    await publish(client, 'machines/timeless/telemetry', { signals })
    await publish(client, 'machines/sound/telemetry', { ts: time, seq: i * 2, signals })
  }
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
  const { items } = await service.get('/clocks')
  expect(items).toMatchObject([
    { device: 'local', state: 'ahead', readings: { refused: 5 } },
    { device: 'sound', state: 'right', readings: { refused: 0 } },
  ])
  expect(await service.get('/machines/sound/sequence')).toMatchObject({ highest: 8, skipped: 4 })

  const put = (device: string, policy: object) =>
    service.request('PUT', `/api/v1/devices/${device}/clock`, { policy, user: 'li.wei', reason: 'asked the maker' })
  const shanghai = { kind: 'zone', zone: 'Asia/Shanghai' }
  expect((await put('local', shanghai)).status).toBe(200)
  expect((await put('zoneless', shanghai)).status).toBe(200)
  expect((await put('timeless', { kind: 'no_clock' })).status).toBe(200)
  const quarantine = await service.get('/quarantine?limit=100')
  expect(quarantine.items).toHaveLength(15)
  for (const { id } of quarantine.items) await service.post(`/quarantine/${id}/replay`)
  await until(async () => ((await service.metric('reading_sets_total{outcome="stored"}')) === 20 ? true : undefined))

  const pointsOf = async (machine: string, signal = 'hyd_oil_temp_c'): Promise<[number, number][]> => {
    const query = `signal=${signal}&from=${at - HOUR}&to=${Date.now() + 24 * HOUR}`
    return (await service.get(`/machines/${machine}/readings?${query}`)).points
  }
  const wanted = times.map((time, i) => [time, 50 + i])
  expect(await pointsOf('local')).toEqual(wanted)
  expect(await pointsOf('zoneless')).toEqual(wanted)
  const arrived = await pointsOf('timeless')
  expect(arrived.map(([, value]) => value)).toEqual([50, 51, 52, 53, 54])
  expect(await pointsOf('timeless', 'time_is_arrival')).toEqual(arrived.map(([time]) => [time, 1]))
  expect(await service.metric('reading_sets_total{outcome="quarantined"}')).toBe(15)
  expect(await service.metric('reading_sets_received_total')).toBe(35)
  expect(await service.stop()).toBe(0)
})

test('of two values under one time, the one that arrived last wins, over whatever connections they came', async () => {
  const service = await startService(await dataFolder())
  const clients = await Promise.all([0, 1, 2].map(() => connectClient(service)))
  const at = Math.floor(Date.now() / 1000) * 1000 - HOUR
  const rounds = 60
  let last = 0
  for (let i = 0; i < rounds; i++) {
    last = i % 90
    const set = { ts: at, seq: i, signals: { hyd_oil_temp_c: last } }
    const later = { ts: at + 1000 + i, signals: { hyd_oil_temp_c: last } } // makes what has the old time late
    if (i % 3 === 2)
      await publish(clients[2] as never, 'gateways/g-1/telemetry', [
        { machine: 'm', ...later },
        { machine: 'm', ...set },
      ])
    else await publish(clients[i % 3] as never, 'machines/m/telemetry', [set, later, set])
  }
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
  const query = `signal=hyd_oil_temp_c&from=${at}&to=${at + 1}`
  expect((await service.get(`/machines/m/readings?${query}`)).points).toEqual([[at, last]])
  expect(await service.metric('reading_conflicts_total')).toBe(rounds - 1)
  expect(await service.stop()).toBe(0)
})

test('a host that is put back by ten minutes refuses nothing of a machine that is right, also over a restart', async () => {
  const folder = await dataFolder()
  const { service, put } = await startSkewed(folder, 0)
  const client = await connectClient(service)
  let sent = 0
  const live = async (count: number, to = client) => {
    for (let i = 0; i < count; i++) {
      await publish(to, 'machines/lone/telemetry', { ts: Date.now(), seq: sent++, signals: { hyd_oil_temp_c: 50 } })
      await delay(20)
    }
  }
  await live(20)
  put(-TEN_MINUTES)
  await delay(500)
  await live(20)
  await until(async () => ((await noteOf(service))?.includes('put back by 10 min') ? true : undefined))
  const seenAt = Date.parse((await service.get('/machines/lone')).lastSeenAt)
  expect(Math.abs(seenAt - Date.now())).toBeLessThan(MINUTE)
  await delay(6_000) // the devices are asked every five seconds
  await live(20)
  expect(await noteOf(service)).toContain('put back')
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
  expect(await service.metric('reading_sets_total{outcome="stored"}')).toBe(60)
  await service.kill()

  const { service: again, put: putAgain } = await startSkewed(folder, -TEN_MINUTES)
  await live(20, await connectClient(again))
  await until(async () => ((await again.metric('reading_sets_waiting')) === 0 ? true : undefined))
  expect(await again.metric('reading_sets_total{outcome="quarantined"}')).toBe(0)
  expect(await noteOf(again)).toContain('put back')
  putAgain(0)
  await until(async () => ((await noteOf(again)) === undefined ? true : undefined))
  expect(await again.stop()).toBe(0)
}, 90_000)

test('a host that is ten minutes behind from the beginning is told by the fleet, which is not refused for it', async () => {
  const { service } = await startSkewed(await dataFolder(), -TEN_MINUTES)
  const client = await connectClient(service)
  const machines = Array.from({ length: 8 }, (_, i) => `m-${i}`)
  for (let round = 0; round < 10; round++) {
    for (const machine of machines)
      await publish(client, `machines/${machine}/telemetry`, { ts: Date.now(), signals: { hyd_oil_temp_c: 50 } })
  }
  const warning = await until(() => noteOf(service))
  expect(warning).toContain("host's clock is 600 s behind")
  expect(Math.round((await service.metric('host_clock_offset_seconds')) / 10)).toBe(-60)
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
  expect(await service.metric('reading_sets_total{outcome="quarantined"}')).toBeLessThanOrEqual(2)
  expect(await service.stop()).toBe(0)
}, 90_000)
