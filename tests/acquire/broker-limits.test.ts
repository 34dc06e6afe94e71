import { once } from 'node:events'
import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import type { Access, IdentityLimits } from '../../src/acquire/access.ts'
import type { EmbeddedBrokerOptions } from '../../src/acquire/embedded-broker.ts'
import { client, closed, embeddedBroker, rawSocket, until } from './broker-case.ts'
import { brokerDefaults } from './broker-defaults.ts'
import { connectPacket, packet, publishHead, publishPacket } from './mqtt-bytes.ts'

const topic = 'machines/pump-1/telemetry'

function withLimits(limits: Partial<EmbeddedBrokerOptions['limits']>) {
  return embeddedBroker({ limits: { ...brokerDefaults().limits, ...limits } })
}

/** Everybody is the machine of their user name, within these limits. */
function limited(limits: Partial<IdentityLimits>): Access {
  const none = { connections: undefined, messagesPerSecond: undefined, packetBytes: undefined }
  return {
    identify: ({ username = '' }) => ({
      kind: 'machine',
      id: username,
      limits: { ...none, ...limits },
      mayPublish: () => true,
      maySubscribe: () => true,
    }),
    onChange() {},
  }
}

/** A client on a bare socket that is connected, and what it was answered since. */
async function bareClient(port: number, clientId: string, keepAliveSeconds = 0) {
  const socket = await rawSocket(port)
  socket.write(connectPacket(clientId, { username: clientId, keepAliveSeconds }))
  await once(socket, 'data')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  const answered = () => Buffer.concat(chunks)
  return Object.assign(socket, { answered, acknowledged: () => answered().length / 4 })
}

/** Its connection ends without an answer. */
async function turnedAway(port: number): Promise<void> {
  const socket = await rawSocket(port)
  socket.write(connectPacket('one too many'))
  socket.on('data', (bytes) => expect.fail(`it was answered: ${bytes.toString('hex')}`))
  await once(socket, 'close')
}

const isOpen = (socket: Socket) => !socket.destroyed && socket.writable

test('beyond the number of connections nobody comes in; when one has left, the next does', async () => {
  const broker = await withLimits({ connections: 2 })
  const first = await client(broker)
  await client(broker)
  await turnedAway(broker.port)
  await until(() => broker.counts().refused.too_many_connections === 1)
  await first.endAsync()
  await until(() => broker.counts().connections === 1)
  await client(broker)
})

test('whoever only holds connections open keeps nobody out', async () => {
  const broker = await withLimits({ connections: 3 })
  await Promise.all([rawSocket(broker.port), rawSocket(broker.port), rawSocket(broker.port)])
  const machines = [await client(broker), await client(broker)]
  for (const machine of machines) await machine.publishAsync(topic, 'x', { qos: 1 })
  await until(() => broker.counts().refused.too_many_connections === 2)
  expect(broker.counts().connections).toBe(2)
})

test('an address may have so many connections, where that is set', async () => {
  const broker = await withLimits({ addressConnections: 1 })
  await client(broker)
  await turnedAway(broker.port)
  expect(broker.counts().refused.too_many_connections).toBe(1)
})

test('of a machine with more connections than it may have, the oldest ends', async () => {
  const broker = await embeddedBroker({ access: limited({ connections: 2 }) })
  const [first, second] = [await client(broker, { username: 'pump-1' }), await client(broker, { username: 'pump-1' })]
  const ended = closed(first)
  const third = await client(broker, { username: 'pump-1' })
  const other = await client(broker, { username: 'pump-2' })
  await ended
  for (const machine of [second, third, other]) await machine.publishAsync(topic, 'x', { qos: 1 })
  const reasons = broker.connectionsOf('pump-1').map(({ reason }) => reason)
  expect(reasons.filter((reason) => reason !== undefined)).toEqual(['too_many_connections'])
})

for (const qos of [1, 2] as const) {
  test(`what a machine sends too fast at QoS ${qos} is acknowledged later, all of it and in order; others do not wait`, async () => {
    const broker = await embeddedBroker({ access: limited({ messagesPerSecond: 100 }) })
    const [one, two] = [await client(broker, { username: 'pump-1' }), await client(broker, { username: 'pump-1' })]
    const begun = performance.now()
    const flooding = Promise.all(
      Array.from({ length: 100 }, (_, i) => (i % 2 ? one : two).publishAsync(topic, String(i), { qos })),
    )
    const other = await client(broker, { username: 'pump-2' })
    await other.publishAsync('machines/pump-2/telemetry', 'x', { qos: 1 })
    expect(broker.arrivals.length).toBeLessThan(100)
    await flooding
    expect(performance.now() - begun).toBeGreaterThan(800) // 100 messages of one identity at 100 a second
    expect(broker.arrivals).toHaveLength(101)
    const odd = broker.arrivals.map(({ payload }) => Number(payload)).filter((number) => number % 2 === 1)
    expect(odd).toEqual(Array.from({ length: 50 }, (_, i) => 2 * i + 1))
    expect(broker.counts().refused.rate_limited).toBeGreaterThan(0)
    expect(broker.connectionsOf('pump-1').filter(({ event }) => event === 'held_back').length).toBeGreaterThan(0)
    expect(broker.connectionsOf('pump-2').map(({ event }) => event)).toEqual(['connected'])
  })
}

test('clients without a client id are not one machine', async () => {
  const broker = await withLimits({ machineConnections: 1 })
  const machines = [await client(broker, { clientId: '' }), await client(broker, { clientId: '' })]
  for (const machine of machines) await machine.publishAsync(topic, 'x', { qos: 1 })
  expect(broker.arrivals).toHaveLength(2)
})

test('a machine may be allowed smaller packets than others', async () => {
  const broker = await embeddedBroker({ access: limited({ packetBytes: 1_000 }) })
  const machine = await client(broker, { username: 'pump-1' })
  await machine.publishAsync(topic, Buffer.alloc(900), { qos: 1 })
  const ended = closed(machine)
  machine.publish(topic, Buffer.alloc(1_100), { qos: 1 })
  await ended
  expect(broker.arrivals).toHaveLength(1)
  expect(broker.counts().refused.packet_too_large).toBe(1)
})

test('who does not log in is cut off in time', async () => {
  const broker = await embeddedBroker({ connectTimeoutMs: 100 })
  const silent = await rawSocket(broker.port)
  const slow = await rawSocket(broker.port)
  slow.write(connectPacket('slow').subarray(0, 10))
  await Promise.all([once(silent, 'close'), once(slow, 'close')])
  expect(broker.arrivals).toEqual([])
})

test('a client that is silent for longer than it promised is cut off; messages are signs of life', async () => {
  const broker = await embeddedBroker()
  const silent = await bareClient(broker.port, 'silent', 1)
  const sending = await bareClient(broker.port, 'sending', 1)
  const timer = setInterval(() => sending.write(publishPacket(topic, 'x')), 300)
  await once(silent, 'close')
  await new Promise((done) => setTimeout(done, 1_200))
  expect(isOpen(sending)).toBe(true)
  clearInterval(timer)
  await once(sending, 'close')
  expect(broker.connectionsOf('silent').at(-1)).toMatchObject({ event: 'disconnected', reason: 'keep_alive' })
})

test('while nothing becomes durable, a connection is read only so far, and goes on by itself', async () => {
  let durable = () => {}
  const disk = new Promise<void>((done) => {
    durable = done
  })
  const broker = await embeddedBroker({ accept: () => disk })
  const machine = await bareClient(broker.port, 'pump-1', 1)
  const payload = Buffer.alloc(10_000)
  for (let id = 1; id <= 2_000; id++) machine.write(publishPacket(topic, payload, { id }))
  await until(() => broker.arrivals.length > 10)
  await new Promise((done) => setTimeout(done, 2_500)) // longer than its keep-alive: who is not read is not silent
  expect(broker.arrivals.length * payload.length).toBeLessThan(400_000)
  expect(machine.acknowledged()).toBe(0)
  durable()
  await until(() => machine.acknowledged() === 2_000)
  expect(broker.arrivals).toHaveLength(2_000)
})

test('when the spool is full no message is taken, clients are answered all the same, and all goes on when it has room', async () => {
  let full = true
  let onRoom = () => {}
  const broker = await embeddedBroker({
    full: () => full,
    onRoom: (listener) => {
      onRoom = listener
    },
  })
  const machines = await Promise.all([1, 2, 3].map((number) => bareClient(broker.port, `pump-${number}`, 1)))
  for (const machine of machines) {
    machine.write(Buffer.concat([packet(0xc0, Buffer.alloc(0)), publishPacket(topic, 'x', { id: 7 })]))
    await until(() => machine.answered().equals(Buffer.from([0xd0, 0]))) // PINGRESP, no PUBACK
  }
  const late = await client(broker)
  await late.subscribeAsync('machines/pump-1/advice')
  await new Promise((done) => setTimeout(done, 2_500)) // longer than their keep-alive
  expect(broker.arrivals).toEqual([])
  expect(broker.counts()).toMatchObject({ connections: 4, refused: {} })
  full = false
  onRoom()
  for (const machine of machines) await until(() => machine.answered().equals(Buffer.from([0xd0, 0, 0x40, 2, 0, 7])))
  expect(broker.arrivals).toHaveLength(3)
})

test('what many connections have sent in vain does not fill the memory, and is taken when there is room', async () => {
  let full = true
  let onRoom = () => {}
  const broker = await embeddedBroker({
    full: () => full,
    onRoom: (listener) => {
      onRoom = listener
    },
  })
  const messages = Array.from({ length: 10 }, (_, i) => publishPacket(topic, Buffer.alloc(100_000), { id: i + 1 }))
  const machines = await Promise.all(Array.from({ length: 200 }, (_, i) => bareClient(broker.port, `pump-${i}`)))
  const before = process.memoryUsage().arrayBuffers
  for (const machine of machines) machine.write(Buffer.concat(messages))
  await new Promise((done) => setTimeout(done, 1_000))
  const sent = machines.length * 1_000_000
  expect(process.memoryUsage().arrayBuffers - before - sent).toBeLessThan(100 << 20) // beside what the senders hold
  full = false
  onRoom()
  await until(() => machines.every((machine) => machine.acknowledged() === 10))
}, 60_000)

test('a client that sends and never reads its acknowledgements is cut off', async () => {
  const broker = await embeddedBroker()
  const deaf = await rawSocket(broker.port)
  deaf.write(connectPacket('deaf'))
  await once(deaf, 'data')
  deaf.pause()
  const message = Buffer.concat(Array.from({ length: 5_000 }, (_, i) => publishPacket(topic, '', { id: i + 1 })))
  const sending = setInterval(() => {
    if (!deaf.writableNeedDrain) deaf.write(message)
  }, 1)
  await until(() => broker.connectionsOf('deaf').length > 1)
  clearInterval(sending)
  expect(broker.connectionsOf('deaf').at(-1)).toMatchObject({ event: 'disconnected', reason: 'not_reading' })
}, 60_000)

test('large packets take their turn; none is lost, and small ones pass by', async () => {
  const broker = await embeddedBroker()
  const senders = await Promise.all(Array.from({ length: 12 }, (_, i) => bareClient(broker.port, `large-${i}`)))
  const size = 15 << 20 // together more than is gathered at once
  const payload = Buffer.alloc(size, 0x20)
  for (const sender of senders) {
    sender.write(publishHead(topic, size))
    sender.write(payload)
  }
  const small = await client(broker)
  for (let i = 0; i < 50; i++) await small.publishAsync(topic, 'small', { qos: 1 })
  await until(() => senders.every((sender) => sender.acknowledged() === 1))
  expect(broker.arrivals.filter((arrival) => arrival.payload.length === size)).toHaveLength(12)
}, 60_000)

test('whoever announces a large packet and sends nothing does not keep others from sending theirs', async () => {
  const broker = await embeddedBroker()
  const size = 15 << 20
  const announcing = await Promise.all(Array.from({ length: 9 }, (_, i) => bareClient(broker.port, `idle-${i}`)))
  for (const sender of announcing) sender.write(publishHead(topic, size))
  const sender = await bareClient(broker.port, 'honest')
  sender.write(publishHead(topic, size))
  sender.write(Buffer.alloc(size))
  await until(() => sender.acknowledged() === 1)
  expect(broker.connectionsOf('idle-0').at(-1)).toMatchObject({ event: 'disconnected', reason: 'too_slow' })
}, 60_000)
