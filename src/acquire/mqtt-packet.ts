import { isUtf8 } from 'node:buffer'

/**
 * The bytes of MQTT 3.1.1 as far as we read them ourselves: where a packet ends, and whether a PUBLISH is one. Faults are
 * told as sentences without an end, for the log.
 */

const CONNECT = 1
export const PUBLISH = 3
const PUBACK = 4
const PUBCOMP = 7
const PINGREQ = 12
export const DISCONNECT = 14
/** Bit by type: PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ besides those above. */
const SENT_BY_CLIENTS = 0b0101_0101_1111_1010

/** More levels than that are refused: what passes messages on to subscribers cannot tell them apart. */
const MAX_TOPIC_LEVELS = 100
const LONGEST_FIXED_HEADER = 5
const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23

/**
 * @param end where the bytes that are there end
 * @returns bytes of the packet's fixed header; 0 while some of them are missing; −1 where its length is none
 */
export function fixedHeaderBytes(bytes: Buffer, at: number, end: number): number {
  for (let i = at + 1; i < end; i++) {
    if ((bytes[i] as number) < 128) return i + 1 - at
    if (i + 1 - at === LONGEST_FIXED_HEADER) return -1
  }
  return 0
}

/** How many bytes follow a fixed header that is whole. */
export function remainingLength(bytes: Buffer, at: number, headerBytes: number): number {
  let length = 0
  for (let i = at + headerBytes - 1; i > at; i--) length = length * 128 + ((bytes[i] as number) & 127)
  return length
}

/**
 * Why no client sends such a packet now; undefined: it may, as far as it can be said without looking into it.
 *
 * @param length of what follows the fixed header
 * @param connected whether its CONNECT was taken
 */
export function packetFault(type: number, length: number, connected: boolean): string | undefined {
  if (((SENT_BY_CLIENTS >> type) & 1) === 0) return `a packet has the type ${type}, which no client sends`
  if (!connected && type !== CONNECT) return 'the first packet is no CONNECT'
  if (connected && type === CONNECT) return 'a second CONNECT'
  const expected = type >= PUBACK && type <= PUBCOMP ? 2 : type === PINGREQ || type === DISCONNECT ? 0 : length
  return length === expected ? undefined : `a packet of the type ${type} has ${length} bytes`
}

/** Where the topic of a PUBLISH ends whose `publishFault` is none; its packet id follows, and then its payload. */
export function topicEnd(bytes: Buffer, body: number): number {
  return body + 2 + (((bytes[body] as number) << 8) | (bytes[body + 1] as number))
}

/**
 * Why this is no PUBLISH; undefined where it is one, as far as it can be said without looking at its topic.
 *
 * @param flags lower half of the first byte
 */
export function publishFault(bytes: Buffer, flags: number, body: number, end: number): string | undefined {
  const qos = (flags >> 1) & 3
  if (qos === 3) return 'a PUBLISH has the QoS 3'
  if (qos === 0 && flags & 8) return 'a PUBLISH at QoS 0 says that it was sent before'
  if (end - body < 2) return 'a PUBLISH is cut short'
  const id = topicEnd(bytes, body)
  if (id + (qos > 0 ? 2 : 0) > end) return 'a PUBLISH is cut short'
  if (qos > 0 && bytes[id] === 0 && bytes[id + 1] === 0) return 'a PUBLISH has the packet id 0'
  return undefined
}

/** Why nobody can publish under this topic; undefined: it is sound. */
export function topicFault(topic: Uint8Array): string | undefined {
  if (topic.length === 0) return 'a topic is empty'
  let levels = 1
  for (const byte of topic) {
    if (byte === SLASH) levels++
    if (byte === PLUS || byte === HASH) return 'a topic has a wildcard'
    if (byte === 0) return 'a topic has the character NUL'
  }
  if (levels > MAX_TOPIC_LEVELS) return `a topic has more than ${MAX_TOPIC_LEVELS} levels`
  if (!isUtf8(topic)) return 'a topic is not UTF-8'
  return undefined
}
