import { once } from 'node:events'
import { connect } from 'node:net'
import { connectPacket, mqttText, packet, publishPacket } from './mqtt-bytes.ts'

/** Bytes that a client sends, and what has to come of them. */
export interface Stream {
  readonly bytes: Buffer
  /** Payloads that arrive, in order. */
  readonly arrive: string[]
  /** Packet ids that are acknowledged (QoS 1 and 2), in order. */
  readonly acknowledged: number[]
  /** How often it asks whether we are there. */
  readonly asked: number
  /** What is wrong at the end; undefined: the client says goodbye. */
  readonly fault: string | undefined
}

const TOPIC = 'machines/m/telemetry'
export const SUBSCRIBE = packet(
  0x82,
  Buffer.concat([Buffer.from([0, 9]), mqttText('machines/m/advice'), Buffer.from([1])]),
)
const UNSUBSCRIBE = packet(0xa2, Buffer.concat([Buffer.from([0, 9]), mqttText('machines/m/advice')]))
export const PINGREQ = packet(0xc0, Buffer.alloc(0))
export const DISCONNECT = packet(0xe0, Buffer.alloc(0))

export const rawPublish = (first: number, name: Buffer | string, rest: number[]) =>
  packet(first, Buffer.concat([typeof name === 'string' ? mqttText(name) : name, Buffer.from(rest)]))
const named = (...bytes: number[]) => Buffer.from([0, bytes.length, ...bytes])

/** Each ends the connection, and nothing of it arrives. */
export const FAULTS: Readonly<Record<string, Buffer>> = {
  'QoS 3': rawPublish(0x36, TOPIC, [0, 1, 0x78]),
  'QoS 0 sent again': rawPublish(0x38, TOPIC, [0x78]),
  'packet id 0 at QoS 1': rawPublish(0x32, TOPIC, [0, 0, 0x78]),
  'packet id 0 at QoS 2': rawPublish(0x34, TOPIC, [0, 0, 0x78]),
  'no packet id': rawPublish(0x32, TOPIC, []),
  'half a packet id': rawPublish(0x32, TOPIC, [1]),
  'an empty topic': rawPublish(0x32, '', [0, 1, 0x78]),
  'an empty topic at QoS 2': rawPublish(0x34, '', [0, 1, 0x78]),
  'a + in the topic': rawPublish(0x32, 'machines/+/telemetry', [0, 1]),
  'a # in the topic': rawPublish(0x30, 'machines/#', []),
  'a # in the topic at QoS 2': rawPublish(0x34, 'machines/#', [0, 1]),
  'NUL in the topic': rawPublish(0x32, 'machines/\0/telemetry', [0, 1]),
  'half a surrogate': rawPublish(0x32, named(0x61, 0xed, 0xa0, 0x80), [0, 1]),
  'an overlong encoding': rawPublish(0x32, named(0x61, 0xc1, 0xa1), [0, 1]),
  'a cut character': rawPublish(0x32, named(0x61, 0xe2, 0x82), [0, 1]),
  'too many levels': rawPublish(0x32, 'a/'.repeat(120), [0, 1]),
  'a topic longer than its packet': packet(0x32, Buffer.from([0, 200, 0x61, 0x62, 0, 1])),
  'a PUBLISH of nothing': packet(0x30, Buffer.alloc(0)),
  'a PUBLISH of one byte': packet(0x30, Buffer.from([0])),
  'a length of five bytes': Buffer.from([0x32, 0x80, 0x80, 0x80, 0x80, 0x01]),
  'a packet too large': Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f]),
  'type 0': packet(0x00, Buffer.alloc(0)),
  'type 15': packet(0xf0, Buffer.alloc(0)),
  CONNACK: packet(0x20, Buffer.from([0, 0])),
  SUBACK: packet(0x90, Buffer.from([0, 1, 0])),
  PINGRESP: packet(0xd0, Buffer.alloc(0)),
  'a second CONNECT': connectPacket('again'),
  'SUBSCRIBE with the wrong flags': packet(0x80, SUBSCRIBE.subarray(2)),
  'SUBSCRIBE at QoS 3': packet(0x82, Buffer.concat([Buffer.from([0, 9]), mqttText('a'), Buffer.from([3])])),
  'SUBSCRIBE to nothing': packet(0x82, Buffer.from([0, 9])),
  'SUBSCRIBE longer than its packet': packet(0x82, Buffer.from([0, 9, 0, 99, 0x61, 0])),
  'SUBSCRIBE with NUL': packet(0x82, Buffer.concat([Buffer.from([0, 9]), mqttText('a\0b'), Buffer.from([0])])),
  'PUBREL with the wrong flags': packet(0x60, Buffer.from([0, 1])),
  'PUBACK of three bytes': packet(0x40, Buffer.from([0, 1, 0])),
  'PINGREQ with a body': packet(0xc0, Buffer.from([1])),
  'DISCONNECT with a body': packet(0xe0, Buffer.from([1])),
}

/**
 * A stream that a client might send.
 *
 * @param random numbers from 0 to 1: the same ones make the same stream
 * @param faults one of them stands at its end; none: it is sound
 * @param payloadOf text of its message of that number, longer by about so many bytes
 */
export function makeStream(
  random: () => number,
  name: string,
  faults: readonly string[],
  { topic = TOPIC, payloadOf = (number: number, bytes: number) => `${name} ${number} ${'x'.repeat(bytes)}` } = {},
): Stream {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const parts = [connectPacket(name)]
  const arrive: string[] = []
  const acknowledged: number[] = []
  let asked = 1
  for (let number = Math.floor(random() * 12); number > 0; number--) {
    const kind = random()
    const id = 1 + Math.floor(random() * 65_535)
    const length = random() < 0.1 ? Math.floor(random() * 20_000) : Math.floor(random() * 200)
    const payload = payloadOf(arrive.length, length)
    const again = random() < 0.1 ? 8 : 0
    if (kind > 0.85) {
      parts.push(pick([SUBSCRIBE, UNSUBSCRIBE, PINGREQ]))
      if (parts.at(-1) === PINGREQ) asked++
      continue
    }
    arrive.push(payload)
    if (kind < 0.2) parts.push(publishPacket(topic, payload))
    else if (kind < 0.7) parts.push(rawPublish(0x32 | again, topic, [id >> 8, id & 255, ...Buffer.from(payload)]))
    else {
      parts.push(rawPublish(0x34 | again, topic, [id >> 8, id & 255, ...Buffer.from(payload)]))
      parts.push(packet(0x62, Buffer.from([id >> 8, id & 255])))
    }
    if (kind >= 0.2) acknowledged.push(id)
  }
  const fault = faults.length > 0 ? pick(faults) : undefined
  parts.push(fault === undefined ? PINGREQ : (FAULTS[fault] as Buffer))
  // what comes after a fault is nobody's any more
  if (fault !== undefined) parts.push(publishPacket(topic, `${name} after the fault`, { id: 1 }))
  return { bytes: Buffer.concat(parts), arrive, acknowledged, asked, fault }
}

/**
 * Sends the bytes in pieces; ends when the connection does, or its last PINGREQ was answered.
 *
 * @param cuts where the pieces begin
 * @returns what was answered
 */
export async function sendStream(
  port: number,
  { bytes, acknowledged, asked, fault }: Stream,
  cuts: readonly number[],
): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  const answers: Buffer[] = []
  socket.on('data', (chunk: Buffer) => answers.push(chunk))
  const ended = new Promise<void>((done) => socket.once('close', () => done()))
  let from = 0
  for (const cut of [...cuts, bytes.length]) {
    if (socket.writable) socket.write(bytes.subarray(from, cut))
    from = cut
    await new Promise((done) => setImmediate(done))
  }
  if (fault === undefined) {
    const answered = () => {
      const { ids, pings } = answersIn(Buffer.concat(answers))
      return ids.length >= acknowledged.length && pings >= asked
    }
    while (!answered() && !socket.destroyed) await new Promise((done) => setTimeout(done, 1))
    socket.write(DISCONNECT)
  }
  await ended
  return Buffer.concat(answers)
}

/** Ids of PUBACK and PUBREC in what the broker sent, and the number of its PINGRESP. */
export function answersIn(answers: Buffer): { ids: number[]; pings: number } {
  const ids: number[] = []
  let pings = 0
  for (let at = 0; at + 1 < answers.length; at += 2 + (answers[at + 1] as number)) {
    const type = (answers[at] as number) >> 4
    if (type === 13) pings++
    if ((type === 4 || type === 5) && at + 3 < answers.length) ids.push(answers.readUInt16BE(at + 2))
  }
  return { ids, pings }
}

/** Where a stream may be cut: mostly nowhere, now and then in many places. */
export function randomCuts(random: () => number, { bytes }: Stream): number[] {
  const cuts = Array.from({ length: Math.floor(random() ** 3 * 30) }, () => Math.floor(random() * bytes.length))
  return [...new Set(cuts)].sort((a, b) => a - b)
}

/** The bytes of a stream with a few of them changed. */
export function spoilt(random: () => number, { bytes: sound }: Stream): Buffer {
  const bytes = Buffer.from(sound)
  for (let flips = 1 + Math.floor(random() * 8); flips > 0; flips--)
    bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
  return bytes
}
