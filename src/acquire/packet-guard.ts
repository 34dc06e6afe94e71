import type { Socket } from 'node:net'

/**
 * Watches the lengths that MQTT packets announce and ends a connection that announces a larger one than allowed,
 * before any of it is kept in memory. Works on whatever reads the socket with `read()`.
 */
export function guardPacketSize(socket: Socket, maxPacketBytes: number, refused: () => void): void {
  const read = socket.read.bind(socket)
  const within = packetLengths(maxPacketBytes)
  socket.read = (size?: number) => {
    const chunk = read(size) as Buffer | null
    if (chunk === null || within(chunk)) return chunk
    refused()
    socket.destroy()
    return null
  }
}

/** Follows the fixed headers in a stream of MQTT packets; answers false from the first one that is too large. */
function packetLengths(maxPacketBytes: number): (chunk: Buffer) => boolean {
  let left = 0 // of the packet that is passing
  let inLength = false
  let length = 0
  let factor = 1
  return (chunk) => {
    for (let i = 0; i < chunk.length; ) {
      if (left > 0) {
        const passed = Math.min(left, chunk.length - i)
        left -= passed
        i += passed
        continue
      }
      const byte = chunk[i++] as number
      if (!inLength) {
        inLength = true
        length = 0
        factor = 1
        continue
      }
      length += (byte & 127) * factor
      factor *= 128
      if (length > maxPacketBytes) return false
      if (byte < 128 || factor > 128 ** 4) {
        inLength = false
        left = length
      }
    }
    return true
  }
}
