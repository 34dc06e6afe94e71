import { createHash, timingSafeEqual } from 'node:crypto'
import { type EventEmitter, once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { Aedes, type Client, type PublishPacket } from 'aedes'
import type { Log } from '../log.ts'
import type { Accept, BrokerFront } from './broker-front.ts'
import { guardPacketSize } from './packet-guard.ts'
import { parseTopic } from './topics.ts'

export interface EmbeddedBrokerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly prefix: string
  /** What every client must give; without it anybody may connect. */
  readonly credentials?: { readonly username: string; readonly password: string } | undefined
  readonly maxPacketBytes?: number
  readonly accept: Accept
  readonly log: Log
}

const DRAIN_MS = 5_000 // a subscriber that reads nothing for so long is cut off
const MAX_FORWARDS = 5_000 // messages of machines on their way to subscribers; what comes beyond is not forwarded
const CLOSE_MS = 1_500

/** The port is somebody else's; the message names the setting. */
export class MqttPortTaken extends Error {
  override readonly name = 'MqttPortTaken'
  constructor(host: string, port: number) {
    super(`MQTT_PORT ${port} on ${host} is taken: another broker runs there, choose another port or stop it`)
  }
}

/**
 * A broker in this process for MQTT 3.1.1, made to take in: a message is acknowledged when `accept` has made it
 * durable, at any QoS, wills included. What machines send is also passed on to whoever subscribed, at QoS 0 and as far
 * as the subscribers keep up; retained where it is a status. Only we publish `…/advice`.
 *
 * @throws {MqttPortTaken}
 */
export async function startEmbeddedBroker(options: EmbeddedBrokerOptions): Promise<BrokerFront> {
  const { host, port, prefix, credentials, accept, log, maxPacketBytes = 16 << 20 } = options
  const refused = { packet_too_large: 0, protocol: 0, not_authorized: 0, not_durable: 0, not_forwarded: 0 }
  const sockets = new Set<Socket>()
  const audience = openAudience()
  let closing = false

  const broker = await Aedes.createBroker({
    concurrency: 0, // no queue in common: a subscriber that hangs holds up nobody but itself
    drainTimeout: DRAIN_MS,
    connectTimeout: 10_000,
    maxClientsIdLength: 65_535,
    queueLimit: 1_000, // packets sent in one piece with CONNECT
    authenticate(_client, username, password, done) {
      if (!credentials || permits(credentials, username, password)) return done(null, true)
      refused.not_authorized++
      done(null, false)
    },
    authorizePublish(_client, packet, done) {
      // when we stop, clients lose their connection through us: that is nobody's last will
      if (closing) return done(new Error('the broker stops'))
      const { topic, qos, retain } = packet
      const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
      accept({ receivedAt: Date.now(), topic, payload, qos, retained: retain }).then(
        () => done(null),
        (error: Error) => {
          refused.not_durable++
          done(error) // cuts the connection, so the client sends again
        },
      )
    },
  })

  const publishToAll = broker.publish.bind(broker)
  let forwards = 0
  const forward = (packet: PublishPacket) => {
    const topic = parseTopic(packet.topic, prefix)
    if (topic?.kind === 'advice' || packet.topic.startsWith('$')) return
    const retain = packet.retain && topic?.kind === 'status' // or a client could fill the memory under ever new topics
    if (!retain && !audience.listens()) return
    if (forwards >= MAX_FORWARDS) {
      refused.not_forwarded++
      return
    }
    forwards++
    const { payload } = packet
    publishToAll({ cmd: 'publish', topic: packet.topic, payload, qos: 0, retain, dup: false }, () => {
      forwards--
    })
  }
  // here come what clients sent, with their client, and what the broker tells itself under $SYS, without
  broker.publish = (packet: PublishPacket, clientOrDone: unknown, done?: () => void) => {
    if (typeof clientOrDone === 'function') return publishToAll(packet, clientOrDone as () => void)
    forward(packet)
    done?.() // the client does not wait for subscribers
  }

  broker.on('subscribe', (subscriptions, client) => audience.add(client.id, subscriptions, prefix))
  broker.on('unsubscribe', (filters, client) => audience.remove(client.id, filters))
  const onClientError = (client: Client, error: Error) => {
    if (closing) return
    refused.protocol++
    log.debug({ client: client.id, err: error }, 'connection of a client ended by an error')
  }
  broker.on('clientError', onClientError)
  broker.on('connectionError', onClientError)
  const events: EventEmitter = broker // its types leave out the event of its own failure
  events.on('error', (error: Error) => log.error({ err: error }, 'embedded broker failed'))

  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.setNoDelay(true) // acknowledgements are small, and are waited for
    guardPacketSize(socket, maxPacketBytes, () => {
      refused.packet_too_large++
      log.warn({ address: socket.remoteAddress, maxPacketBytes }, 'packet too large, connection ended')
    })
    broker.handle(socket)
  })
  try {
    await listen(server, host, port)
  } catch (error) {
    await new Promise<void>((done) => broker.close(done))
    throw error
  }
  server.on('error', (error) => log.error({ err: error }, 'embedded broker cannot take connections'))

  const address = server.address()
  const actualPort = typeof address === 'object' && address ? address.port : port
  return {
    address: `mqtt://${host.includes(':') ? `[${host}]` : host}:${actualPort}`,
    publish(topic, payload, { retain }) {
      if (closing) return Promise.reject(new Error('the broker stops'))
      return new Promise((resolve, reject) => {
        publishToAll({ cmd: 'publish', topic, payload, qos: 1, retain, dup: false }, (error) =>
          error ? reject(error) : resolve(),
        )
      })
    },
    connected: () => !closing && server.listening,
    counts: () => ({ connections: broker.connectedClients, refused: { ...refused } }),
    async close() {
      closing = true
      server.close()
      const closed = new Promise<void>((done) => broker.close(done))
      await Promise.race([closed, after(CLOSE_MS)])
      for (const socket of sockets) socket.destroy()
    },
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') throw new MqttPortTaken(host, port)
    throw error
  }
}

function after(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms).unref())
}

function permits(
  credentials: { username: string; password: string },
  username: string | undefined,
  password: Buffer | undefined,
): boolean {
  const given = digest(`${username ?? ''}\0${password?.toString() ?? ''}`)
  return timingSafeEqual(given, digest(`${credentials.username}\0${credentials.password}`))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** Who subscribed to what machines send. Most subscribers are cabs that wait for their own advice, and cost nothing. */
function openAudience() {
  const filters = new Map<string, Set<string>>() // by client id; a lasting session stays in it while it is away
  return {
    add(client: string, subscriptions: readonly { readonly topic: string }[], prefix: string) {
      for (const { topic } of subscriptions) {
        if (parseTopic(topic, prefix)?.kind === 'advice' || topic.startsWith('$')) continue
        const known = filters.get(client) ?? new Set()
        filters.set(client, known.add(topic))
      }
    },
    remove(client: string, topics: readonly string[]) {
      const known = filters.get(client)
      for (const topic of topics) known?.delete(topic)
      if (known?.size === 0) filters.delete(client)
    },
    listens: () => filters.size > 0,
  }
}
