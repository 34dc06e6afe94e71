import { fixedHeaderBytes, PUBLISH, publishFault, remainingLength, topicEnd } from './mqtt-packet.ts'

export interface PublishReaderOptions {
  /** As it was agreed with CONNECT: in 5, properties stand before the payload. */
  readonly protocolVersion: 4 | 5
  /** A larger PUBLISH is passed over without being kept in memory. */
  readonly maxPacketBytes: number
  /**
   * A PUBLISH that has come in whole; its payload is valid during the call only.
   * @param id packet identifier; 0 at QoS 0
   */
  readonly onPublish: (topic: string, payload: Buffer, qos: 0 | 1 | 2, retained: boolean, id: number) => void
  /** One that is passed over. */
  readonly onTooLarge: (topic: string, packetBytes: number, qos: 0 | 1 | 2, id: number) => void
  /** Any other packet, whole. */
  readonly onOther: (packet: Buffer) => void
}

const LENGTH_BYTES = 4 // of the length in a fixed header, at most
const HEAD_BYTES = 1 + LENGTH_BYTES + 2 + 65_535 + 2 // of a PUBLISH up to its identifier, at most

/**
 * Takes the PUBLISH packets out of what a broker sends, however its bytes are cut into chunks.
 *
 * @returns to be called with each chunk
 * @throws {Error} from that call: the bytes are not MQTT, and the connection is of no use any more
 */
export function openPublishReader(options: PublishReaderOptions): (chunk: Buffer) => void {
  const { maxPacketBytes, onOther } = options
  const kept: Buffer[] = [] // of a packet that has not come in whole
  let keptBytes = 0
  let wantedBytes = 0 // with so many of it there is something to do
  let passingOver = 0 // bytes still to come of a packet that is too large

  const keep = (bytes: Buffer, until: number) => {
    kept.push(bytes)
    keptBytes += bytes.length
    wantedBytes = until
  }

  return (chunk) => {
    let bytes = chunk
    if (keptBytes > 0) {
      keep(chunk, wantedBytes)
      if (keptBytes < wantedBytes) return
      bytes = Buffer.concat(kept.splice(0), keptBytes)
      keptBytes = 0
    }
    let at = Math.min(passingOver, bytes.length)
    passingOver -= at
    while (at < bytes.length) {
      const left = bytes.length - at
      const size = packetSize(bytes, at)
      if (size === 0) return keep(bytes.subarray(at), left + 1)
      const isPublish = (bytes[at] as number) >> 4 === PUBLISH
      const enough = isPublish && size > maxPacketBytes ? Math.min(size, HEAD_BYTES) : size
      if (left < enough) return keep(bytes.subarray(at), enough)
      if (isPublish) readPublish(bytes, at, at + size, options)
      else onOther(bytes.subarray(at, at + size))
      passingOver = Math.max(0, size - left)
      at += size
    }
  }
}

/** @returns bytes of the packet that begins there, its fixed header included; 0: its length has not come in whole */
function packetSize(bytes: Buffer, at: number): number {
  const headerBytes = fixedHeaderBytes(bytes, at, bytes.length)
  if (headerBytes < 0) throw notMqtt('the length of a packet is none')
  return headerBytes === 0 ? 0 : headerBytes + remainingLength(bytes, at, headerBytes)
}

/** @param end of the packet; of one that is passed over, no more than its head needs to be there */
function readPublish(bytes: Buffer, start: number, end: number, options: PublishReaderOptions): void {
  const { protocolVersion, maxPacketBytes, onPublish, onTooLarge } = options
  const flags = bytes[start] as number
  const body = start + fixedHeaderBytes(bytes, start, bytes.length)
  const fault = publishFault(bytes, flags & 15, body, end)
  if (fault) throw notMqtt(fault)
  const qos = ((flags >> 1) & 3) as 0 | 1 | 2
  const idStart = topicEnd(bytes, body)
  const topic = bytes.toString('utf8', body + 2, idStart)
  const id = qos > 0 ? bytes.readUInt16BE(idStart) : 0
  if (end - start > maxPacketBytes) {
    onTooLarge(topic, end - start, qos, id)
    return
  }
  const headEnd = qos > 0 ? idStart + 2 : idStart
  const payloadStart = protocolVersion === 5 ? propertiesEnd(bytes, headEnd, end) : headEnd
  onPublish(topic, bytes.subarray(payloadStart, end), qos, (flags & 1) === 1, id)
}

/** What properties say (expiry, content type, what the sender adds) changes nothing for us. */
function propertiesEnd(bytes: Buffer, start: number, end: number): number {
  const before = start - 1 // their length is written as that of a packet, behind its first byte
  const lengthEnd = fixedHeaderBytes(bytes, before, end)
  const at = before + lengthEnd + remainingLength(bytes, before, lengthEnd)
  if (lengthEnd <= 0 || at > end) throw notMqtt('a PUBLISH is shorter than its properties')
  return at
}

function notMqtt(fault: string): Error {
  return new Error(`the broker sends what is not MQTT: ${fault}`)
}
