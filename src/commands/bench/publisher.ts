import { connect } from 'node:net'
import type { LatencyHistogram } from './latency-histogram.ts'

export interface PublisherOptions {
  readonly port: number
  readonly machine: string
  /** Messages that may be unacknowledged. */
  readonly window: number
  /** Messages in all. */
  readonly quota: number
  /** Of JSON, always as long. */
  readonly payload: string
  /** Writes the payload of a message over the one in the packet. */
  readonly write: (packet: Buffer, at: number, number: number) => void
  /** Number of the first message. */
  readonly first: number
  readonly latencies: LatencyHistogram
  /** The broker has let us in. */
  readonly onUp: () => void
  /** After acknowledgements have come. */
  readonly onAcknowledged: (count: number) => void
  /** Once, when the connection is over: by `end`, or with the reason. */
  readonly onEnd: (reason: string | undefined) => void
}

/** A machine that publishes with QoS 1. Acknowledgements come in the order of the messages, or it counts as an error. */
export interface Publisher {
  readonly sent: number
  readonly acknowledged: number
  /** Publishes as many as the window has room for. */
  fill(): void
  /**
   * Publishes one message that was due at `dueMs` (of `performance.now`): its time begins there, even if it was held up.
   * @returns false: the window is full
   */
  publish(dueMs: number): boolean
  end(): void
}

const CONNACK = 0x20
const PUBACK = 0x40
const PACKET_IDS = 65_535
/** One for all connections: what is read is used up at once. */
const received = Buffer.alloc(1 << 16)

/**
 * MQTT 3.1.1 written by hand on a socket. The packets of a window stand ready in one buffer and are written over when
 * their turn comes again, which is after their acknowledgement, so never while they are being sent.
 */
export function connectPublisher(options: PublisherOptions): Publisher {
  const { port, machine, window, quota, payload, write, first, latencies } = options
  const { packet, packetIdAt, payloadAt } = publishPacket(`machines/${machine}/telemetry`, payload)
  const size = packet.length
  const packets = Buffer.alloc(size * window)
  for (let slot = 0; slot < window; slot++) packet.copy(packets, slot * size)
  const dueAt = new Float64Array(window)
  let sent = 0
  let acknowledged = 0
  let ended = false
  const answer = new Uint8Array(4) // CONNACK and PUBACK, all that we are sent, have four bytes each
  let answered = 0

  const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer: received, callback: read } })
  socket.once('connect', () => socket.write(connectPacket(machine)))
  socket.once('error', (error) => finish(error.message))
  socket.once('close', () => finish('the connection was closed'))

  function finish(reason: string | undefined): void {
    if (ended) return
    ended = true
    socket.destroy()
    options.onEnd(reason)
  }

  function read(length: number): boolean {
    const now = performance.now()
    const before = acknowledged
    for (let at = 0; at < length && !ended; at++) {
      answer[answered++] = received[at] as number
      if (answered < 4) continue
      answered = 0
      take(now)
    }
    if (acknowledged > before) options.onAcknowledged(acknowledged - before)
    return true
  }

  function take(now: number): void {
    const fault = faultOf(answer, packetId(acknowledged))
    if (fault !== undefined) finish(fault)
    else if (answer[0] === CONNACK) options.onUp()
    else {
      latencies.note(now - (dueAt[acknowledged % window] as number))
      acknowledged++
    }
  }

  function prepare(slot: number, dueMs: number): void {
    const at = slot * size
    packets.writeUInt16BE(packetId(sent), at + packetIdAt)
    write(packets, at + payloadAt, first + sent)
    dueAt[slot] = dueMs
    sent++
  }

  return {
    get sent() {
      return sent
    },
    get acknowledged() {
      return acknowledged
    },
    fill() {
      if (ended) return
      const now = performance.now()
      for (let room = Math.min(window - (sent - acknowledged), quota - sent); room > 0; ) {
        const slot = sent % window
        const count = Math.min(room, window - slot)
        for (let next = slot; next < slot + count; next++) prepare(next, now)
        socket.write(packets.subarray(slot * size, (slot + count) * size))
        room -= count
      }
    },
    publish(dueMs) {
      if (ended || sent - acknowledged >= window || sent >= quota) return false
      const slot = sent % window
      prepare(slot, dueMs)
      socket.write(packets.subarray(slot * size, (slot + 1) * size))
      return true
    },
    end() {
      if (!ended) socket.write(Buffer.from([0xe0, 0]), () => finish(undefined))
    },
  }
}

/** What is wrong with a packet of the broker, if anything is. */
function faultOf([type = 0, length, high = 0, low = 0]: Uint8Array, expectedId: number): string | undefined {
  if (length !== 2 || (type !== CONNACK && type !== PUBACK)) return `unexpected packet of type 0x${type.toString(16)}`
  if (type === CONNACK) return low === 0 ? undefined : `refused with code ${low}`
  return high * 256 + low === expectedId ? undefined : 'an acknowledgement came out of order'
}

function packetId(message: number): number {
  return 1 + (message % PACKET_IDS)
}

function connectPacket(clientId: string): Buffer {
  const keepAliveSeconds = 300
  const body = [text('MQTT'), Buffer.from([4, 2, keepAliveSeconds >> 8, keepAliveSeconds & 255]), text(clientId)]
  return withHeader(0x10, Buffer.concat(body))
}

/** A PUBLISH with QoS 1, and where its packet id and its payload stand. */
function publishPacket(topic: string, payload: string): { packet: Buffer; packetIdAt: number; payloadAt: number } {
  const packet = withHeader(0x32, Buffer.concat([text(topic), Buffer.alloc(2), Buffer.from(payload)]))
  const payloadAt = packet.length - Buffer.byteLength(payload)
  return { packet, packetIdAt: payloadAt - 2, payloadAt }
}

function withHeader(type: number, body: Buffer): Buffer {
  const header = [type]
  for (let rest = body.length; ; rest >>= 7) {
    const last = rest < 128
    header.push(last ? rest : (rest & 127) | 128)
    if (last) return Buffer.concat([Buffer.from(header), body])
  }
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}
