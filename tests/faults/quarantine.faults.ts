import { setTimeout as delay } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { dataFolder, publish, type RunningService, startService, until } from '../service/running-service.ts'

const BUDGET = 4 << 20
const IN_FLIGHT = 500
const start = Date.now() - 3_600_000

/** Publishes rubbish as fast as it is acknowledged. @returns how many were acknowledged, once all are sent or the connection is lost */
async function flood(broker: string, machine: string, messages: number): Promise<number> {
  const client = await mqtt.connectAsync(broker, { reconnectPeriod: 0 })
  let sent = 0
  let acknowledged = 0
  let lost = false
  await new Promise<void>((resolve) => {
    const next = () => {
      if (lost) return
      if (acknowledged === messages) resolve()
      if (sent === messages) return
      client.publish(`machines/${machine}/telemetry`, `rubbish ${sent++}`, { qos: 1 }, (error) => {
        if (!error) acknowledged++
        next()
      })
    }
    client.on('close', () => {
      lost = true
      resolve()
    })
    for (let i = 0; i < IN_FLIGHT; i++) next()
  })
  client.end(true)
  return acknowledged
}

/** Entries of a machine in quarantine, those that were given up included. */
async function quarantined(service: RunningService, type: string): Promise<number> {
  const { items } = await service.get('/quarantine/groups')
  return items
    .filter((group: { type: string | null }) => group.type === type)
    .reduce((sum: number, { entries, merged }: { entries: number; merged: number }) => sum + entries + merged, 0)
}

const settled = (service: RunningService) =>
  until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined), 60_000)

async function sendGood(client: MqttClient, sets: number): Promise<void> {
  for (let i = 0; i < sets; i++) {
    await publish(client, 'machines/good/telemetry', { ts: start + i * 1_000, signals: { hyd_oil_temp_c: 60 } })
    await delay(20)
  }
}

test('a flood of rubbish stays within its budget, is counted to the last message, and harms nobody else', async () => {
  const service = await startService(await dataFolder(), { OUTRIGGER_QUARANTINE_BYTES: String(BUDGET) })
  await service.post('/machines', { id: 'flood', type: 'boom_pump' })
  await service.post('/machines', { id: 'odd', type: 'tower_crane' })
  const client = await mqtt.connectAsync(service.broker, { reconnectPeriod: 0 })
  for (let i = 0; i < 10; i++) await publish(client, 'machines/odd/telemetry', `odd ${i}`)
  const [acknowledged] = await Promise.all([flood(service.broker, 'flood', 150_000), sendGood(client, 200)])
  await client.endAsync()
  await settled(service)
  expect(acknowledged).toBe(150_000)
  expect(await quarantined(service, 'boom_pump')).toBe(150_000)
  expect(await service.metric('reading_sets_total{outcome="quarantined"}')).toBe(150_010)
  expect(await service.metric('quarantine_bytes')).toBeLessThanOrEqual(BUDGET)
  const odd = (await service.get('/quarantine?device=odd')).items
  expect(odd.filter(({ bytesDroppedAt }: { bytesDroppedAt: string | null }) => bytesDroppedAt === null)).toHaveLength(
    10,
  )
  expect((await service.get('/machines/good/readings?signal=hyd_oil_temp_c')).points).toHaveLength(200)
})

test('killed five times in a flood and in a replay, the quarantine has every acknowledged entry', async () => {
  const folder = await dataFolder()
  const settings = { OUTRIGGER_QUARANTINE_BYTES: String(BUDGET), LOG_LEVEL: 'fatal' }
  let service = await startService(folder, settings)
  await service.post('/machines', { id: 'flood', type: 'boom_pump' })
  let acknowledged = 0
  for (const ms of [700, 1_500, 2_300]) {
    const flooding = flood(service.broker, 'flood', 1_000_000)
    await delay(ms)
    await service.kill()
    acknowledged += await flooding
    service = await startService(folder, settings)
    await settled(service)
    const found = await quarantined(service, 'boom_pump')
    expect(found).toBeGreaterThanOrEqual(acknowledged)
    acknowledged = found // what was durable and not acknowledged any more
  }

  const { id } = await service.post('/quarantine/replay', { filter: { device: 'flood' } })
  for (const ms of [300, 600]) {
    await delay(ms)
    await service.kill()
    service = await startService(folder, settings)
  }
  const bulk = await until(async () => {
    const found = await service.get(`/quarantine/bulk/${id}`)
    return found.state === 'done' ? found : undefined
  }, 120_000)
  await settled(service)
  // what is replayed is rubbish again: the old entries are decided, or were given up, and as many are new
  expect(bulk.decided).toBeGreaterThan(0)
  expect(await quarantined(service, 'boom_pump')).toBeGreaterThanOrEqual(acknowledged)
})
