import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Arrival, MESSAGE_KINDS, type MessageKind, type SpooledMessage } from './message.ts'
import { bearsSets, lifetimeTally, TALLY_PLACES } from './message-tally.ts'

/**
 * How messages stand on disk. A record is
 *
 *     u16 mark · u32 length of the body · u32 crc32 of the body · body
 *     body: u8 flags · f64 receivedAt · u16 length of the topic · u32 ordinal · topic · payload
 *
 * little-endian. The checksum begins with the record's position, so that an old block in the wrong place, or a payload
 * that contains a record, is never taken for one. The ordinal says how many messages that bear reading sets came before
 * (the lowest 32 bits), so that the first whole record behind damage tells how many were lost. Each group of messages
 * that became durable together begins with a *head*: a record without topic whose payload is the tally, f64 by kind
 * and QoS, of everything before it. A segment is a file of groups, named by the position of its first byte; it ends
 * where the next one begins, and whatever stands in it behind that was never acknowledged.
 *
 * Records of spools from before there were heads and ordinals are read too: a flag tells them.
 */

/** A message on its way into the spool. */
export interface Incoming extends Arrival {
  readonly origin: 'mqtt' | 'replay'
}

const MARK = 0x724f
const MARK_BYTES = Buffer.from([MARK & 0xff, MARK >> 8])
const RECORD_PREFIX_BYTES = 10
const OLD_BODY_HEADER_BYTES = 11
const BODY_HEADER_BYTES = 15
export const RECORD_OVERHEAD_BYTES = RECORD_PREFIX_BYTES + BODY_HEADER_BYTES
export const HEAD_BYTES = RECORD_OVERHEAD_BYTES + TALLY_PLACES * 8

const RETAINED = 4
const REPLAYED = 8
const HAS_ORDINAL = 128
const HEAD_KIND = 7

export function recordFlags(message: Incoming, kindIndex: number): number {
  return (
    HAS_ORDINAL |
    (kindIndex << 4) |
    (message.origin === 'replay' ? REPLAYED : 0) |
    (message.retained ? RETAINED : 0) |
    message.qos
  )
}

/**
 * Writes a record at `offset` of `target`, which has room for it.
 *
 * @param position of the record in the spool
 * @param ordinal how many messages that bear sets stand before it
 * @returns its size in bytes
 */
export function writeRecord(
  target: Buffer,
  offset: number,
  position: number,
  flags: number,
  receivedAt: number,
  ordinal: number,
  topic: Uint8Array,
  payload: Uint8Array,
): number {
  const body = offset + RECORD_PREFIX_BYTES
  const topicAt = body + BODY_HEADER_BYTES
  const end = topicAt + topic.length + payload.length
  target[body] = flags
  target.writeDoubleLE(receivedAt, body + 1)
  target.writeUInt16LE(topic.length, body + 9)
  target.writeUInt32LE(ordinal >>> 0, body + 11)
  target.set(topic, topicAt)
  target.set(payload, topicAt + topic.length)
  target.writeUInt16LE(MARK, offset)
  target.writeUInt32LE(end - body, offset + 2)
  target.writeUInt32LE(crc32(target.subarray(body, end), position >>> 0), offset + 6)
  return end - offset
}

const NO_TOPIC = new Uint8Array(0)

/**
 * Writes the head of a group at the beginning of `target`.
 *
 * @param tally of everything before it
 * @param ordinal how many of that bear sets
 */
export function writeHead(target: Buffer, position: number, tally: Float64Array, ordinal: number): void {
  const payload = Buffer.alloc(TALLY_PLACES * 8)
  for (const [place, count] of tally.entries()) payload.writeDoubleLE(count, place * 8)
  writeRecord(target, 0, position, HAS_ORDINAL | (HEAD_KIND << 4), Date.now(), ordinal, NO_TOPIC, payload)
}

/**
 * @param end where the bytes that are there end
 * @returns bytes of the whole record at `offset`; 0 where there is none or a damaged one; where the record claims to
 *   reach beyond `end`, its claimed size negated
 */
export function recordSize(buffer: Buffer, offset: number, end: number, position: number): number {
  if (end - offset < RECORD_PREFIX_BYTES) return -RECORD_PREFIX_BYTES
  if (buffer.readUInt16LE(offset) !== MARK) return 0
  const length = buffer.readUInt32LE(offset + 2)
  if (length < OLD_BODY_HEADER_BYTES) return 0
  const body = offset + RECORD_PREFIX_BYTES
  if (length > end - body) return -(length + RECORD_PREFIX_BYTES)
  const valid = crc32(buffer.subarray(body, body + length), position >>> 0) === buffer.readUInt32LE(offset + 6)
  return valid ? length + RECORD_PREFIX_BYTES : 0
}

/** Whether the whole record is the head of a group. */
export function isHead(buffer: Buffer, offset: number): boolean {
  return flagsAt(buffer, offset) >> 4 === ((HAS_ORDINAL >> 4) | HEAD_KIND)
}

/** The tally of everything before a head. */
export function headTally(buffer: Buffer, offset: number): Float64Array {
  const tally = lifetimeTally()
  for (let place = 0; place < TALLY_PLACES; place++)
    tally[place] = buffer.readDoubleLE(offset + RECORD_OVERHEAD_BYTES + place * 8)
  return tally
}

/** How many messages that bear sets stand before a whole record, the lowest 32 bits; −1 in one of an old spool. */
export function recordOrdinal(buffer: Buffer, offset: number): number {
  if (flagsAt(buffer, offset) < HAS_ORDINAL) return -1
  return buffer.readUInt32LE(offset + RECORD_PREFIX_BYTES + 11)
}

/** Kind and QoS of a whole record that is a message. */
export function recordKind(buffer: Buffer, offset: number): { kind: MessageKind; qos: 0 | 1 | 2 } {
  const flags = flagsAt(buffer, offset)
  return { kind: kindOf(flags), qos: qosOf(flags) }
}

/** When a whole record was received. */
export function recordReceivedAt(buffer: Buffer, offset: number): number {
  return buffer.readDoubleLE(offset + RECORD_PREFIX_BYTES + 1)
}

/** Ordinal of what stands behind a whole record whose ordinal this is. */
export function nextOrdinal(buffer: Buffer, offset: number, ordinal: number): number {
  const counts = !isHead(buffer, offset) && bearsSets(kindOf(flagsAt(buffer, offset)))
  return counts ? (ordinal + 1) >>> 0 : ordinal
}

/** The message of a whole record; its payload is a view of `buffer`. */
export function readRecord(buffer: Buffer, offset: number, size: number, position: number): SpooledMessage {
  const body = offset + RECORD_PREFIX_BYTES
  const flags = flagsAt(buffer, offset)
  const topic = body + (flags >= HAS_ORDINAL ? BODY_HEADER_BYTES : OLD_BODY_HEADER_BYTES)
  const payload = topic + buffer.readUInt16LE(body + 9)
  return {
    position,
    next: position + size,
    receivedAt: recordReceivedAt(buffer, offset),
    topic: buffer.toString('utf8', topic, payload),
    payload: buffer.subarray(payload, offset + size),
    qos: qosOf(flags),
    retained: (flags & RETAINED) !== 0,
    origin: flags & REPLAYED ? 'replay' : 'mqtt',
    kind: kindOf(flags),
  }
}

function flagsAt(buffer: Buffer, offset: number): number {
  return buffer[offset + RECORD_PREFIX_BYTES] ?? 0
}

function kindOf(flags: number): MessageKind {
  return MESSAGE_KINDS[(flags >> 4) & 7] ?? 'other'
}

function qosOf(flags: number): 0 | 1 | 2 {
  return (flags & 3) as 0 | 1 | 2
}

/**
 * Looks for the next whole record after damage.
 * @returns its offset, or −1
 */
export function findRecord(buffer: Buffer, from: number, end: number, base: number): number {
  for (let offset = buffer.indexOf(MARK_BYTES, from); offset >= 0 && offset < end; ) {
    if (recordSize(buffer, offset, end, base + offset) > 0) return offset
    offset = buffer.indexOf(MARK_BYTES, offset + 1)
  }
  return -1
}

export interface Segment {
  readonly path: string
  /** Position of its first byte. */
  readonly base: number
}

const SEGMENT_NAME = /^(\d{16})\.spool$/

export function segmentPath(folder: string, base: number): string {
  return join(folder, `${String(base).padStart(16, '0')}.spool`)
}

/** The segments of a folder, oldest first. */
export function listSegments(folder: string): Segment[] {
  const segments: Segment[] = []
  for (const name of readdirSync(folder)) {
    const base = SEGMENT_NAME.exec(name)?.[1]
    if (base !== undefined) segments.push({ path: join(folder, name), base: Number(base) })
  }
  return segments.sort((a, b) => a.base - b.base)
}
