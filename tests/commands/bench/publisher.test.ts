import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Aedes, type PublishPacket } from 'aedes'
import { expect, onTestFinished, test } from 'vitest'
import { latencyHistogram } from '../../../src/commands/bench/latency-histogram.ts'
import { connectPublisher, type Publisher } from '../../../src/commands/bench/publisher.ts'
import { until } from '../../acquire/broker-case.ts'

async function listen(onSocket: (socket: Socket) => void): Promise<number> {
  const server = createServer({ noDelay: true }, onSocket).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

function publisherAt(port: number, options: { window: number; quota: number; first?: number }) {
  const ended: (string | undefined)[] = []
  const latencies = latencyHistogram()
  let up = false
  const publisher: Publisher = connectPublisher({
    ...{ first: 0, port, machine: 'm-1', payload: '{"seq":0000}', latencies, ...options },
    write: (packet, at, number) => void packet.write(String(1000 + number), at + 7),
    onUp: () => {
      up = true
    },
    onAcknowledged: () => publisher.fill(),
    onEnd: (reason) => ended.push(reason),
  })
  onTestFinished(() => publisher.end())
  return { publisher, latencies, ended, up: () => up }
}

test('a publisher sends each message once, in order, and no more than its window unacknowledged', async () => {
  const broker = await Aedes.createBroker()
  onTestFinished(() => new Promise<void>((done) => broker.close(done)))
  const published: string[] = []
  let ahead = 0
  broker.authorizePublish = (_client, packet: PublishPacket, done) => {
    published.push(String(packet.payload))
    ahead = Math.max(ahead, publisher.sent - publisher.acknowledged)
    setImmediate(done, null)
  }
  const port = await listen((socket) => broker.handle(socket))
  const { publisher, latencies, ended, up } = publisherAt(port, { window: 7, quota: 100, first: 5 })
  await until(up)
  publisher.fill()
  await until(() => publisher.acknowledged === 100)
  expect(published).toEqual(Array.from({ length: 100 }, (_, index) => `{"seq":${1005 + index}}`))
  expect(ahead).toBe(7)
  expect(latencies.counts.reduce((sum, count) => sum + count, 0)).toBe(100)
  publisher.end()
  await until(() => ended.length > 0)
  expect(ended).toEqual([undefined])
})

const connack = [0x20, 2, 0, 0]
for (const { name, answers, reason } of [
  { name: 'a refusal', answers: [[0x20, 2, 0, 5]], reason: 'refused with code 5' },
  { name: 'acknowledgements out of order', answers: [connack, [0x40, 2, 0, 2]], reason: 'came out of order' },
  { name: 'another packet', answers: [connack, [0xd0, 0, 0xd0, 0]], reason: 'unexpected packet of type 0xd0' },
])
  test(`a publisher ends at ${name}, and says so`, async () => {
    const port = await listen((socket) => socket.on('data', () => socket.write(Buffer.from(answers.shift() ?? []))))
    const { publisher, ended, up } = publisherAt(port, { window: 2, quota: 2 })
    await until(() => up() || ended.length > 0)
    publisher.fill()
    await until(() => ended.length > 0)
    expect(ended[0]).toContain(reason)
  })

test('an acknowledgement in pieces is one', async () => {
  const port = await listen((socket) => {
    socket.once('data', () => socket.write(Buffer.from([...connack, 0x40])))
    socket.on('data', () => setTimeout(() => socket.write(Buffer.from([2, 0, 1])), 5))
  })
  const { publisher, up } = publisherAt(port, { window: 1, quota: 1 })
  await until(up)
  publisher.fill()
  await until(() => publisher.acknowledged === 1)
})
