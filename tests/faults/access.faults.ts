import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { connectPacket } from '../acquire/mqtt-bytes.ts'
import { dataFolder, publish, type RunningService, startService, until } from '../service/running-service.ts'
import { settledCounts } from '../service/set-counts.ts'

const WRONG = 10_000
const GUESSERS = 200
const GOOD = 20
const CUT_MS = 5_000
/** Somebody who logs in while others guess waits no longer. */
const LOG_IN_MS = 5_000
const PASSWORD = 'brought along from elsewhere'
const START = Date.UTC(2026, 0, 1)

async function logIn(service: RunningService, username: string, password: string, options: IClientOptions = {}) {
  const client = await mqtt.connectAsync(service.broker, { username, password, reconnectPeriod: 0, ...options }, false)
  client.on('error', () => {})
  onTestFinished(() => client.endAsync(true).catch(() => {}))
  return client
}

/** Guesses a password. Resolves when the connection is over, with the return code of the CONNACK; undefined: no answer. */
function guess(port: number, username: string, password: string): Promise<number | undefined> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(connectPacket(username, { username, password })))
    let code: number | undefined
    socket.on('data', (bytes) => {
      code = bytes[3]
    })
    socket.on('error', () => {})
    socket.once('close', () => done(code))
  })
}

async function refusals(service: RunningService): Promise<Record<string, number>> {
  const { body } = await service.request('GET', '/metrics')
  const found = body.matchAll(/^outrigger_refused_total\{reason="(\w+)"\} (\d+)/gm)
  return Object.fromEntries([...found].map(([, reason, count]) => [reason, Number(count)]))
}

test(`${WRONG} wrong passwords from one address: none comes in, they are counted and held back, and others are served from there`, async () => {
  const service = await startService(await dataFolder(), { LOG_LEVEL: 'fatal' })
  const port = Number(new URL(service.broker).port)
  const secrets = new Map<string, string>()
  for (let i = 0; i < GOOD; i++) {
    const { secret } = await service.post('/credentials', { kind: 'machine', id: `good-${i}` })
    secrets.set(`good-${i}`, secret)
  }
  await service.post('/credentials', { kind: 'machine', id: 'issued' })
  await service.post('/credentials', { kind: 'machine', id: 'brought', password: PASSWORD })

  let guessed = 0
  const codes = new Map<number | undefined, number>()
  const guessing = Array.from({ length: GUESSERS }, async () => {
    while (guessed < WRONG) {
      const number = guessed++
      const code = await guess(port, number % 2 ? 'issued' : 'brought', `guess number ${number}`)
      codes.set(code, (codes.get(code) ?? 0) + 1)
    }
  })
  const sent = new Map<string, number>()
  let slowest = 0
  const good = [...secrets].map(async ([id, secret]) => {
    let logIns = 0
    for (let seq = 0; guessed < WRONG; logIns++) {
      const begun = performance.now()
      const client = await logIn(service, id, secret)
      slowest = Math.max(slowest, performance.now() - begun)
      for (let i = 0; i < 20; i++, seq++) {
        await publish(client, `machines/${id}/telemetry`, {
          ts: START + seq * 1_000,
          seq,
          signals: { hyd_oil_temp_c: 50 },
        })
        sent.set(id, seq + 1)
      }
      await client.endAsync()
      await delay(50)
    }
    return logIns
  })
  const logIns = await Promise.all(good)
  await Promise.all(guessing)

  expect(codes.get(0)).toBeUndefined()
  expect(slowest).toBeLessThan(LOG_IN_MS)
  const { wrong_secret: wrong = 0, too_many_attempts: tooMany = 0, busy = 0 } = await refusals(service)
  expect(wrong + tooMany + busy).toBe(WRONG)
  expect(tooMany).toBeGreaterThan(WRONG / 4) // a brought password is looked at only now and then
  const rightNow = await logIn(service, 'good-0', secrets.get('good-0') as string)
  await rightNow.endAsync()
  await until(async () => {
    const tried = await logIn(service, 'brought', PASSWORD).catch(() => undefined) // it has its turn like any other
    return tried ? true : undefined
  }, 30_000)
  const total = [...sent.values()].reduce((sum, count) => sum + count, 0)
  expect(await settledCounts(service)).toMatchObject({ received: total, stored: total, quarantined: 0 })
  console.log(
    `${logIns.reduce((sum, one) => sum + one)} good log-ins meanwhile, the slowest took ${slowest.toFixed(0)} ms`,
  )
})

test("others' topics, wildcards and $SYS are refused, and who is revoked while connected is cut off within 5 s", async () => {
  const service = await startService(await dataFolder(), { LOG_LEVEL: 'fatal' })
  const ids = Array.from({ length: GOOD }, (_, i) => `pump-${i}`)
  const clients = new Map<string, MqttClient>()
  const secrets = new Map<string, string>()
  for (const id of ids) secrets.set(id, (await service.post('/credentials', { kind: 'machine', id })).secret)
  const set = (at: number) => ({ ts: START + at, signals: { hyd_oil_temp_c: 50 } })
  for (const [i, id] of ids.entries()) {
    const spy = await logIn(service, id, secrets.get(id) as string)
    for (const filter of ['#', '$SYS/#', '+/+/advice', 'machines/+/advice', `machines/${ids[(i + 1) % GOOD]}/advice`])
      await expect(spy.subscribeAsync(filter), filter).rejects.toThrow()
    await spy.subscribeAsync(`machines/${id}/advice`)
    const topics = [
      `machines/${ids[(i + 1) % GOOD]}/telemetry`,
      'gateways/g/telemetry',
      `machines/${id}/advice`,
      '$SYS/x',
    ]
    spy.publish(topics[i % topics.length] as string, JSON.stringify(set(0)), { qos: i % 2 ? 1 : 0 })
    await until(async () => (spy.connected ? undefined : true), CUT_MS)
    const client = await logIn(service, id, secrets.get(id) as string)
    await publish(client, `machines/${id}/telemetry`, set(1))
    clients.set(id, client)
  }
  expect((await refusals(service)).not_authorized).toBeGreaterThanOrEqual(GOOD)

  let slowest = 0
  for (const [id, client] of clients) {
    const revoked = service.post(`/credentials/machine/${id}/revoke`)
    const begun = performance.now()
    await until(async () => (client.connected ? undefined : true), CUT_MS)
    slowest = Math.max(slowest, performance.now() - begun)
    await revoked
  }
  console.log(`revoked machines were cut off within ${slowest.toFixed(0)} ms`)
  for (const id of ids) await expect(logIn(service, id, secrets.get(id) as string)).rejects.toThrow()
  expect(await settledCounts(service)).toMatchObject({ received: GOOD, stored: GOOD, quarantined: 0 })
})
