import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { Identity } from './access.ts'
import type { Accept } from './broker-front.ts'
import type { EndReason } from './connection-log.ts'
import { openKnownTopics } from './known-topics.ts'
import { LARGE_BYTES, type LargePackets } from './large-packets.ts'
import {
  DISCONNECT,
  fixedHeaderBytes,
  PUBLISH,
  packetFault,
  publishFault,
  remainingLength,
  topicEnd,
  topicFault,
} from './mqtt-packet.ts'
import type { Pace } from './pace.ts'
import { PartialPacket } from './partial-packet.ts'
import { acknowledgements, type MessageGroup, UndurableMessages } from './undurable-messages.ts'

/** What all connections of a broker have in common. */
export interface Inlet {
  readonly accept: Accept
  /** Whether no message is to be taken, until `roomAgain` is called. */
  full(): boolean
  /** So many bytes more were read and have to wait in memory; fewer, where it is negative. */
  holding(bytes: number): void
  /** Whether so much is held that nothing more is to be read from anybody, until `goOn` is called. */
  crowded(): boolean
  readonly maxPacketBytes: number
  readonly large: LargePackets
  /** Whether anybody hears what is sent under a topic: only then it is passed on when it is durable. */
  heard(topic: string, retained: boolean): boolean
  passOn(topic: string, payload: Buffer, retained: boolean): void
  /** A packet was refused; its connection ends. `detail` is a sentence without an end. */
  refused(connection: MqttConnection, reason: PacketRefusal, detail: string): void
  /** The identity sends more than it may: its messages wait. `wasTold`: so it did within the last minute. */
  heldBack(connection: MqttConnection, wasTold: boolean): void
}

export type PacketRefusal = Extract<EndReason, 'packet_too_large' | 'protocol' | 'not_authorized' | 'not_durable'>

/** What a connection is granted when its client is let in. */
export interface Admission {
  readonly identity: Identity
  /** Shared by all connections of the identity; undefined: as fast as it likes. */
  readonly pace: Pace | undefined
}

/** Before we know who it is. */
const MAX_CONNECT_BYTES = 64 << 10
/** So much of one connection may wait for the disk; its socket is read no further. It keeps memory flat and one sender from filling everybody's group. */
const MAX_UNDURABLE_BYTES = 256 << 10
/** A client that does not read its acknowledgements for so long is cut off. */
const DRAIN_MS = 5_000
const LAST_WORDS_MS = 1_000
/** While an identity is held back, it is looked at so often at most. */
const SHORTEST_WAIT_MS = 20
const TELL_AGAIN_MS = 60_000

/**
 * A client's connection as the broker library reads and writes it. PUBLISH at QoS 0 and 1, which is nearly all that ever
 * comes, is taken out of the stream here and acknowledged when it is durable; every other packet is read by the library,
 * one at a time, and what stands behind it waits until the library is done with it.
 */
export class MqttConnection extends Duplex {
  readonly address: string
  /** Common name of the client's certificate, where its chain is trusted. */
  readonly certificate: string | undefined
  /** As the client gave them; set with its CONNECT. */
  clientId = ''
  username: string | undefined
  /** Set when the client has shown who it is. */
  admission: Admission | undefined
  /** Longest silence that is allowed; 0: any. */
  keepAliveMs = 0
  willTopic: string | undefined
  readonly #socket: Socket
  readonly #inlet: Inlet
  #maxPacketBytes = MAX_CONNECT_BYTES

  #endReason: EndReason | undefined
  #endDetail: string | undefined
  #heldBackAt = Number.NEGATIVE_INFINITY

  /** Whether PUBLISH is ours: the client was let in, and told so. */
  #open = false
  #isConnected = false // its CONNECT came
  #forLibrary: Buffer | undefined
  #libraryIsBusy = false
  #onLibraryDone = () => {}

  #receivedAt = 0
  #heardAt = performance.now() // the wall clock may jump
  #chunk: Buffer | undefined
  #at = 0
  #working = false
  #heldBytes = 0 // of the chunk, while it waits
  #paused = false
  #ended = false
  #partial: PartialPacket | undefined

  readonly #undurable = new UndurableMessages(
    (group) => this.#acknowledge(group),
    (error) => this.#refuse('not_durable', error.message),
  )
  #drainTimer: NodeJS.Timeout | undefined
  #paceTimer: NodeJS.Timeout | undefined
  #isPaced = false // the packet at hand was let through by the pace
  /** What the PUBLISH at hand waits for: room in the spool, messages before it, its identity's pace, its turn as a large one. */
  #awaits: 'room' | 'durable' | 'pace' | 'turn' | undefined

  readonly #topics = openKnownTopics()

  constructor(socket: Socket, inlet: Inlet, certificate?: string) {
    super()
    this.certificate = certificate
    this.#socket = socket
    this.#inlet = inlet
    this.address = socket.remoteAddress ?? ''
    socket.setNoDelay(true) // acknowledgements are small, and are waited for
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('end', () => this.#end())
    socket.on('error', () => this.cut('lost'))
    socket.on('close', () => this.cut('lost'))
  }

  /** Why it ended; meaningless before. */
  get endReason(): EndReason {
    return this.#endReason ?? 'lost'
  }

  get endDetail(): string | undefined {
    return this.#endDetail
  }

  /** Whether its client was let in, and told so. */
  get isOpen(): boolean {
    return this.#open
  }

  /** Ends it; the first reason counts. @returns whether this is it */
  cut(reason: EndReason, detail?: string): boolean {
    const isFirst = this.#endReason === undefined
    if (isFirst) this.#endReason = reason
    if (isFirst) this.#endDetail = detail
    this.destroy()
    return isFirst
  }

  /** The client was let in, and told so: from now on its PUBLISH packets are taken here. */
  open(): void {
    const limit = this.admission?.identity.limits.packetBytes ?? Number.POSITIVE_INFINITY
    this.#maxPacketBytes = Math.min(this.#inlet.maxPacketBytes, limit)
    this.#open = true
  }

  /**
   * For how many ms nothing came from the client; 0 while we do not read what it sends.
   *
   * @param now of `performance.now()`
   */
  silentMs(now: number): number {
    return this.#paused ? 0 : now - this.#heardAt
  }

  // the library asks for the next packet when it is done with the last; null says that there is none
  override read(size?: number): Buffer | null {
    if (size === 0) return null // only the stream itself asks so
    const packet = this.#forLibrary
    this.#forLibrary = undefined
    this.#libraryIsBusy = packet !== undefined
    if (packet) return packet
    this.#onLibraryDone()
    this.goOn()
    return null
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#socket.write(chunk)) done()
    else this.#socket.once('drain', done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const bytes = Buffer.concat(chunks.map(({ chunk }) => chunk))
    this._write(bytes, 'binary', done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#drainTimer)
    clearTimeout(this.#paceTimer)
    this.#chunk = undefined
    this.#hold(0)
    this.#partial = undefined
    if (error || this.#socket.writableLength === 0) this.#socket.destroy()
    else this.#endSocket() // it is being told why
    done(error)
  }

  #endSocket(): void {
    const late = setTimeout(() => this.#socket.destroy(), LAST_WORDS_MS)
    this.#socket.once('close', () => clearTimeout(late))
    this.#socket.destroySoon()
  }

  #receive(chunk: Buffer): void {
    this.#receivedAt = Date.now()
    this.#heardAt = performance.now()
    this.#chunk = chunk
    this.#at = 0
    this.goOn()
  }

  #end(): void {
    this.#ended = true
    this.goOn()
  }

  /** Works through what has come, as far as nothing is in its way, and reads on. */
  goOn(): void {
    if (this.#working) return
    this.#working = true
    while (this.#chunk && !this.#mustWait()) {
      if (this.#at < this.#chunk.length || this.#partial?.isComplete) this.#at = this.#take(this.#chunk, this.#at)
      else this.#chunk = undefined
    }
    this.#working = false
    if (this.destroyed) return
    this.#hold(this.#chunk ? this.#chunk.length - this.#at : 0)
    if (this.#chunk) this.pauseReading()
    else if (this.#ended && !this.#libraryIsBusy) this.cut('lost')
    else if (this.#paused && !this.#mustWait() && !this.#inlet.crowded()) this.#resume()
  }

  #mustWait(): boolean {
    return this.#libraryIsBusy || this.#awaits !== undefined || this.#drainTimer !== undefined || this.destroyed
  }

  #hold(bytes: number): void {
    if (bytes === this.#heldBytes) return
    this.#inlet.holding(bytes - this.#heldBytes)
    this.#heldBytes = bytes
  }

  /** The spool takes messages again. */
  roomAgain(): void {
    this.#goOnFrom('room')
  }

  /** Its large packet may go on. */
  takeTurn(): void {
    this.#goOnFrom('turn')
  }

  #goOnFrom(awaited: 'room' | 'durable' | 'pace' | 'turn'): void {
    if (this.#awaits !== awaited) return
    this.#awaits = undefined
    this.goOn()
  }

  /** Reads no more until it goes on. */
  pauseReading(): void {
    if (this.#paused) return
    this.#paused = true
    this.#socket.pause()
  }

  #resume(): void {
    this.#paused = false
    this.#heardAt = performance.now()
    this.#socket.resume()
  }

  /** Takes one packet, or what there is of it. @returns where the next one begins */
  #take(chunk: Buffer, at: number): number {
    if (this.#partial) return this.#takeMore(this.#partial, chunk, at)
    const headerBytes = fixedHeaderBytes(chunk, at, chunk.length)
    if (headerBytes <= 0) {
      if (headerBytes < 0) this.#refuse('protocol', 'the length of a packet is none')
      else this.#partial = new PartialPacket(chunk, at, chunk.length - at + 1)
      return chunk.length
    }
    const body = at + headerBytes
    const end = body + remainingLength(chunk, at, headerBytes)
    if (!this.#fits(end - at)) return chunk.length
    if (!this.#mayGather(chunk[at] as number, end - at)) return at
    if (end <= chunk.length) return this.#takeWhole(chunk, at, body, end) ? end : at
    this.#partial = new PartialPacket(chunk, at, end - at)
    return chunk.length
  }

  #takeMore(partial: PartialPacket, chunk: Buffer, at: number): number {
    const next = at + partial.take(chunk, at)
    if (!partial.isComplete) return next
    const { bytes, length } = partial
    const headerBytes = fixedHeaderBytes(bytes, 0, length)
    if (headerBytes < 0) this.#refuse('protocol', 'the length of a packet is none')
    if (headerBytes === 0) partial.want(length + 1)
    if (headerBytes <= 0) return next
    const end = headerBytes + remainingLength(bytes, 0, headerBytes)
    if (!this.#fits(end) || !this.#mayGather(bytes[0] as number, end)) return next
    partial.want(end)
    if (partial.isComplete && this.#takeWhole(bytes, 0, headerBytes, end)) this.#partial = undefined
    return next
  }

  #fits(packetBytes: number): boolean {
    if (packetBytes <= this.#maxPacketBytes) return true
    this.#refuse('packet_too_large', `a packet has ${packetBytes} bytes`)
    return false
  }

  /** @returns false where it has to be tried again later */
  #takeWhole(bytes: Buffer, start: number, body: number, end: number): boolean {
    const first = bytes[start] as number
    const fault = packetFault(first >> 4, end - body, this.#isConnected)
    if (fault) {
      this.#refuse('protocol', fault)
      return true
    }
    this.#isConnected = true
    if (first >> 4 === DISCONNECT) this.#endReason ??= 'left'
    const isPublish = first >> 4 === PUBLISH && this.#open
    if (isPublish && !this.#mayPass(end - start)) return false
    if (isPublish && !this.#takePublish(bytes, first, body, end)) return true
    if (isPublish && end - start >= LARGE_BYTES) this.#inlet.large.passed(this, this.#libraryIsDone())
    this.#forLibrary = bytes.subarray(start, end)
    this.#libraryIsBusy = true
    this.emit('readable')
    return true
  }

  #libraryIsDone(): Promise<void> {
    return new Promise((done) => {
      this.#onLibraryDone = done
    })
  }

  #mayGather(first: number, packetBytes: number): boolean {
    if (packetBytes < LARGE_BYTES || first >> 4 !== PUBLISH) return true
    if (this.#inlet.large.reserve(this, packetBytes)) return true
    this.#awaits = 'turn'
    return false
  }

  /** Whether a PUBLISH may be taken now. Other packets pass: who waits for its acknowledgement still asks whether we are there. */
  #mayPass(packetBytes: number): boolean {
    if (this.#inlet.full()) this.#awaits = 'room'
    else if (this.#undurable.bytes >= MAX_UNDURABLE_BYTES) this.#awaits = 'durable'
    else if (!this.#isPaced && this.#isHeldBack()) this.#awaits = 'pace'
    else if (packetBytes >= LARGE_BYTES && !this.#inlet.large.pass(this)) this.#awaits = 'turn'
    this.#isPaced = this.#awaits === 'turn'
    return this.#awaits === undefined
  }

  /** @returns whether the library has to take it: at QoS 2 */
  #takePublish(bytes: Buffer, first: number, body: number, end: number): boolean {
    const fault = publishFault(bytes, first & 15, body, end)
    if (fault) {
      this.#refuse('protocol', fault)
      return false
    }
    const id = topicEnd(bytes, body)
    const topic = this.#topic(bytes, body + 2, id)
    if (topic === undefined) return false
    const qos = ((first >> 1) & 3) as 0 | 1 | 2
    if (qos === 2) return true

    const retained = (first & 1) === 1
    const payload = bytes.subarray(qos === 0 ? id : id + 2, end)
    const durable = this.#inlet.accept({ receivedAt: this.#receivedAt, topic, payload, qos, retained })
    if (end - body >= LARGE_BYTES) this.#inlet.large.passed(this, durable)
    const group = this.#undurable.add(durable, end - body)
    if (qos === 1) group.ids.push(((bytes[id] as number) << 8) | (bytes[id + 1] as number))
    // copied, or it would keep the whole chunk in memory
    if (this.#inlet.heard(topic, retained)) group.heard.push({ topic, payload: Buffer.from(payload), retained })
    return false
  }

  #acknowledge(group: MessageGroup): void {
    for (const { topic, payload, retained } of group.heard) this.#inlet.passOn(topic, payload, retained)
    if (this.destroyed) return
    if (group.ids.length > 0 && !this.#socket.write(acknowledgements(group.ids))) this.#awaitDrain()
    this.#goOnFrom('durable')
  }

  /** A client that sends without reading must not fill our memory with acknowledgements. */
  #awaitDrain(): void {
    if (this.#drainTimer) return
    this.#drainTimer = setTimeout(() => this.cut('not_reading'), DRAIN_MS)
    this.#socket.once('drain', () => {
      clearTimeout(this.#drainTimer)
      this.#drainTimer = undefined
      this.goOn()
    })
  }

  #isHeldBack(): boolean {
    const ms = this.admission?.pace?.take() ?? 0
    if (ms === 0) return false
    const now = performance.now()
    const wasTold = now - this.#heldBackAt < TELL_AGAIN_MS
    if (!wasTold) this.#heldBackAt = now
    this.#inlet.heldBack(this, wasTold)
    this.#paceTimer = setTimeout(() => this.#goOnFrom('pace'), Math.max(ms, SHORTEST_WAIT_MS))
    return true
  }

  /** The topic as text, when the client may publish there; otherwise the connection has ended. */
  #topic(bytes: Buffer, from: number, to: number): string | undefined {
    const known = this.#topics.find(bytes, from, to)
    if (known !== undefined) return known
    const topicBytes = Uint8Array.prototype.slice.call(bytes, from, to)
    const fault = topicFault(topicBytes)
    if (fault) {
      this.#refuse('protocol', fault)
      return undefined
    }
    const text = bytes.toString('utf8', from, to)
    if (!this.admission?.identity.mayPublish(text)) {
      this.#refuse('not_authorized', `it may not publish under ${text}`)
      return undefined
    }
    this.#topics.add(topicBytes, text)
    return text
  }

  #refuse(reason: PacketRefusal, detail: string): void {
    if (this.destroyed) return
    this.#inlet.refused(this, reason, detail)
    this.cut(reason, detail)
  }
}
