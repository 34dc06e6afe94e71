import { once } from 'node:events'
import { connectAsync } from 'mqtt'
import { expect, test } from 'vitest'
import { MqttPortTaken } from '../../src/acquire/embedded-broker.ts'
import { client, embeddedBroker, rawSocket, until } from './broker-case.ts'
import { accessBook } from './broker-defaults.ts'
import { connectPacket, publishHead } from './mqtt-bytes.ts'

const topic = 'machines/pump-1/telemetry'

for (const qos of [0, 1, 2] as const) {
  test(`a message at QoS ${qos} arrives whole`, async () => {
    const broker = await embeddedBroker()
    const machine = await client(broker)
    await machine.publishAsync(topic, Buffer.from([0, 1, 255]), { qos, retain: true })
    await until(() => broker.arrivals.length > 0)
    expect(broker.arrivals[0]).toMatchObject({ topic, qos, retained: true })
    expect([...(broker.arrivals[0]?.payload ?? [])]).toEqual([0, 1, 255])
  })
}

for (const qos of [1, 2] as const) {
  test(`QoS ${qos} is acknowledged only when the message is durable`, async () => {
    let durable = () => {}
    const broker = await embeddedBroker({ accept: () => new Promise((done) => (durable = done)) })
    const machine = await client(broker)
    let acknowledged = false
    const done = machine.publishAsync(topic, 'x', { qos }).then(() => (acknowledged = true))
    await until(() => broker.arrivals.length === 1)
    await (await client(broker)).subscribeAsync('other') // a whole exchange with the broker in between
    expect(acknowledged).toBe(false)
    durable()
    await done
    expect(acknowledged).toBe(true)
  })
}

test('a message that cannot be made durable is not acknowledged: the connection ends and the client sends again', async () => {
  let failing = true
  const broker = await embeddedBroker({
    accept: async () => {
      if (failing) throw new Error('no space')
    },
  })
  const machine = await client(broker, { reconnectPeriod: 20 })
  let acknowledged = false
  const done = machine.publishAsync(topic, 'x', { qos: 1 }).then(() => (acknowledged = true))
  await new Promise<void>((closed) => machine.once('close', () => closed()))
  expect(acknowledged).toBe(false)
  expect(broker.counts().refused.not_durable).toBeGreaterThan(0)
  failing = false
  await done
})

test('the order of one machine is kept', async () => {
  const broker = await embeddedBroker()
  const machine = await client(broker)
  await Promise.all(Array.from({ length: 300 }, (_, i) => machine.publishAsync(topic, String(i), { qos: 1 })))
  expect(broker.arrivals.map(({ payload }) => Number(payload.toString()))).toEqual(
    Array.from({ length: 300 }, (_, i) => i),
  )
})

test('the will of a client that vanishes arrives; of one that leaves in order it does not', async () => {
  const broker = await embeddedBroker()
  const will = {
    topic: 'machines/pump-1/status',
    payload: Buffer.from('{"online":false}'),
    qos: 1 as const,
    retain: true,
  }
  const orderly = await client(broker, { will })
  await orderly.endAsync()
  const vanishing = await client(broker, { will, clientId: 'vanishes' })
  vanishing.stream.destroy()
  await until(() => broker.arrivals.length > 0)
  expect(broker.arrivals.map(({ payload, retained }) => [payload.toString(), retained])).toEqual([
    ['{"online":false}', true],
  ])
})

test('when the broker stops, no last will is heard, and it stops at once', async () => {
  const broker = await embeddedBroker()
  await client(broker, { will: { topic: 'machines/pump-1/status', payload: Buffer.from('{}'), qos: 1, retain: true } })
  await rawSocket(broker.port) // never says CONNECT
  await broker.close()
  expect(broker.arrivals).toEqual([])
  expect(broker.connected()).toBe(false)
  await expect(connectAsync(broker.address, { reconnectPeriod: 0, connectTimeout: 1_000 })).rejects.toThrow()
})

test('a packet larger than allowed is refused and counted before it is there', async () => {
  const broker = await embeddedBroker({ maxPacketBytes: 10_000 })
  const sound = await client(broker)
  const socket = await rawSocket(broker.port)
  socket.write(connectPacket('large'))
  await once(socket, 'data')
  socket.write(publishHead(topic, 10_000_000)) // only announced
  await once(socket, 'close')
  expect(broker.counts().refused.packet_too_large).toBe(1)
  await sound.publishAsync(topic, Buffer.alloc(9_900), { qos: 1 })
  expect(broker.arrivals).toHaveLength(1)
})

test('clients that send rubbish, stop in the middle of a packet or hang are nobody else’s business', async () => {
  const broker = await embeddedBroker()
  const sound = await client(broker)
  const rubbish = [
    Buffer.alloc(5_000, 0xff),
    Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
    Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0x32, 5, 0, 3, 0x61, 0x62, 0x63]), // PUBLISH before CONNECT
    Buffer.concat([connectPacket('a'), connectPacket('a')]), // CONNECT twice
    Buffer.concat([connectPacket('b'), publishHead('machines/#/telemetry', 0)]),
    Buffer.concat([connectPacket('c'), publishHead('', 0)]),
    Buffer.concat([connectPacket('d'), Buffer.from([0x36, 3, 0, 1, 0x61])]), // QoS 3
    Buffer.concat([connectPacket('e'), Buffer.from([0x82, 6, 0, 1, 0, 1, 0x61, 3])]), // SUBSCRIBE at QoS 3
    Buffer.concat([connectPacket('f'), Buffer.from([0x60, 0, 0xf0, 0])]),
    Buffer.from(connectPacket('g').subarray(0, 9)),
  ]
  const publishing = (async () => {
    for (let i = 0; i < 200; i++) await sound.publishAsync(topic, String(i), { qos: 1 })
  })()
  for (const bytes of rubbish) (await rawSocket(broker.port)).write(bytes)

  const vanishing = await rawSocket(broker.port)
  vanishing.write(connectPacket('vanishes'))
  await once(vanishing, 'data')
  vanishing.write(publishHead(topic, 500))
  vanishing.write(Buffer.alloc(100))
  vanishing.resetAndDestroy()
  await publishing
  expect(broker.arrivals.map(({ payload }) => payload.toString())).toEqual(
    Array.from({ length: 200 }, (_, i) => String(i)),
  )
  expect(sound.connected).toBe(true)
  expect(broker.counts().refused.protocol).toBeGreaterThan(3)
})

test('a topic of nobody arrives, to be kept in quarantine', async () => {
  const broker = await embeddedBroker()
  const machine = await client(broker)
  await machine.publishAsync('nobody', 'x', { qos: 1 })
  expect(broker.arrivals.map((arrival) => arrival.topic)).toEqual(['nobody'])
})

test('advice reaches the cab, also one that comes later, and only ours does', async () => {
  const broker = await embeddedBroker()
  const cab = await client(broker)
  const heard: string[] = []
  cab.on('message', (_topic, payload) => heard.push(payload.toString()))
  await cab.subscribeAsync('machines/+/advice', { qos: 1 })
  const forger = await client(broker)
  await forger.publishAsync('machines/pump-1/advice', 'forged', { qos: 1, retain: true })
  await broker.publish('machines/pump-1/advice', 'ours', { retain: true })
  await until(() => heard.length > 0)
  const later = await client(broker)
  later.on('message', (_topic, payload) => heard.push(payload.toString()))
  await later.subscribeAsync('machines/pump-1/advice')
  await until(() => heard.length > 1)
  expect(heard).toEqual(['ours', 'ours'])
  expect(broker.arrivals.map(({ payload }) => payload.toString())).toEqual(['forged']) // kept, to be looked at
})

test('a client cannot speak for the broker under $SYS', async () => {
  const broker = await embeddedBroker()
  const victim = await client(broker, { clientId: 'victim' })
  const listener = await client(broker)
  const heard: string[] = []
  listener.on('message', (_topic, payload) => heard.push(payload.toString()))
  await listener.subscribeAsync('#')
  for (const filter of ['$SYS/#', '$SYS/forged/new/clients'])
    await expect(listener.subscribeAsync(filter)).rejects.toThrow()
  const forger = await client(broker)
  await forger.publishAsync('$SYS/forged/new/clients', 'victim', { qos: 1 })
  await forger.publishAsync('$SYS/forged/new/clients', 'victim', { qos: 2 })
  await victim.publishAsync(topic, 'still here', { qos: 1 })
  expect(broker.arrivals).toHaveLength(3)
  expect(broker.counts().refused.not_authorized).toBe(2)
  await until(() => heard.length > 0)
  expect(heard).toEqual(['still here'])
})

test('subscribers hear what machines send; a retained status also later, on a topic of nobody never', async () => {
  const broker = await embeddedBroker()
  const machine = await client(broker)
  const before = await client(broker)
  const heard: string[] = []
  before.on('message', (name, payload) => heard.push(`${name} ${payload}`))
  await before.subscribeAsync('machines/#', { qos: 1 })
  await machine.publishAsync(topic, '1', { qos: 1 })
  await machine.publishAsync('machines/pump-1/status', '2', { qos: 1, retain: true })
  await machine.publishAsync('mine/own', '3', { qos: 1, retain: true })
  await until(() => heard.length === 2)
  expect(heard).toEqual([`${topic} 1`, 'machines/pump-1/status 2'])

  const after = await client(broker)
  const retained: string[] = []
  after.on('message', (name, payload) => retained.push(`${name} ${payload}`))
  await after.subscribeAsync(['mine/#', 'machines/#'])
  await until(() => retained.length > 0)
  expect(retained).toEqual(['machines/pump-1/status 2'])
})

test('a subscriber that comes again at once, under the same client id, goes on hearing', async () => {
  const broker = await embeddedBroker()
  const machine = await client(broker)
  for (let i = 0; i < 20; i++) {
    const listener = await client(broker, { clientId: 'console' })
    const heard: string[] = []
    listener.on('message', (_topic, payload) => heard.push(payload.toString()))
    await listener.subscribeAsync('machines/#')
    await machine.publishAsync(topic, String(i), { qos: 1 })
    await until(() => heard.length > 0)
    expect(heard).toEqual([String(i)])
  }
})

test('a subscriber that does not read holds up no machine', async () => {
  const broker = await embeddedBroker()
  const frozen = await client(broker)
  await frozen.subscribeAsync('machines/#')
  frozen.stream.pause()
  const machine = await client(broker)
  const payload = Buffer.alloc(20_000)
  for (let i = 0; i < 40; i++) {
    await Promise.all(Array.from({ length: 20 }, () => machine.publishAsync(topic, payload, { qos: 1 })))
  }
  expect(broker.arrivals).toHaveLength(800) // 16 MB, far more than a socket holds
})

test('a taken port is an error that names the setting', async () => {
  const broker = await embeddedBroker()
  const second = embeddedBroker({ port: broker.port })
  await expect(second).rejects.toThrow(MqttPortTaken)
  await expect(second).rejects.toThrow(`MQTT_PORT ${broker.port}`)
})

test('MQTT 5 is refused with the code for it; a long client id is none to refuse', async () => {
  const broker = await embeddedBroker()
  await expect(connectAsync(broker.address, { protocolVersion: 5, reconnectPeriod: 0 })).rejects.toMatchObject({
    code: 1,
  })
  await until(() => broker.counts().refused.protocol === 1)
  for (const protocolVersion of [3, 4] as const) {
    const protocolId = protocolVersion === 3 ? 'MQIsdp' : 'MQTT'
    await client(broker, { clientId: 'x'.repeat(200), protocolVersion, protocolId })
  }
})

test('with credentials, only who gives them comes in', async () => {
  const broker = await embeddedBroker({ access: accessBook({ service: { username: 'site', password: 'secret' } }) })
  for (const { code, ...wrong } of [
    { code: 5 },
    { code: 4, username: 'site' },
    { code: 4, username: 'site', password: 'Secret' },
    { code: 4, username: 'sitesecret' },
  ]) {
    await expect(connectAsync(broker.address, { reconnectPeriod: 0, ...wrong })).rejects.toMatchObject({ code })
  }
  await (await client(broker, { username: 'site', password: 'secret' })).publishAsync(topic, 'x', { qos: 1 })
  expect(broker.counts().refused).toMatchObject({ no_credentials: 1, wrong_secret: 2, unknown: 1 })
})
