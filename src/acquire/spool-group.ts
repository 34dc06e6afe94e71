import { MESSAGE_KINDS } from './message.ts'
import { bearsSets, messageTally } from './message-tally.ts'
import { HEAD_BYTES, type Incoming, RECORD_OVERHEAD_BYTES, recordFlags, writeRecord } from './spool-format.ts'

/** Messages that become durable together, as they will stand on disk; room for the head is left. */
export interface SpoolGroup {
  buffer: Buffer
  used: number
  /** Position of its first byte. */
  base: number
  /** How many messages of each kind and QoS. */
  readonly tally: Uint32Array
  /** How many messages that bear sets stand before the group, and in it. */
  ordinal: number
  bearing: number
  done: PromiseWithResolvers
}

interface PromiseWithResolvers {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** What a record needs of its topic. */
export interface KnownTopic {
  readonly bytes: Uint8Array
  /** Place in `MESSAGE_KINDS`. */
  readonly kind: number
}

const FIRST_BYTES = 1 << 18
const BEARS_SETS = MESSAGE_KINDS.map(bearsSets)

export function newGroup(base: number, ordinal: number): SpoolGroup {
  const buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
  return { buffer, used: HEAD_BYTES, base, tally: messageTally(), ordinal, bearing: 0, done: withResolvers() }
}

/** A group that is done with, for the next messages. */
export function reuseGroup(group: SpoolGroup, base: number, ordinal: number): SpoolGroup {
  group.used = HEAD_BYTES
  group.base = base
  group.ordinal = ordinal
  group.tally.fill(0)
  group.bearing = 0
  group.done = withResolvers()
  return group
}

export function isEmpty(group: SpoolGroup): boolean {
  return group.used === HEAD_BYTES
}

export function recordBytes(message: Incoming, topic: KnownTopic): number {
  return RECORD_OVERHEAD_BYTES + topic.bytes.length + message.payload.length
}

/** Adds a copy of the message. */
export function addToGroup(group: SpoolGroup, message: Incoming, topic: KnownTopic): void {
  makeRoom(group, recordBytes(message, topic))
  const { buffer, used, base, tally } = group
  const { kind, bytes } = topic
  const { qos, receivedAt, payload } = message
  const ordinal = group.ordinal + group.bearing
  group.used += writeRecord(buffer, used, base + used, recordFlags(message, kind), receivedAt, ordinal, bytes, payload)
  const place = kind * 3 + qos
  tally[place] = (tally[place] ?? 0) + 1
  if (BEARS_SETS[kind]) group.bearing++
}

function makeRoom(group: SpoolGroup, size: number): void {
  const needed = group.used + size
  if (needed <= group.buffer.length) return
  const larger = Buffer.allocUnsafeSlow(Math.max(needed, group.buffer.length * 2))
  group.buffer.copy(larger, 0, 0, group.used)
  group.buffer = larger
}

function withResolvers(): PromiseWithResolvers {
  let resolve!: () => void
  let reject!: (error: Error) => void
  const promise = new Promise<void>((onDone, onFailed) => {
    resolve = onDone
    reject = onFailed
  })
  promise.catch(() => {}) // a message at QoS 0 has nobody who waits for it
  return { promise, resolve, reject }
}
