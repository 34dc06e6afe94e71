import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { client, until } from './broker-case.ts'
import { certificates, hasOpenssl } from './certificates.ts'
import {
  aedesServer,
  freePort,
  externalFront as front,
  hasMosquitto,
  listening,
  mosquittoServer,
  type TestServer,
} from './external-case.ts'
import { temporaryFolder } from './spool-case.ts'
import { tcpProxy } from './tcp-proxy.ts'

const telemetry = 'machines/pump-1/telemetry'

interface Peculiarities {
  /** Whether the broker sends what waited in a session before what is new; otherwise side by side. */
  readonly oldBeforeNew: boolean
}

function externalBrokerContract(name: string, makeBroker: () => Promise<TestServer>, { oldBeforeNew }: Peculiarities) {
  test(`${name}: what machines and gateways send arrives, and nothing else`, async () => {
    const broker = await makeBroker()
    const ours = front(broker)
    await until(() => ours.connected())
    const machine = await client(broker)
    await machine.publishAsync('machines/pump-1/advice', 'no', { qos: 1 })
    await machine.publishAsync('elsewhere', 'no', { qos: 1 })
    for (const topic of [telemetry, 'machines/a/faults', 'machines/a/status', 'gateways/g/telemetry']) {
      await machine.publishAsync(topic, topic, { qos: 1 })
    }
    await until(() => ours.arrivals.length === 4)
    expect(ours.texts()).toEqual([telemetry, 'machines/a/faults', 'machines/a/status', 'gateways/g/telemetry'])
    expect(ours.arrivals[0]).toMatchObject({ topic: telemetry, qos: 1, retained: false })
  })

  test(`${name}: what is sent while we are away comes when we are back`, async () => {
    const broker = await makeBroker()
    const first = front(broker)
    await until(() => first.connected())
    await first.close()
    const machine = await client(broker)
    for (let i = 0; i < 50; i++) await machine.publishAsync(telemetry, String(i), { qos: 1 })
    const second = front(broker)
    await until(() => second.arrivals.length === 50)
    expect(second.texts()).toEqual(Array.from({ length: 50 }, (_, i) => String(i)))
  })

  test(`${name}: what could not be made durable is not acknowledged and comes again`, async () => {
    const broker = await makeBroker()
    let failures = 0
    const accept = async () => {
      if (failures < 2) {
        failures++
        throw new Error('no space')
      }
    }
    const ours = front(broker, { accept })
    await until(() => ours.connected())
    const machine = await client(broker)
    for (let i = 0; i < 3; i++) await machine.publishAsync(telemetry, String(i), { qos: 1 })
    await until(() => new Set(ours.texts()).size === 3)
    expect(failures).toBe(2)
    expect(ours.counts().refused.not_durable).toBe(2)
  })

  test(`${name}: it connects again when the broker was away, and publishes only while it is there`, async () => {
    const broker = await makeBroker()
    const ours = front(broker)
    await until(() => ours.connected())
    const restarted = broker.restart()
    await until(() => !ours.connected())
    await expect(ours.publish('machines/pump-1/advice', 'x', { retain: true })).rejects.toThrow('no connection')
    await restarted
    await until(() => ours.connected())

    const machine = await client(broker)
    await machine.publishAsync(telemetry, 'after', { qos: 1 })
    await until(() => ours.arrivals.length === 1)
    await ours.publish('machines/pump-1/advice', 'ours', { retain: true })
    const heard = once(machine as unknown as NodeJS.EventEmitter, 'message')
    await machine.subscribeAsync('machines/pump-1/advice')
    expect(String((await heard)[1])).toBe('ours')
  })

  test(`${name}: a topic prefix holds for what is subscribed`, async () => {
    const broker = await makeBroker()
    const ours = front(broker, { prefix: 'fleet/' })
    await until(() => ours.connected())
    const machine = await client(broker)
    await machine.publishAsync(telemetry, 'other', { qos: 1 })
    await machine.publishAsync(`fleet/${telemetry}`, 'ours', { qos: 1 })
    await until(() => ours.arrivals.length === 1)
    expect(ours.texts()).toEqual(['ours'])
  })

  test(`${name}: a message is acknowledged when it is durable, in the order of receipt`, async () => {
    const broker = await makeBroker()
    const network = await tcpProxy(broker)
    const durable: (() => void)[] = []
    const ours = front(network, { accept: () => new Promise((resolve) => durable.push(resolve)) })
    await until(() => ours.connected())
    const machine = await client(broker)
    for (let i = 0; i < 3; i++) await machine.publishAsync(telemetry, String(i), { qos: 1 })
    await until(() => durable.length === 3)
    const before = network.sent()

    durable[2]?.()
    durable[1]?.()
    await delay(100)
    expect(network.sent()).toEqual(before)
    durable[0]?.()
    await until(() => network.sent().length === before.length + 3 * 4)
    const acknowledgements = network.sent().subarray(before.length)
    const ids = [2, 6, 10].map((at) => acknowledgements.readUInt16BE(at))
    expect(ids).toEqual([...ids].sort((a, b) => a - b))
    expect([0, 4, 8].map((at) => acknowledgements[at])).toEqual([0x40, 0x40, 0x40])
  })

  test(`${name}: while nothing becomes durable the connection lives, and machines can be told something`, async () => {
    const broker = await makeBroker()
    const network = await tcpProxy(broker)
    let goOn = () => {}
    const durable = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const ours = front(network, { accept: () => durable, keepaliveSeconds: 1, receiveMaximum: 10 })
    await until(() => ours.connected())
    const machine = await client(broker)
    for (let i = 0; i < 100; i++) await machine.publishAsync(telemetry, String(i), { qos: 1 })
    const connections = network.connections()
    await delay(3_000)
    await ours.publish('machines/pump-1/advice', 'ours', { retain: true })
    expect(ours.connected()).toBe(true)

    goOn()
    await until(() => ours.arrivals.length >= 100)
    expect(ours.texts()).toEqual(Array.from({ length: 100 }, (_, i) => String(i)))
    expect(network.connections()).toBe(connections)
  })

  test(`${name}: what is held until it is durable is bounded, and the connection lives all the same`, async () => {
    const broker = await makeBroker()
    const network = await tcpProxy(broker)
    let goOn = () => {}
    const durable = new Promise<void>((resolve) => {
      goOn = resolve
    })
    let taken = 0
    const accept = ({ payload }: { payload: Buffer }) => {
      taken += payload.length
      return durable
    }
    const ours = front(network, { accept, keepaliveSeconds: 1 })
    await until(() => ours.connected())
    const machine = await client(broker)
    const connections = network.connections()
    const large = 'x'.repeat(100_000)
    for (let i = 0; i < 400; i++) await machine.publishAsync(telemetry, large, { qos: 1 })
    await until(() => taken > 15e6)
    await delay(3_000) // thrice as long as it takes for a ping
    expect(taken).toBeLessThan(18e6)

    goOn()
    await until(() => ours.arrivals.length >= 400)
    expect(ours.arrivals).toHaveLength(400)
    expect(network.connections()).toBe(connections)
  })

  test(`${name}: QoS 2 that waits in the session is taken once, and acknowledged when it is durable`, async () => {
    const broker = await makeBroker()
    const earlier = await client(broker, { clientId: 'outrigger-test', clean: false, protocolVersion: 4 })
    await earlier.subscribeAsync(telemetry, { qos: 2 })
    await earlier.endAsync()
    const machine = await client(broker)
    for (let i = 0; i < 3; i++) await machine.publishAsync(telemetry, String(i), { qos: 2 })

    const network = await tcpProxy(broker)
    let goOn = () => {}
    const durable = new Promise<void>((resolve) => {
      goOn = resolve
    })
    let taken = 0
    const accept = () => {
      taken++
      return durable
    }
    const first = front(network, { accept })
    await until(() => taken === 3)
    expect(packetTypes(network.sent())).not.toContain(PUBREC)
    goOn()
    await until(() => packetTypes(network.sent()).filter((type) => type === PUBCOMP).length === 3)
    expect(first.texts()).toEqual(['0', '1', '2'])
    await first.close()
    const second = front(broker)
    await until(() => second.connected())
    await delay(200)
    expect(second.texts()).toEqual([])
  })

  test(`${name}: a message that is too large is dropped and counted, the others go on`, async () => {
    const broker = await makeBroker()
    const ours = front(broker, { maxPacketBytes: 10_000 })
    await until(() => ours.connected())
    const machine = await client(broker)
    for (const payload of ['before', 'x'.repeat(300_000), 'after'])
      await machine.publishAsync(telemetry, payload, { qos: 1 })
    await until(() => ours.arrivals.length === 2)
    expect(ours.texts()).toEqual(['before', 'after'])
    expect(ours.counts().refused.packet_too_large).toBe(1)
    await ours.close()
    const again = front(broker)
    await until(() => again.connected())
    await delay(200)
    expect(again.texts()).toEqual([])
  })

  test(`${name}: closing acknowledges what is being made durable`, async () => {
    const broker = await makeBroker()
    const first = front(broker, { accept: () => delay(300) })
    await until(() => first.connected())
    const machine = await client(broker)
    for (let i = 0; i < 20; i++) await machine.publishAsync(telemetry, String(i), { qos: 1 })
    await delay(100)
    await first.close()
    const second = front(broker)
    await until(() => second.connected())
    await delay(200)
    expect([...first.texts(), ...second.texts()]).toEqual(Array.from({ length: 20 }, (_, i) => String(i)))
  })

  test(`${name}: a network that delays, cuts and halves loses nothing`, async () => {
    const broker = await makeBroker()
    const network = await tcpProxy(broker)
    const ours = front(network)
    await until(() => ours.connected())
    const machine = await client(broker)
    const send = async (from: number) => {
      for (let i = from; i < from + 100; i++) await machine.publishAsync(telemetry, String(i), { qos: 1 })
    }
    const connections = network.connections()
    network.halve()
    await send(0)
    await until(() => network.connections() > connections && ours.connected())
    network.delay(300)
    await send(100)
    network.cut()
    await send(200)
    await until(() => network.connections() > connections + 1 && ours.connected())
    network.mend()
    network.stall('to server')
    await send(300)
    network.cut()
    network.mend()
    await until(() => new Set(ours.texts()).size === 400)
    const first = [...new Set(ours.texts())].map(Number)
    if (!oldBeforeNew) first.sort((a, b) => a - b)
    expect(first).toEqual(Array.from({ length: 400 }, (_, i) => i))
  })
}

const PUBREC = 5
const PUBCOMP = 7

/** @param bytes packets of at most 127 bytes each, CONNECT and SUBSCRIBE among them */
function packetTypes(bytes: Buffer): number[] {
  const types: number[] = []
  for (let at = 0; at < bytes.length; ) {
    const twoBytes = (bytes[at + 1] as number) > 127
    types.push((bytes[at] as number) >> 4)
    at += twoBytes
      ? 3 + ((bytes[at + 1] as number) & 127) + (bytes[at + 2] as number) * 128
      : 2 + (bytes[at + 1] as number)
  }
  return types
}

describe('an MQTT 3.1.1 broker', () => externalBrokerContract('aedes', () => aedesServer(), { oldBeforeNew: false }))

describe.skipIf(!hasMosquitto)('Mosquitto as we ship its configuration, MQTT 5', () => {
  externalBrokerContract('mosquitto', () => mosquittoServer(), { oldBeforeNew: true })

  test('processes of a group share what arrives, and a session of the time before gets nothing twice', async () => {
    const broker = await mosquittoServer()
    const before = front(broker, { clientId: 'first' })
    await until(() => before.connected())
    await before.close()

    const group = ['first', 'second'].map((clientId) => front(broker, { clientId, share: 'fleet' }))
    await until(() => group.every((ours) => ours.connected()))
    await delay(100) // until the old subscriptions are gone
    const machine = await client(broker)
    for (let i = 0; i < 100; i++) await machine.publishAsync(telemetry, String(i), { qos: 1 })
    await until(() => group.flatMap((ours) => ours.texts()).length >= 100)
    expect(group.flatMap((ours) => ours.texts()).sort()).toEqual(
      Array.from({ length: 100 }, (_, i) => String(i)).sort(),
    )
    expect(group.map((ours) => ours.arrivals.length > 20)).toEqual([true, true])
  })

  test('a group loses nothing when one of its processes was away', async () => {
    const broker = await mosquittoServer()
    const open = (clientId: string) => front(broker, { clientId, share: 'fleet' })
    const first = open('first')
    const second = open('second')
    await until(() => first.connected() && second.connected())
    const machine = await client(broker)
    const send = async (from: number) => {
      for (let i = from; i < from + 100; i++) await machine.publishAsync(telemetry, String(i), { qos: 1 })
    }
    await send(0)
    await second.close()
    await send(100)
    const third = open('second')
    await send(200)
    const arrived = () => new Set([first, second, third].flatMap((ours) => ours.texts()))
    await until(() => arrived().size === 300)
  })

  test('a Mosquitto that is killed has forgotten our session: we go on with a new one, and say so', async () => {
    const broker = await mosquittoServer()
    const ours = front(broker)
    await until(() => ours.connected())
    await broker.stop('SIGKILL')
    await broker.start()
    await until(() => ours.connected())
    expect(ours.note()).toMatch(/had forgotten our session at 20.*Z: what it kept for us is lost$/)
    await (await client(broker)).publishAsync(telemetry, 'after', { qos: 1 })
    await until(() => ours.texts().includes('after'))
  })

  test('two services with one client id are told of, though the broker says nothing', async () => {
    const broker = await mosquittoServer()
    const ours = front(broker)
    front(broker)
    await until(() => ours.note()?.includes('may be in use twice') ?? false)
    expect(ours.note()).toMatch(
      /: the connection was lost at once, \d times in a row: MQTT_CLIENT_ID outrigger-test may/,
    )
  })
})

describe.skipIf(!hasMosquitto || !hasOpenssl)('Mosquitto over TLS and WebSocket', () => {
  test('every protocol carries messages in both directions, with a certificate of ours where one is asked for', async () => {
    const files = certificates()
    const { cert, key } = files.server
    const [tls, ws, wss] = [await freePort(), await freePort(), await freePort()]
    const secure = [`certfile ${cert}`, `keyfile ${key}`, `cafile ${files.ca}`, 'require_certificate true']
    const broker = await mosquittoServer([
      `listener ${tls} 127.0.0.1`,
      ...secure,
      `listener ${ws} 127.0.0.1`,
      'protocol websockets',
      `listener ${wss} 127.0.0.1`,
      'protocol websockets',
      ...secure,
    ])
    const machine = await client(broker)
    const trusted = { ca: files.ca, ...files.client }
    for (const url of [`mqtts://127.0.0.1:${tls}`, `ws://127.0.0.1:${ws}/mqtt`, `wss://127.0.0.1:${wss}/mqtt`]) {
      const ours = front({ address: url }, url.startsWith('ws:') ? {} : { tls: trusted })
      await until(() => ours.connected())
      for (let i = 0; i < 500; i++) machine.publish(telemetry, String(i), { qos: 1 })
      await until(() => ours.arrivals.length === 500)
      expect(ours.texts()).toEqual(Array.from({ length: 500 }, (_, i) => String(i)))
      await ours.publish('machines/pump-1/advice', url, { retain: true })
      await ours.close()
    }
  })

  test('a broker whose certificate is not trusted is not spoken to, and why is told; a renewed file counts at once', async () => {
    const files = certificates()
    const { cert, key } = files.server
    const port = await freePort()
    await mosquittoServer([`listener ${port} 127.0.0.1`, `certfile ${cert}`, `keyfile ${key}`])
    const ca = join(temporaryFolder(), 'ca.pem')
    copyFileSync(certificates().ca, ca)
    const ours = front({ address: `mqtts://127.0.0.1:${port}` }, { tls: { ca } })
    await until(() => /since 20.*: .*certificate/.test(ours.note() ?? ''))
    expect(ours.connected()).toBe(false)
    copyFileSync(files.ca, ca)
    await until(() => ours.connected())
  })

  test('a certificate file that is not there stops the start', () => {
    expect(() => front({ address: 'mqtts://127.0.0.1:1' }, { tls: { ca: '/nowhere/ca.pem' } })).toThrow(
      '/nowhere/ca.pem',
    )
  })
})

test('a broker that gives our session to another client is told of', async () => {
  const SUBSCRIBE = 8
  const server = createServer((socket) => {
    socket.once('data', () => {
      socket.write(Buffer.from('2003000000', 'hex')) // CONNACK of MQTT 5
      socket.on('data', (packet: Buffer) => {
        if ((packet[0] as number) >> 4 !== SUBSCRIBE) return
        socket.write(Buffer.from(`9007${packet.toString('hex', 2, 4)}0001010101`, 'hex')) // SUBACK
        setTimeout(() => socket.end(Buffer.from('e0018e', 'hex')), 50) // DISCONNECT: session taken over
      })
    })
  })
  const port = await listening(server)
  onTestFinished(() => void server.close())
  const ours = front({ address: `mqtt://127.0.0.1:${port}` })
  await until(() => ours.note()?.includes('taken over') ?? false)
  expect(ours.connected()).toBe(false)
  expect(ours.note()).toMatch(
    /since 20.*: another client has taken over .* MQTT_CLIENT_ID outrigger-test is in use twice$/,
  )
})

test('a broker that hangs up on MQTT 5 is spoken to in 3.1.1', async () => {
  const broker = await aedesServer((socket, aedes) => {
    socket.once('data', (connect: Buffer) => {
      if (connect.includes(Buffer.from('MQTT\x05'))) return socket.destroy()
      socket.pause()
      socket.unshift(connect)
      aedes.handle(socket)
    })
  })
  const ours = front(broker)
  await until(() => ours.connected())
  await (await client(broker)).publishAsync(telemetry, 'x', { qos: 1 })
  await until(() => ours.arrivals.length === 1)
})

test('a broker that hangs up for a while is spoken to when it is back, whatever its version', async () => {
  let away = true
  const broker = await aedesServer((socket, aedes) => (away ? void socket.destroy() : aedes.handle(socket)))
  const ours = front(broker)
  await delay(6_000)
  away = false
  await until(() => ours.connected())
})

test('a broker that sends what is not MQTT is left, told of, and tried again', async () => {
  let sane = false
  const broker = await aedesServer((socket, aedes) => {
    if (!sane) socket.once('data', () => socket.write(Buffer.from('2003000000' + '36050001610001', 'hex')))
    else aedes.handle(socket)
  })
  const ours = front(broker)
  await until(() => ours.note()?.includes('not MQTT') ?? false)
  expect(ours.connected()).toBe(false)
  sane = true
  await until(() => ours.connected())
})

test('a broker that is not there does not stop the start, and shows', async () => {
  const ours = front({ address: `mqtt://user:secret@127.0.0.1:${await freePort()}` })
  expect(ours.connected()).toBe(false)
  await until(() => ours.note()?.includes('ECONNREFUSED') ?? false)
  expect(ours.note()).toMatch(/^nothing arrives from mqtt:\/\/127\.0\.0\.1:\d+ since 20.*Z: connect ECONNREFUSED/)
  expect(`${ours.address} ${ours.note()}`).not.toContain('secret')
  await ours.close()
})

test('a broker that does not let us subscribe is told of', async () => {
  const broker = await aedesServer()
  broker.broker.authorizeSubscribe = (_client, subscription, done) =>
    done(null, subscription.topic.startsWith('gateways/') ? null : subscription)
  const ours = front(broker)
  await until(() => ours.note()?.includes('subscribe') ?? false)
  expect(ours.connected()).toBe(false)
  expect(ours.note()).toMatch(/it does not let us subscribe to gateways\/\+\/telemetry$/)
})

test('a broker that has forgotten our session is told of', async () => {
  const broker = await aedesServer()
  const network = await tcpProxy(broker)
  const ours = front(network)
  await until(() => ours.connected())
  network.cut()
  const other = await client(broker, { clientId: 'outrigger-test', clean: true }) // discards the session
  await other.endAsync()
  await until(() => ours.connected())
  expect(ours.note()).toMatch(/had forgotten our session at 20/)
})
