import { type EventEmitter, once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { Aedes, type AuthenticateError, type Client, type PublishPacket } from 'aedes'
import type { Log } from '../log.ts'
import type { Access, Identity } from './access.ts'
import { openAudience } from './audience.ts'
import type { Accept, BrokerFront } from './broker-front.ts'
import { type Inlet, MqttConnection } from './mqtt-connection.ts'
import { topicFault } from './mqtt-packet.ts'
import { openPace } from './pace.ts'
import { parseTopic } from './topics.ts'

export interface EmbeddedBrokerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly prefix: string
  readonly access: Access
  readonly maxPacketBytes?: number
  readonly accept: Accept
  readonly log: Log
}

const DRAIN_MS = 5_000 // a subscriber that reads nothing for so long is cut off
const MAX_FORWARDS = 5_000 // messages of machines on their way to subscribers; what comes beyond is not forwarded
const CLOSE_MS = 1_500
const WATCH_MS = 1_000
/** More connections than the system keeps waiting by default come back at once when a fleet has lost us. */
const BACKLOG = 4_096
const BAD_LOGIN = 4
const NOT_AUTHORIZED = 5

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
  const { host, port, prefix, access, accept, log, maxPacketBytes = 16 << 20 } = options
  const refused: Record<string, number> = {}
  const refuse = (reason: string) => {
    refused[reason] = (refused[reason] ?? 0) + 1
  }
  const connections = new Set<MqttConnection>()
  const audience = openAudience(prefix)
  let closing = false

  const broker = await Aedes.createBroker({
    concurrency: 0, // no queue in common: a subscriber that hangs holds up nobody but itself
    drainTimeout: DRAIN_MS,
    connectTimeout: 10_000,
    maxClientsIdLength: 65_535,
    preConnect(client, packet, done) {
      const connection = connectionOf(client)
      // we see every packet, the library only some: we watch whether the client is alive
      connection.keepAliveMs = (packet.keepalive ?? 0) * 1_500
      packet.keepalive = 0
      const fault = packet.will && topicFault(Buffer.from(packet.will.topic))
      if (fault) return done(new Error(`in the will, ${fault}`), false)
      connection.willTopic = packet.will?.topic
      done(null, true)
    },
    authenticate(client, username, password, done) {
      const connection = connectionOf(client)
      const decide = (verdict: Identity | string) => {
        if (typeof verdict === 'string') {
          refuse(verdict)
          return done(refusal(verdict === 'no_credentials' ? NOT_AUTHORIZED : BAD_LOGIN, verdict), null)
        }
        if (connection.willTopic !== undefined && !verdict.mayPublish(connection.willTopic)) {
          refuse('not_authorized')
          return done(refusal(NOT_AUTHORIZED, `it may not have a will under ${connection.willTopic}`), null)
        }
        const { messagesPerSecond } = verdict.limits
        connection.admission = { identity: verdict, pace: messagesPerSecond ? openPace(messagesPerSecond) : undefined }
        done(null, true)
      }
      const verdict = access.identify({
        clientId: client.id,
        username,
        password,
        certificate: undefined,
        address: connection.address,
      })
      if (verdict instanceof Promise) void verdict.then(decide)
      else decide(verdict)
    },
    // wills and QoS 2; every other message is taken before the library sees it
    authorizePublish(client, packet, done) {
      // when we stop, clients lose their connection through us: that is nobody's last will
      if (closing) return done(new Error('the broker stops'))
      const { topic, qos, retain } = packet
      if (!client || !connectionOf(client).admission?.identity.mayPublish(topic)) {
        refuse('not_authorized')
        return done(new Error(`it may not publish under ${topic}`))
      }
      const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
      accept({ receivedAt: Date.now(), topic, payload, qos, retained: retain }).then(
        () => done(null),
        (error: Error) => {
          refuse('not_durable')
          done(error) // cuts the connection, so the client sends again
        },
      )
    },
  })

  const publishToAll = broker.publish.bind(broker)
  let forwards = 0
  const isKept = (topic: string, retained: boolean) => retained && parseTopic(topic, prefix)?.kind === 'status' // or a client could fill the memory under ever new topics
  const passOn = (topic: string, payload: Buffer, retained: boolean) => {
    if (forwards >= MAX_FORWARDS) return refuse('not_forwarded')
    forwards++
    publishToAll({ cmd: 'publish', topic, payload, qos: 0, retain: isKept(topic, retained), dup: false }, () => {
      forwards--
    })
  }
  const heard = (topic: string, retained: boolean) => {
    if (!audience.listens() && !retained) return false
    const kind = parseTopic(topic, prefix)?.kind
    if (kind === 'advice' || topic.startsWith('$')) return false
    return audience.listens() || kind === 'status'
  }
  // here come wills and what clients sent at QoS 2, with their client, and what the broker tells itself under $SYS, without
  broker.publish = (packet: PublishPacket, clientOrDone: unknown, done?: () => void) => {
    if (typeof clientOrDone === 'function') return publishToAll(packet, clientOrDone as () => void)
    const { topic, payload, retain } = packet
    if (heard(topic, retain)) passOn(topic, Buffer.from(payload), retain)
    done?.() // the client does not wait for subscribers
  }

  broker.on('connackSent', ({ returnCode }, client) => {
    if (returnCode === 0) connectionOf(client).open()
  })
  broker.on('subscribe', (subscriptions, client) => audience.add(client.id, subscriptions))
  broker.on('unsubscribe', (filters, client) => audience.remove(client.id, filters))
  const onClientError = (client: Client, error: Error) => {
    if (closing) return
    refuse('protocol')
    log.debug({ client: client.id, err: error }, 'connection of a client ended by an error')
  }
  broker.on('clientError', onClientError)
  broker.on('connectionError', onClientError)
  const events: EventEmitter = broker // its types leave out the event of its own failure
  events.on('error', (error: Error) => log.error({ err: error }, 'embedded broker failed'))

  const inlet: Inlet = {
    accept,
    maxPacketBytes,
    heard,
    passOn,
    refused({ address }, reason, detail) {
      refuse(reason)
      log.debug({ address, reason, detail }, 'packet refused, connection ended')
    },
    heldBack: () => refuse('rate_limited'),
  }
  const server = createServer((socket) => {
    const connection = new MqttConnection(socket, inlet)
    connections.add(connection)
    connection.once('close', () => connections.delete(connection))
    broker.handle(connection)
  })
  try {
    await listen(server, host, port)
  } catch (error) {
    await new Promise<void>((done) => broker.close(done))
    throw error
  }
  server.on('error', (error) => log.error({ err: error }, 'embedded broker cannot take connections'))
  const watch = setInterval(() => {
    const now = performance.now()
    for (const connection of connections)
      if (connection.keepAliveMs > 0 && connection.silentMs(now) > connection.keepAliveMs) connection.destroy()
  }, WATCH_MS)

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
      clearInterval(watch)
      server.close()
      const closed = new Promise<void>((done) => broker.close(done))
      await Promise.race([closed, after(CLOSE_MS)])
      for (const connection of connections) connection.destroy()
    },
  }
}

/** The library hands back the stream that it was given. */
function connectionOf(client: Client): MqttConnection {
  return client.conn as MqttConnection
}

function refusal(returnCode: number, message: string): AuthenticateError {
  return Object.assign(new Error(message), { returnCode })
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen({ port, host, backlog: BACKLOG })
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
