import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { listening } from './external-case.ts'

type Direction = 'to server' | 'to client'

export interface TcpProxy {
  readonly address: string
  /** How many connections there have been. */
  connections(): number
  /** Bytes that went to the server, of all connections. */
  sent(): Buffer
  /** Holds back for so long, from now on. */
  delay(ms: number): void
  /** Lets nothing through in one direction until `mend`, as if the network had swallowed it. */
  stall(direction: Direction): void
  mend(): void
  /** Ends the connections that there are. */
  cut(): void
  /** Ends the connection on which the next chunk goes to the client, when half of that chunk is through. */
  halve(): void
}

/** A network that can be bad, between a client and a server of this machine. */
export async function tcpProxy(target: { readonly address: string }): Promise<TcpProxy> {
  const { hostname, port } = new URL(target.address)
  const sockets: { readonly socket: Socket; readonly direction: Direction }[] = []
  const sent: Buffer[] = []
  const stalled = new Set<Direction>()
  let connections = 0
  let delayMs = 0
  let halving = false

  const pass = (from: Socket, to: Socket, direction: Direction) => {
    sockets.push({ socket: from, direction })
    if (stalled.has(direction)) from.pause()
    from.on('data', (chunk: Buffer) => {
      if (direction === 'to server') sent.push(chunk)
      const half = halving && direction === 'to client'
      if (half) halving = false
      const write = () => {
        if (to.destroyed) return
        to.write(half ? chunk.subarray(0, chunk.length / 2) : chunk, () => {
          if (half) from.destroy()
        })
      }
      if (delayMs > 0) setTimeout(write, delayMs)
      else write()
    })
    from.on('error', () => {})
    from.on('close', () => to.destroy())
  }
  const cut = () => {
    for (const { socket } of sockets.splice(0)) socket.destroy()
  }

  const listener = createServer((client) => {
    connections++
    const server = connect(Number(port), hostname)
    pass(client, server, 'to server')
    pass(server, client, 'to client')
  })
  const ownPort = await listening(listener)
  onTestFinished(() => {
    cut()
    listener.close()
  })
  return {
    address: `mqtt://127.0.0.1:${ownPort}`,
    connections: () => connections,
    sent: () => Buffer.concat(sent),
    delay(ms) {
      delayMs = ms
    },
    stall(direction) {
      stalled.add(direction)
      for (const each of sockets) if (each.direction === direction) each.socket.pause()
    },
    mend() {
      delayMs = 0
      stalled.clear()
      for (const { socket } of sockets) socket.resume()
    },
    cut,
    halve() {
      halving = true
    },
  }
}
