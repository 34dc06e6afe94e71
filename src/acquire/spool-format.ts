import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Arrival, MESSAGE_KINDS, type MessageKind, type SpooledMessage } from './message.ts'

/**
 * How messages stand on disk. A record is
 *
 *     u16 mark · u32 length of the body · u32 crc32 of the body · body
 *     body: u8 flags · f64 receivedAt · u16 length of the topic · topic · payload
 *
 * little-endian. The checksum begins with the record's position, so that an old block in the wrong place, or a payload
 * that contains a record, is never taken for one. A segment is a file of records, named by the position of its first byte.
 */

/** A message on its way into the spool. */
export interface Incoming extends Arrival {
  readonly origin: SpooledMessage['origin']
}

const MARK = 0x724f
const MARK_BYTES = Buffer.from([MARK & 0xff, MARK >> 8])
export const RECORD_PREFIX_BYTES = 10
const BODY_HEADER_BYTES = 11
export const RECORD_OVERHEAD_BYTES = RECORD_PREFIX_BYTES + BODY_HEADER_BYTES

/** Writes a record at `offset` of `target`, which has room for it; `position` is where that is in the spool. */
export function writeRecord(
  target: Buffer,
  offset: number,
  position: number,
  message: Incoming,
  kind: MessageKind,
  topicBytes: number,
): void {
  const body = offset + RECORD_PREFIX_BYTES
  const payload = body + BODY_HEADER_BYTES + topicBytes
  const end = payload + message.payload.length
  target[body] =
    message.qos |
    (message.retained ? 4 : 0) |
    (message.origin === 'replay' ? 8 : 0) |
    (MESSAGE_KINDS.indexOf(kind) << 4)
  target.writeDoubleLE(message.receivedAt, body + 1)
  target.writeUInt16LE(topicBytes, body + 9)
  target.write(message.topic, body + BODY_HEADER_BYTES, 'utf8')
  target.set(message.payload, payload)
  target.writeUInt16LE(MARK, offset)
  target.writeUInt32LE(end - body, offset + 2)
  target.writeUInt32LE(crc32(target.subarray(body, end), position >>> 0), offset + 6)
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
  if (length < BODY_HEADER_BYTES) return 0
  const body = offset + RECORD_PREFIX_BYTES
  if (length > end - body) return -(length + RECORD_PREFIX_BYTES)
  const valid = crc32(buffer.subarray(body, body + length), position >>> 0) === buffer.readUInt32LE(offset + 6)
  return valid ? length + RECORD_PREFIX_BYTES : 0
}

/** The message of a whole record; its payload is a view of `buffer`. */
export function readRecord(buffer: Buffer, offset: number, size: number, position: number): SpooledMessage {
  const body = offset + RECORD_PREFIX_BYTES
  const flags = buffer.readUInt8(body)
  const payload = body + BODY_HEADER_BYTES + buffer.readUInt16LE(body + 9)
  return {
    position,
    next: position + size,
    receivedAt: buffer.readDoubleLE(body + 1),
    topic: buffer.toString('utf8', body + BODY_HEADER_BYTES, payload),
    payload: buffer.subarray(payload, offset + size),
    qos: (flags & 3) as 0 | 1 | 2,
    retained: (flags & 4) !== 0,
    origin: flags & 8 ? 'replay' : 'mqtt',
    kind: MESSAGE_KINDS[flags >> 4] ?? 'other',
  }
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
