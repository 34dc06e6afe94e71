import { once } from 'node:events'
import { connectAsync } from 'mqtt'
import { expect, test } from 'vitest'
import type { KnownIdentity } from '../../src/acquire/access-book.ts'
import { secretVerifier } from '../../src/acquire/access-secret.ts'
import { client, closed, embeddedBroker, rawSocket, type TestBroker, until } from './broker-case.ts'
import { accessBook, accessKey } from './broker-defaults.ts'
import { connectPacket, publishPacket } from './mqtt-bytes.ts'

function identity(id: string, facts: Partial<KnownIdentity> = {}): KnownIdentity {
  return {
    kind: 'machine',
    id,
    verifier: secretVerifier(accessKey, id, `secret of ${id}`),
    revoked: false,
    limits: { connections: undefined, messagesPerSecond: undefined, packetBytes: undefined },
    machines: [],
    ...facts,
  }
}

/** A broker that knows the machines pump-1 and pump-2 and the bridge hub-1, which speaks for both. */
async function guardedBroker() {
  const access = accessBook()
  const identities = [
    identity('pump-1'),
    identity('pump-2'),
    identity('hub-1', { kind: 'bridge', machines: ['pump-1', 'pump-2'] }),
  ]
  access.takeOver({ identities, registered: [] })
  return Object.assign(await embeddedBroker({ access }), { access })
}

const as = (id: string) => ({ username: id, password: `secret of ${id}` })
const reasons = (broker: TestBroker, id: string) =>
  broker.connectionsOf(id).map(({ event, reason }) => (reason ? `${event} ${reason}` : event))

test('a machine publishes under its own name; under another one its connection ends, and nothing arrives', async () => {
  const broker = await guardedBroker()
  for (const qos of [0, 1, 2] as const) {
    const machine = await client(broker, as('pump-1'))
    await machine.publishAsync('machines/pump-1/telemetry', `own ${qos}`, { qos })
    const ended = closed(machine)
    machine.publish('machines/pump-2/telemetry', 'not mine', { qos })
    await ended
  }
  await until(() => broker.arrivals.length === 3)
  expect(broker.arrivals.map(({ payload }) => payload.toString())).toEqual(['own 0', 'own 1', 'own 2'])
  expect(broker.counts().refused).toEqual({ not_authorized: 3 })
  await until(() => reasons(broker, 'pump-1').length === 6)
  expect(reasons(broker, 'pump-1').slice(0, 2)).toEqual(['connected', 'disconnected not_authorized'])
  expect(broker.connectionsOf('pump-1')[1]?.detail).toContain('machines/pump-2/telemetry')
})

test('a bridge publishes for the machines that are assigned to it, and for no other', async () => {
  const broker = await guardedBroker()
  const bridge = await client(broker, as('hub-1'))
  for (const machine of ['pump-1', 'pump-2'])
    await bridge.publishAsync(`machines/${machine}/telemetry`, machine, { qos: 1 })
  const ended = closed(bridge)
  bridge.publish('machines/pump-3/telemetry', 'x', { qos: 1 })
  await ended
  expect(broker.arrivals).toHaveLength(2)
})

test('a machine hears its own advice; every other filter is refused, the connection goes on', async () => {
  const broker = await guardedBroker()
  const machine = await client(broker, as('pump-1'))
  const heard: string[] = []
  machine.on('message', (_topic, payload) => heard.push(payload.toString()))
  const others = ['#', '+/+/advice', 'machines/+/advice', 'machines/pump-2/advice', 'machines/pump-1/#', '$SYS/#']
  for (const filter of others) await expect(machine.subscribeAsync(filter)).rejects.toThrow()
  await machine.subscribeAsync('machines/pump-1/advice', { qos: 1 })
  await broker.publish('machines/pump-2/advice', 'for another', { retain: true })
  await broker.publish('machines/pump-1/advice', 'for me', { retain: true })
  await until(() => heard.length > 0)
  expect(heard).toEqual(['for me'])
  expect(broker.counts().refused.not_authorized).toBe(others.length)
  expect(broker.connectionsOf('pump-1').map(({ detail }) => detail)).toEqual([undefined, ...others])
})

test('a will under another name is refused when the client connects', async () => {
  const broker = await guardedBroker()
  const will = {
    topic: 'machines/pump-2/status',
    payload: Buffer.from('{"online":false}'),
    qos: 1 as const,
    retain: true,
  }
  const refused = connectAsync(broker.address, { reconnectPeriod: 0, ...as('pump-1'), will })
  await expect(refused).rejects.toMatchObject({ code: 5 })
  expect(broker.arrivals).toEqual([])
})

test('two machines may use one client id; the same machine with the same client id takes its place over', async () => {
  const broker = await guardedBroker()
  const first = await client(broker, { ...as('pump-1'), clientId: 'modem' })
  const other = await client(broker, { ...as('pump-2'), clientId: 'modem' })
  const ended = closed(first)
  const second = await client(broker, { ...as('pump-1'), clientId: 'modem' })
  await ended
  await second.publishAsync('machines/pump-1/telemetry', '1', { qos: 1 })
  await other.publishAsync('machines/pump-2/telemetry', '2', { qos: 1 })
  expect(reasons(broker, 'pump-1')).toEqual(['connected', 'disconnected taken_over', 'connected'])
  expect(reasons(broker, 'pump-2')).toEqual(['connected'])
})

test('a lasting session of one machine is not another one’s', async () => {
  const broker = await guardedBroker()
  const mine = await client(broker, { ...as('pump-1'), clientId: 'modem', clean: false })
  await mine.subscribeAsync('machines/pump-1/advice', { qos: 1 })
  await mine.endAsync()
  await broker.publish('machines/pump-1/advice', 'secret', { retain: false })
  const other = await client(broker, { ...as('pump-2'), clientId: 'modem', clean: false })
  const heard: string[] = []
  other.on('message', (_topic, payload) => heard.push(payload.toString()))
  await other.subscribeAsync('machines/pump-2/advice', { qos: 1 })
  await broker.publish('machines/pump-2/advice', 'mine', { retain: false })
  await until(() => heard.length > 0)
  expect(heard).toEqual(['mine'])
})

test('who is revoked while connected is cut off, and does not come in again', async () => {
  const broker = await guardedBroker()
  const machine = await client(broker, as('pump-1'))
  const other = await client(broker, as('pump-2'))
  const ended = closed(machine)
  broker.access.takeOver({ identities: [identity('pump-1', { revoked: true })], registered: [] })
  await ended
  expect(other.connected).toBe(true)
  await expect(connectAsync(broker.address, { reconnectPeriod: 0, ...as('pump-1') })).rejects.toMatchObject({ code: 5 })
  expect(reasons(broker, 'pump-1')).toEqual(['connected', 'disconnected changed', 'login_refused revoked'])
})

test('when the first credentials are issued, whoever came in without any is cut off', async () => {
  const access = accessBook()
  const broker = await embeddedBroker({ access })
  const anyone = await client(broker)
  const ended = closed(anyone)
  access.takeOver({ identities: [identity('pump-1')], registered: [] })
  await ended
  await expect(connectAsync(broker.address, { reconnectPeriod: 0 })).rejects.toMatchObject({ code: 5 })
})

test('thousands of wrong passwords take nothing from good log-ins', async () => {
  const broker = await guardedBroker()
  const attempts = 2_000
  const attempt = Buffer.from(connectPacket('guesser', { username: 'pump-1', password: 'guess' }))
  const guessing = (async () => {
    for (let sent = 0; sent < attempts; sent += 100) {
      const sockets = await Promise.all(Array.from({ length: 100 }, () => rawSocket(broker.port)))
      for (const socket of sockets) socket.write(attempt)
      await new Promise((done) => setTimeout(done, 10))
    }
  })()
  let good = 0
  const begun = performance.now()
  while (good < 20) {
    const machine = await client(broker, { ...as('pump-1'), clientId: `good-${good}` })
    await machine.publishAsync('machines/pump-1/telemetry', 'x', { qos: 1 })
    await machine.endAsync()
    good++
  }
  // a refusal alone takes half a second: none of these waited behind one
  expect((performance.now() - begun) / good).toBeLessThan(500)
  await guessing
  const counted = () => {
    const { wrong_secret: wrong = 0, too_many_attempts: tooMany = 0 } = broker.counts().refused
    return { wrong, tooMany }
  }
  await until(() => counted().wrong + counted().tooMany === attempts)
  expect(counted().wrong).toBeGreaterThan(0)
  expect(counted().tooMany).toBeGreaterThan(0)
  expect(broker.counts().refused).not.toHaveProperty('protocol')
  expect(broker.connectionsOf('guesser')).toHaveLength(20)
})

test('nothing may come before a log-in, however it is sent', async () => {
  const broker = await guardedBroker()
  const socket = await rawSocket(broker.port)
  socket.resume()
  const publish = publishPacket('machines/pump-1/telemetry', 'x', { id: 1 })
  socket.write(Buffer.concat([connectPacket('c', { username: 'pump-1', password: 'wrong' }), publish]))
  await once(socket, 'close')
  expect(broker.arrivals).toEqual([])
})
