import { expect, test } from 'vitest'
import { openPublishReader, type PublishReaderOptions } from '../../src/acquire/publish-reader.ts'

const topic = 'machines/pump-1/telemetry'

interface Publish {
  readonly payload: string
  readonly qos?: 0 | 1 | 2
  readonly id?: number
  readonly retained?: boolean
  /** Bytes of the properties, without their length; for MQTT 5. */
  readonly properties?: string
}

function publish({ payload, qos = 1, id = 1, retained = false, properties }: Publish): Buffer {
  const rest = Buffer.concat([
    Buffer.from([0, topic.length]),
    Buffer.from(topic),
    Buffer.from(qos > 0 ? [id >> 8, id & 255] : []),
    ...(properties === undefined ? [] : [packedLength(properties.length), Buffer.from(properties)]),
    Buffer.from(payload),
  ])
  return Buffer.concat([Buffer.from([0x30 | (qos << 1) | Number(retained)]), packedLength(rest.length), rest])
}

function packedLength(length: number): Buffer {
  const bytes: number[] = []
  for (let rest = length; rest > 0 || bytes.length === 0; rest >>= 7) bytes.push((rest & 127) | (rest > 127 ? 128 : 0))
  return Buffer.from(bytes)
}

/** @returns everything that the reader told, in order */
function read(chunks: readonly Buffer[], options: Partial<PublishReaderOptions> = {}, told: unknown[] = []): unknown[] {
  const take = openPublishReader({
    protocolVersion: 4,
    maxPacketBytes: 1_000_000,
    onPublish: (topic, payload, qos, retained, id) => told.push([topic, payload.toString(), qos, retained, id]),
    onTooLarge: (topic, bytes, qos, id) => told.push(['too large', topic, bytes, qos, id]),
    onOther: (packet) => told.push(packet.toString('hex')),
    ...options,
  })
  for (const chunk of chunks) take(chunk)
  return told
}

const suback = Buffer.from('9003000a01', 'hex')
const pingresp = Buffer.from('d000', 'hex')
const long = 'x'.repeat(20_000)

test('what comes is told in order and whole, wherever its bytes are cut', () => {
  const bytes = Buffer.concat([
    suback,
    publish({ payload: 'a', qos: 0 }),
    publish({ payload: long, id: 700, retained: true }),
    pingresp,
    publish({ payload: '', qos: 2, id: 65_535 }),
  ])
  const told = [
    '9003000a01',
    [topic, 'a', 0, false, 0],
    [topic, long, 1, true, 700],
    'd000',
    [topic, '', 2, false, 65_535],
  ]
  expect(read([bytes])).toEqual(told)
  for (const size of [1, 2, 3, 7, 64, 4_096]) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    )
    expect(read(chunks)).toEqual(told)
  }
  for (let at = 1; at < 80; at++) expect(read([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(told)
})

test('in MQTT 5, the payload begins behind the properties', () => {
  const told = read(
    ['', 'abc', 'p'.repeat(300)].map((properties) => publish({ payload: '{}', properties })),
    { protocolVersion: 5 },
  )
  expect(told).toEqual(Array(3).fill([topic, '{}', 1, false, 1]))
})

test('a message that is too large is passed over and told by its head, what follows it is read', () => {
  const bytes = Buffer.concat([publish({ payload: long, id: 9 }), publish({ payload: 'next', id: 10 })])
  const told = [
    ['too large', topic, bytes.length - publish({ payload: 'next' }).length, 1, 9],
    [topic, 'next', 1, false, 10],
  ]
  expect(read([bytes], { maxPacketBytes: 1_000 })).toEqual(told)
  for (const at of [1, 3, 30, 40, 19_000, 20_033, 20_034, 20_035])
    expect(read([bytes.subarray(0, at), bytes.subarray(at)], { maxPacketBytes: 1_000 })).toEqual(told)
})

test('garbage is read or refused alike, whole or byte by byte (seeded)', () => {
  const random = seeded(4_711)
  const good = publish({ payload: 'good', properties: '' })
  const outcome = (chunks: readonly Buffer[]) => {
    const told: unknown[] = []
    try {
      read(chunks, { protocolVersion: 5, maxPacketBytes: 80 }, told)
    } catch (error) {
      told.push(String(error))
    }
    return told
  }
  let refused = 0
  for (let round = 0; round < 3_000; round++) {
    const damaged = Buffer.concat([good, good, good])
    for (let i = 0; i <= random(4); i++) damaged[random(damaged.length)] = random(256)
    const whole = outcome([damaged])
    expect(whole, damaged.toString('hex')).toEqual(outcome([...damaged].map((byte) => Buffer.from([byte]))))
    if (String(whole.at(-1)).includes('not MQTT')) refused++
  }
  expect(refused).toBeGreaterThan(300)
})

/** @returns whole numbers from 0 up to what is asked for, without it */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % below
  }
}

for (const { name, bytes, protocolVersion = 4 } of [
  { name: 'a length of five bytes', bytes: '30ffffffff01' },
  { name: 'QoS 3', bytes: '3605000161000100' },
  { name: 'a topic that is longer than its packet', bytes: '3004000961' + '62' },
  { name: 'the packet identifier 0', bytes: '32050001610000' },
  { name: 'properties that are longer than their packet', bytes: '320600016100017f', protocolVersion: 5 as const },
]) {
  test(`a stream with ${name} is not MQTT`, () => {
    expect(() => read([Buffer.from(bytes, 'hex')], { protocolVersion })).toThrow('not MQTT')
  })
}
