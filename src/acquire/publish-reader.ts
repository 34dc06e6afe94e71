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

const PUBLISH = 3
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
      if (isPublish) readPublish(bytes, at, size, options)
      else onOther(bytes.subarray(at, at + size))
      passingOver = Math.max(0, size - left)
      at += size
    }
  }
}

/** @returns bytes of the packet that begins there, its fixed header included; 0: its length has not come in whole */
function packetSize(bytes: Buffer, at: number): number {
  let length = 0
  let factor = 1
  for (let i = 1; i <= LENGTH_BYTES; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return 0
    length += (byte & 127) * factor
    if (byte < 128) return 1 + i + length
    factor *= 128
  }
  throw notMqtt()
}

/** @param size of the packet; one that is passed over may be longer than the bytes that are there */
function readPublish(bytes: Buffer, start: number, size: number, options: PublishReaderOptions): void {
  const { protocolVersion, maxPacketBytes, onPublish, onTooLarge } = options
  const flags = bytes[start] as number
  const qos = (flags >> 1) & 3
  const end = start + size
  let topicStart = start + 2
  while ((bytes[topicStart - 1] as number) > 127) topicStart++ // past the length
  topicStart += 2
  if (qos === 3 || topicStart > end) throw notMqtt()
  const topicEnd = topicStart + bytes.readUInt16BE(topicStart - 2)
  const headEnd = qos > 0 ? topicEnd + 2 : topicEnd
  if (topicEnd === topicStart || headEnd > end) throw notMqtt()
  const id = qos > 0 ? bytes.readUInt16BE(topicEnd) : 0
  if (qos > 0 && id === 0) throw notMqtt()
  const topic = bytes.toString('utf8', topicStart, topicEnd)
  if (size > maxPacketBytes) {
    onTooLarge(topic, size, qos as 0 | 1 | 2, id)
    return
  }
  const payloadStart = protocolVersion === 5 ? afterProperties(bytes, headEnd, end) : headEnd
  onPublish(topic, bytes.subarray(payloadStart, end), qos as 0 | 1 | 2, (flags & 1) === 1, id)
}

/** What they say (expiry, content type, what the sender adds) changes nothing for us. */
function afterProperties(bytes: Buffer, at: number, end: number): number {
  let length = 0
  let factor = 1
  for (let i = at; i < Math.min(end, at + LENGTH_BYTES); i++) {
    const byte = bytes[i] as number
    length += (byte & 127) * factor
    if (byte > 127) {
      factor *= 128
      continue
    }
    if (i + 1 + length > end) break
    return i + 1 + length
  }
  throw notMqtt()
}

function notMqtt(): Error {
  return new Error('the broker sends what is not MQTT')
}
