/** Packets of MQTT 3.1.1 as bytes. */

/** CONNECT of MQTT 3.1.1, clean session. */
export function connectPacket(
  clientId: string,
  options: { username?: string; password?: string; keepAliveSeconds?: number } = {},
): Buffer {
  const { username, password, keepAliveSeconds = 0 } = options
  const flags = 2 | (username === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40)
  const texts = [clientId, username, password].filter((text) => text !== undefined).map(mqttText)
  const head = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, flags, keepAliveSeconds >> 8, keepAliveSeconds & 255])
  return packet(0x10, Buffer.concat([head, ...texts]))
}

/** The fixed header of a PUBLISH at QoS 1, its topic and message id; the payload is still to follow. */
export function publishHead(topic: string, payloadBytes: number): Buffer {
  const head = Buffer.concat([mqttText(topic), Buffer.from([0, 1])])
  return Buffer.concat([Buffer.from([0x32]), remainingLength(head.length + payloadBytes), head])
}

/** A PUBLISH at QoS 1, or at QoS 0 without an id. */
export function publishPacket(topic: string, payload: string | Buffer, { id }: { id?: number } = {}): Buffer {
  const idBytes = id === undefined ? Buffer.alloc(0) : Buffer.from([id >> 8, id & 255])
  return packet(id === undefined ? 0x30 : 0x32, Buffer.concat([mqttText(topic), idBytes, Buffer.from(payload)]))
}

export function packet(first: number, rest: Buffer): Buffer {
  return Buffer.concat([Buffer.from([first]), remainingLength(rest.length), rest])
}

export function mqttText(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}

function remainingLength(length: number): Buffer {
  const bytes: number[] = []
  for (let rest = length; rest > 0 || bytes.length === 0; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) | (rest >= 128 ? 128 : 0))
  }
  return Buffer.from(bytes)
}
