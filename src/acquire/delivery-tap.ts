import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { Accept } from './broker-front.ts'
import { openPublishReader } from './publish-reader.ts'

/** What was taken over and is not durable yet, of all connections one after another. */
export interface Held {
  bytes: number
  /** Connections that do not read until there is room. */
  readonly waiting: Set<() => void>
}

export interface DeliveryTapOptions {
  readonly protocolVersion: 4 | 5
  readonly maxPacketBytes: number
  readonly accept: Accept
  readonly held: Held
  /** So many messages were not made durable; the connection ends, so that they come again. */
  readonly onRefused: (messages: number) => void
  /** Acknowledged and dropped: the broker would send it for ever. */
  readonly onTooLarge: (topic: string, bytes: number) => void
}

/** A connection to a broker without the messages that the broker delivers: those are taken and acknowledged beside. */
export interface DeliveryTap extends Duplex {
  /** Takes nothing more. Resolves when what was taken is acknowledged, or the connection is gone. */
  finish(): Promise<void>
}

/** Messages that become durable together, mostly. */
interface Batch {
  readonly durable: Promise<void>
  /** First byte and packet identifier of each acknowledgement, in the order of receipt. */
  readonly acks: number[]
  messages: number
  bytes: number
  done: boolean
}

const HELD_BYTES = 16 << 20 // beyond it nothing is read, and below half of it again
const MESSAGE_BYTES = 100 // about what a held message takes beside topic and payload
const PUBACK = 0x40
const PUBREC = 0x50
const PINGREQ = 0xc0
const PINGRESP = Buffer.from([0xd0, 0])

/**
 * Stands between a broker's bytes and MQTT.js. Each PUBLISH goes to `accept`, and PUBACK (PUBREC at QoS 2) goes back when
 * that has made it durable, in the order of receipt; everything else passes, so no ping and no message to a machine waits
 * behind an acknowledgement.
 */
export function tapDeliveries(inner: Duplex, options: DeliveryTapOptions): DeliveryTap {
  const { accept, held } = options
  const batches: Batch[] = []
  let receivedAt = 0
  let heard = false // since our last ping
  let finishing = false
  let finished = () => {}

  const read = openPublishReader({
    ...options,
    onPublish(topic, payload, qos, retained, id) {
      if (finishing) return
      const bytes = topic.length + payload.length + MESSAGE_BYTES
      held.bytes += bytes
      const durable = accept({ receivedAt, topic, payload, qos, retained })
      const batch = batchOf(durable)
      batch.messages++
      batch.bytes += bytes
      if (qos > 0) batch.acks.push((qos === 1 ? PUBACK : PUBREC) * 65_536 + id)
    },
    onTooLarge(topic, bytes, qos, id) {
      if (finishing) return
      options.onTooLarge(topic, bytes)
      const batch = batchOf(batches.at(-1)?.durable ?? Promise.resolve())
      if (qos > 0) batch.acks.push((qos === 1 ? PUBACK : PUBREC) * 65_536 + id)
    },
    onOther: (packet) => tap.push(packet), // small and few, and MQTT.js takes them at once
  })

  /** What is accepted in one turn shares its promise, as a rule: one reaction for all of it. */
  const batchOf = (durable: Promise<void>): Batch => {
    const last = batches.at(-1)
    if (last?.durable === durable && !last.done) return last
    const batch: Batch = { durable, acks: [], messages: 0, bytes: 0, done: false }
    batches.push(batch)
    durable.then(
      () => settle(batch),
      () => refuse(batch),
    )
    return batch
  }

  const settle = (batch: Batch) => {
    letGo(held, batch.bytes)
    batch.done = true
    while (batches[0]?.done) {
      const { acks } = batches.shift() as Batch
      if (acks.length > 0 && !tap.destroyed) inner.write(packets(acks))
    }
    if (batches.length === 0) finished()
  }

  const refuse = (batch: Batch) => {
    letGo(held, batch.bytes)
    options.onRefused(batch.messages)
    tap.destroy()
  }

  const goOn = () => {
    held.waiting.delete(goOn)
    inner.resume()
  }

  /** The answer of a broker that sends, or that we do not let send, may be far behind: it is alive without it. */
  const watchPings = (packet: Buffer) => {
    if (packet.length !== 2 || packet[0] !== PINGREQ) return
    if (heard || held.waiting.has(goOn)) tap.push(PINGRESP)
    heard = false
  }

  const tap: DeliveryTap = Object.assign(
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        watchPings(chunk)
        inner.write(chunk)
        done()
      },
      // a packet of MQTT.js comes in pieces, none of which may wait for another packet, nor be sent by itself
      writev(pieces: { chunk: Buffer }[], done) {
        const chunks = pieces.map(({ chunk }) => chunk)
        chunks.forEach(watchPings)
        inner.write(Buffer.concat(chunks))
        done()
      },
      final(done) {
        inner.end()
        done()
      },
      destroy(error, done) {
        held.waiting.delete(goOn)
        inner.destroy()
        finished()
        done(error)
      },
    }),
    {
      finish() {
        finishing = true
        return new Promise<void>((resolve) => {
          finished = resolve
          if (batches.length === 0 || tap.destroyed) resolve()
        })
      },
    },
  )

  inner.on('data', (chunk: Buffer) => {
    if (tap.destroyed) return
    heard = true
    receivedAt = Date.now()
    try {
      read(chunk)
    } catch (error) {
      tap.destroy(error as Error)
      return
    }
    if (held.bytes < HELD_BYTES || held.waiting.has(goOn)) return
    held.waiting.add(goOn)
    inner.pause()
  })
  inner.on('error', (error) => tap.destroy(error))
  inner.on('close', () => tap.destroy())
  if (inner instanceof Socket) inner.setNoDelay(true) // acknowledgements are small, and the broker waits for them
  return tap
}

function letGo(held: Held, bytes: number): void {
  held.bytes -= bytes
  if (held.bytes > HELD_BYTES / 2) return
  for (const goOn of held.waiting) goOn()
}

function packets(acks: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(acks.length * 4)
  let at = 0
  for (const ack of acks) {
    bytes[at] = ack >> 16
    bytes[at + 1] = 2 // bytes that follow
    at = bytes.writeUInt16BE(ack & 65_535, at + 2)
  }
  return bytes
}
