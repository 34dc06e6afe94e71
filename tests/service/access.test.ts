import { once } from 'node:events'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { dataFolder, publish, type RunningService, spawnService, startService, until } from './running-service.ts'

const token = '0123456789abcdef'
const set = { ts: Date.now() - 1_000, signals: { hyd_oil_temp_c: 63.5 } }

async function connect(service: RunningService, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(service.broker, { reconnectPeriod: 0, ...options }, false)
  client.on('error', () => {})
  onTestFinished(() => client.endAsync(true).catch(() => {}))
  return client
}

const isCut = (client: MqttClient) => until(async () => (client.connected ? undefined : true), 5_000)

test('from the first credentials on everybody logs in, for their own; who is revoked is cut off, also after a kill', async () => {
  const folder = await dataFolder()
  let service = await startService(folder)
  const anyone = await connect(service)
  await publish(anyone, 'machines/pump-1/telemetry', set)

  const issue = (body: object) => service.post('/credentials', body)
  const { secret } = await issue({ kind: 'machine', id: 'pump-1' })
  await isCut(anyone)
  await expect(connect(service)).rejects.toThrow()
  await expect(connect(service, { username: 'pump-1', password: 'guessed' })).rejects.toThrow()

  const own = { username: 'pump-1', password: secret }
  const machine = await connect(service, own)
  await publish(machine, 'machines/pump-1/telemetry', { ...set, ts: set.ts + 1 })
  const granted = await machine.subscribeAsync(['machines/pump-1/advice'])
  expect(granted).toMatchObject([{ qos: 0 }])
  for (const filter of ['machines/pump-2/advice', '#', '$SYS/#', 'machines/+/advice'])
    await expect(machine.subscribeAsync(filter)).rejects.toThrow()
  machine.publish('machines/pump-2/telemetry', JSON.stringify(set), { qos: 1 })
  await isCut(machine)

  const bridge = await issue({ kind: 'bridge', id: 'site-4', machines: ['crane-1'] })
  const site = await connect(service, { username: 'site-4', password: bridge.secret })
  await publish(site, 'machines/crane-1/telemetry', set)

  await service.kill()
  service = await startService(folder)
  const again = await connect(service, own)
  await publish(again, 'machines/pump-1/telemetry', { ...set, ts: set.ts + 2 })
  const started = performance.now()
  await service.post('/credentials/machine/pump-1/revoke')
  await isCut(again)
  expect(performance.now() - started).toBeLessThan(5_000)
  await expect(connect(service, own)).rejects.toThrow()
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
  const machines = (await service.get('/machines')).items.map(({ id }: { id: string }) => id)
  expect(machines).toEqual(['crane-1', 'pump-1'])
})

test('beyond loopback the broker does not listen before somebody has credentials, and HTTP takes them alone', async () => {
  const folder = await dataFolder()
  const everywhere = { MQTT_HOST: '0.0.0.0' }
  const refused = spawnService(folder, everywhere)
  let said = ''
  refused.stderr?.on('data', (chunk) => (said += chunk))
  const [code] = await once(refused, 'exit')
  expect([code, said]).toEqual([1, expect.stringContaining('MQTT_HOST is 0.0.0.0')])

  const local = await startService(folder, { OUTRIGGER_API_TOKEN: token })
  const basic = (id: string, secret: string) => ({
    authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
  })
  const ingest = (headers: Record<string, string>) => local.request('POST', '/api/v1/ingest/pump-1', set, headers)
  expect((await ingest(basic('any', 'thing'))).status).toBe(401) // although the broker lets anybody in
  const draft = { kind: 'machine', id: 'pump-1' }
  const issued = await local.request('POST', '/api/v1/credentials', draft, { authorization: `Bearer ${token}` })
  expect(await ingest(basic('pump-1', issued.body.secret))).toMatchObject({ status: 202 })
  expect((await ingest(basic('pump-1', 'guessed'))).status).toBe(401)
  await local.stop()
  const open = await startService(folder, everywhere)
  expect(await open.stop()).toBe(0)
}, 60_000)
