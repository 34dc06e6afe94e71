import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { Aedes } from 'aedes'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type ExternalBrokerOptions, startExternalBroker } from '../../src/acquire/external-broker.ts'
import type { Arrival } from '../../src/acquire/message.ts'
import { client, until } from './broker-case.ts'
import { log, temporaryFolder } from './spool-case.ts'

interface Broker {
  readonly address: string
  /** Ends all connections and comes back with its sessions. */
  restart(): Promise<void>
}

/** @param hangsUp on a client that says MQTT 5, instead of refusing it */
async function aedesBroker(hangsUp = false): Promise<Broker> {
  const broker = await Aedes.createBroker()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    if (!hangsUp) return broker.handle(socket)
    socket.once('data', (connect) => {
      if (connect.includes(Buffer.from('MQTT\x05'))) return socket.destroy()
      socket.pause()
      socket.unshift(connect)
      broker.handle(socket)
    })
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const port = await listen(0)
  const stop = () => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    return new Promise((done) => server.close(done))
  }
  onTestFinished(async () => {
    await stop()
    await new Promise<void>((done) => broker.close(done))
  })
  return {
    address: `mqtt://127.0.0.1:${port}`,
    async restart() {
      await stop()
      await listen(port)
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((done) => server.close(done))
  return port
}

async function mosquitto(): Promise<Broker> {
  const folder = temporaryFolder()
  const port = await freePort()
  const settings = join(folder, 'mosquitto.conf')
  writeFileSync(
    settings,
    `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location ${folder}/\nmax_queued_messages 0\nmax_inflight_messages 0\n${process.getuid?.() === 0 ? 'user root\n' : ''}`,
  )
  let server: ChildProcess | undefined
  const start = async () => {
    const started = spawn('mosquitto', ['-c', settings], { stdio: ['ignore', 'ignore', 'pipe'] })
    server = started
    let output = ''
    started.stderr.on('data', (chunk) => (output += chunk))
    await until(() => output.includes('running') || started.exitCode !== null)
    if (started.exitCode !== null) throw new Error(output)
  }
  const stop = async () => {
    if (!server || server.exitCode !== null) return
    const gone = once(server, 'exit')
    server.kill('SIGTERM')
    await gone
  }
  await start()
  onTestFinished(stop)
  return {
    address: `mqtt://127.0.0.1:${port}`,
    async restart() {
      await stop()
      await start()
    },
  }
}

function front(broker: Broker, options: Partial<ExternalBrokerOptions> = {}) {
  const arrivals: Arrival[] = []
  const started = startExternalBroker({
    url: broker.address,
    clientId: 'outrigger-test',
    prefix: '',
    log,
    ...options,
    accept: async (message) => {
      await options.accept?.(message)
      arrivals.push(message)
    },
  })
  onTestFinished(() => started.close())
  return Object.assign(started, { arrivals, texts: () => arrivals.map(({ payload }) => payload.toString()) })
}

const telemetry = 'machines/pump-1/telemetry'

function externalBrokerContract(name: string, makeBroker: () => Promise<Broker>) {
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
}

describe('an MQTT 3.1.1 broker', () => externalBrokerContract('aedes', () => aedesBroker()))

const hasMosquitto = (() => {
  try {
    execFileSync('mosquitto', ['-h'], { stdio: 'ignore' })
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
})()
describe.skipIf(!hasMosquitto && process.env.OUTRIGGER_REQUIRE_SERVERS !== '1')('Mosquitto, MQTT 5', () =>
  externalBrokerContract('mosquitto', mosquitto),
)

test('a broker that hangs up on MQTT 5 is spoken to in 3.1.1', async () => {
  const broker = await aedesBroker(true)
  const ours = front(broker)
  await until(() => ours.connected())
  await (await client(broker)).publishAsync(telemetry, 'x', { qos: 1 })
  await until(() => ours.arrivals.length === 1)
})

test('a broker that is not there does not stop the start, and shows', async () => {
  const ours = front({ address: `mqtt://user:secret@127.0.0.1:${await freePort()}`, restart: async () => {} })
  expect(ours.connected()).toBe(false)
  expect(ours.address).not.toContain('secret')
  await ours.close()
})
