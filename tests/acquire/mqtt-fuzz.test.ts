import { expect, test } from 'vitest'
import { embeddedBroker, rawSocket, type TestBroker, until } from './broker-case.ts'
import {
  answersIn,
  DISCONNECT,
  FAULTS,
  makeStream,
  PINGREQ,
  randomCuts,
  rawPublish,
  type Stream,
  SUBSCRIBE,
  sendStream,
  spoilt,
} from './made-up-streams.ts'
import { connectPacket, packet, publishPacket } from './mqtt-bytes.ts'
import { seeded } from './seeded.ts'

const topic = 'machines/m/telemetry'

async function check(broker: TestBroker, name: string, stream: Stream, cuts: readonly number[]): Promise<void> {
  const answers = await sendStream(broker.port, stream, cuts)
  const told = `stream ${name}, ${stream.fault ?? 'sound'}, cut at ${cuts.slice(0, 20)}`
  const arrived: string[] = []
  for (const { payload } of broker.arrivals)
    if (payload.toString('latin1', 0, name.length + 1) === `${name} `) arrived.push(payload.toString())
  expect(arrived, told).toEqual(stream.arrive)
  const acknowledged = answersIn(answers).ids.sort((a, b) => a - b)
  const expected = [...stream.acknowledged].sort((a, b) => a - b)
  if (stream.fault === undefined) expect(acknowledged, told).toEqual(expected)
  else for (const id of acknowledged) expect(expected, told).toContain(id)
}

test('every fault ends its connection, is counted, and leaves what came before it', async () => {
  const broker = await embeddedBroker()
  const random = seeded(1)
  let refused = 0
  for (const fault of Object.keys(FAULTS)) {
    const stream = makeStream(random, `fault-${refused}`, [fault])
    await check(broker, `fault-${refused}`, stream, [])
    refused++
    const { protocol = 0, packet_too_large: tooLarge = 0 } = broker.counts().refused
    expect(protocol + tooLarge, fault).toBe(refused)
  }
})

test('nothing is taken before a CONNECT', async () => {
  const broker = await embeddedBroker()
  for (const bytes of [
    publishPacket(topic, 'x', { id: 1 }),
    SUBSCRIBE,
    PINGREQ,
    DISCONNECT,
    ...Object.values(FAULTS),
  ]) {
    if (bytes === FAULTS['a second CONNECT']) continue
    const socket = await rawSocket(broker.port)
    socket.resume()
    const ended = new Promise<void>((done) => socket.once('close', () => done()))
    socket.write(Buffer.concat([bytes, connectPacket('late'), publishPacket(topic, 'x', { id: 1 })]))
    await ended
  }
  expect(broker.arrivals).toEqual([])
})

test('a stream means the same wherever it is cut', async () => {
  const broker = await embeddedBroker()
  const texts = ['a', 'b']
  const bytes = Buffer.concat([
    connectPacket('cut'),
    rawPublish(0x32, topic, [1, 2, ...Buffer.from('cut a')]),
    SUBSCRIBE,
    rawPublish(0x34, topic, [1, 3, ...Buffer.from('cut b')]),
    packet(0x62, Buffer.from([1, 3])),
    PINGREQ,
  ])
  const stream: Stream = {
    bytes,
    arrive: texts.map((text) => `cut ${text}`),
    acknowledged: [258, 259],
    asked: 1,
    fault: undefined,
  }
  for (let cut = 1; cut < bytes.length; cut++) {
    broker.arrivals.length = 0
    await check(broker, 'cut', stream, [cut])
  }
  broker.arrivals.length = 0
  const everywhere = Array.from({ length: bytes.length - 1 }, (_, i) => i + 1)
  await check(broker, 'cut', stream, everywhere)
})

const seed = Number(process.env.FUZZ_SEED ?? 20_260_101)
const streams = Number(process.env.FUZZ_STREAMS ?? 2_000)
test(
  `${streams} streams, sound and faulty, cut anywhere: what was sound is stored and acknowledged, every fault is counted`,
  async () => {
    const random = seeded(seed)
    const broker = await embeddedBroker()
    const faults = Object.keys(FAULTS)
    let faulty = 0
    let started = 0
    const worker = async () => {
      while (started < streams) {
        const name = `seed-${seed}-${started++}`
        const stream = makeStream(random, name, random() < 0.4 ? faults : [])
        if (stream.fault) faulty++
        await check(broker, name, stream, randomCuts(random, stream))
        if (started % 100 === 0) broker.arrivals.splice(0, broker.arrivals.length - 500) // those of other workers stay
      }
    }
    await Promise.all(Array.from({ length: 25 }, worker))
    const { protocol = 0, packet_too_large: tooLarge = 0 } = broker.counts().refused
    expect(protocol + tooLarge, `seed ${seed}`).toBe(faulty)
  },
  60_000 + streams * 50,
)

test(
  'garbage of any kind ends its own connection at most',
  async () => {
    const random = seeded(seed + 1)
    const broker = await embeddedBroker()
    for (let i = 0; i < streams / 2; i++) {
      const stream = makeStream(random, 'g', Object.keys(FAULTS))
      const socket = await rawSocket(broker.port)
      socket.resume()
      socket.end(spoilt(random, stream))
    }
    const sound = makeStream(random, 'sound', [])
    await check(broker, 'sound', sound, [])
    await until(() => broker.counts().connections === 0)
  },
  60_000 + streams * 50,
)
