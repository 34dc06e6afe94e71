import { type EventEmitter, once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { Aedes, type Client, type PublishPacket } from 'aedes'
import type { Log } from '../log.ts'
import type { Access } from './access.ts'
import { type Audience, openAudience } from './audience.ts'
import type { Accept, BrokerFront } from './broker-front.ts'
import { connectionOf, openGate } from './broker-gate.ts'
import { type BrokerRecord, openBrokerRecord } from './broker-record.ts'
import { openBrokerTls, type TlsOptions } from './broker-tls.ts'
import { type BrokerLimits, type ConnectionLimits, openConnectionLimits } from './connection-limits.ts'
import type { EndReason } from './connection-log.ts'
import { openLargePackets } from './large-packets.ts'
import { type Inlet, MqttConnection } from './mqtt-connection.ts'
import { findRetainedByTopic } from './retained-by-topic.ts'
import { parseTopic } from './topics.ts'

export interface EmbeddedBrokerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** A second listener; undefined: none. */
  readonly tls?: TlsOptions | undefined
  readonly prefix: string
  readonly access: Access
  readonly maxPacketBytes: number
  /** How long a client may take until its CONNECT is here. */
  readonly connectTimeoutMs: number
  readonly limits: BrokerLimits
  readonly accept: Accept
  /** Whether so much waits to become durable that nothing more should be read. */
  readonly full: () => boolean
  /** Has the listener called when it is not full any more. */
  readonly onRoom: (listener: () => void) => void
  readonly log: Log
}

export interface EmbeddedBroker extends BrokerFront {
  /** Where it speaks TLS; undefined: nowhere. */
  readonly tlsAddress: string | undefined
}

const DRAIN_MS = 5_000 // a subscriber that reads nothing for so long is cut off
const MAX_FORWARDS = 5_000 // messages of machines on their way to subscribers; what comes beyond is not forwarded
const CLOSE_MS = 1_500
const WATCH_MS = 1_000
/** Read and not taken yet, of all connections; beyond it none is read. */
const MAX_HELD_BYTES = 64 << 20
const OF_LATE_MS = 2_000
/** A fleet that has lost us comes back at once, with more connections than systems keep waiting by default. */
const BACKLOG = 4_096

/** Return code of CONNACK; from it on, it is about who the client is. */
const UNAVAILABLE = 3

/** How the library words what is no fault of the protocol. */
const LIBRARY_ENDS: Readonly<Record<string, EndReason>> = {
  'drain timeout': 'not_reading',
  'connect did not arrive in time': 'connect_timeout',
}

/** The port is somebody else's; the message names the setting. */
export class MqttPortTaken extends Error {
  override readonly name = 'MqttPortTaken'
  constructor(setting: string, host: string, port: number) {
    super(`${setting} ${port} on ${host} is taken: another broker runs there, choose another port or stop it`)
  }
}

/**
 * A broker in this process for MQTT 3.1.1, made to take in: a message is acknowledged when `accept` has made it
 * durable, at any QoS, wills included. What machines send is also passed on to whoever subscribed, at QoS 0 and as far
 * as the subscribers keep up; retained where it is a status. Only we publish `…/advice`.
 *
 * @throws {MqttPortTaken}
 * @throws {Error} a certificate that cannot be used
 */
export async function startEmbeddedBroker(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
  const { host, prefix, access, accept, log, maxPacketBytes } = options
  const record = openBrokerRecord()
  const limits = openConnectionLimits(options.limits)
  let closing = false

  const gate = openGate({ access, limits, accept, record, closing: () => closing })
  const broker = await Aedes.createBroker({
    ...gate,
    concurrency: 0, // no queue in common: a subscriber that hangs holds up nobody but itself
    drainTimeout: DRAIN_MS,
    connectTimeout: options.connectTimeoutMs,
    maxClientsIdLength: 65_535,
  })
  findRetainedByTopic(broker)
  const audience = openAudience(prefix)
  const { publishToAll, heard, passOn } = passingOn(broker, audience, prefix, record)

  broker.on('connackSent', ({ returnCode }, client) => {
    if (returnCode !== 0) return
    const connection = connectionOf(client)
    if (client.clean) audience.forget(client.id)
    connection.open()
    record.note(connection, 'connected')
  })
  broker.on('subscribe', (subscriptions, client) => audience.add(listenerOf(client), subscriptions))
  broker.on('unsubscribe', (filters, client) => audience.remove(listenerOf(client), filters))
  const onClientError = (client: Client, error: Error) => {
    if ('errorCode' in error && Number(error.errorCode) >= UNAVAILABLE) return // who it is was refused, and counted there
    const reason = LIBRARY_ENDS[error.message] ?? 'protocol'
    const isNews = connectionOf(client).cut(reason, error.message)
    if (isNews && !closing && reason === 'protocol') record.count(reason)
  }
  broker.on('clientError', onClientError)
  broker.on('connectionError', onClientError)
  const events: EventEmitter = broker // its types leave out the event of its own failure
  events.on('error', (error: Error) => log.error({ err: error }, 'embedded broker failed'))

  access.onChange(({ kind, id }) => {
    for (const connection of limits.all()) {
      const identity = connection.admission?.identity
      if (identity?.kind === kind && (identity.id === id || kind === 'anyone')) connection.cut('changed')
    }
  })

  options.onRoom(() => {
    for (const connection of limits.all()) connection.roomAgain()
  })
  const { holding, crowded } = watchHeldBytes(limits)
  const large = openLargePackets((but) => othersSend(limits, but))
  const inlet: Inlet = {
    accept,
    large,
    full: options.full,
    holding,
    crowded,
    maxPacketBytes,
    heard,
    passOn,
    refused: (_connection, reason) => record.count(reason),
    heldBack(connection, wasTold) {
      record.count('rate_limited')
      if (!wasTold) record.note(connection, 'held_back')
    },
  }
  const take = (socket: Socket, certificate?: string) => {
    const connection = new MqttConnection(socket, inlet, certificate)
    connection.once('close', () => {
      limits.leave(connection)
      large.leave(connection)
      if (closing) return
      const { endReason: reason, endDetail: detail, address } = connection
      if (reason === 'too_many_connections') record.count(reason)
      if (connection.isOpen || reason === 'protocol') record.note(connection, 'disconnected', { reason, detail })
      log.debug({ address, reason, detail }, 'connection ended')
    })
    if (limits.enter(connection)) broker.handle(connection)
    else connection.cut('too_many_connections')
  }

  const server = createServer(take)
  const tls = options.tls && (await openTls(options.tls, options, take, record))
  const servers = tls ? [server, tls.server] : [server]
  const end = async () => {
    tls?.close()
    for (const each of servers) if (each.listening) each.close()
    await new Promise<void>((done) => broker.close(done))
  }
  try {
    await listen(server, 'MQTT_PORT', host, options.port)
    if (options.tls && tls) await listen(tls.server, 'MQTT_TLS_PORT', options.tls.host, options.tls.port)
  } catch (error) {
    await end()
    throw error
  }
  for (const each of servers)
    each.on('error', (error) => log.error({ err: error }, 'embedded broker cannot take connections'))
  const watch = setInterval(() => {
    endSilent(limits)
    large.endIdle(performance.now())
  }, WATCH_MS)

  return {
    address: addressOf('mqtt', host, server),
    tlsAddress: tls && addressOf('mqtts', options.tls?.host ?? host, tls.server),
    publish(topic, payload, { retain }) {
      if (closing) return Promise.reject(new Error('the broker stops'))
      return new Promise((resolve, reject) => {
        publishToAll({ cmd: 'publish', topic, payload, qos: 1, retain, dup: false }, (error) =>
          error ? reject(error) : resolve(),
        )
      })
    },
    connected: () => !closing && servers.every(({ listening }) => listening),
    note: () => undefined,
    counts: () => ({ connections: openConnections(limits), refused: record.counts() }),
    connectionsOf: record.eventsOf,
    async close() {
      closing = true
      clearInterval(watch)
      await Promise.race([end(), after(CLOSE_MS)])
      for (const connection of limits.all()) connection.destroy()
    },
  }
}

/** A lasting session listens while it is away; without one, a client that comes again is another listener. */
function listenerOf(client: Client): Client | string {
  return client.clean ? client : client.id
}

/** How what machines send reaches subscribers: beside everything else, and only where somebody listens. */
function passingOn(broker: Aedes, audience: Audience, prefix: string, record: BrokerRecord) {
  const publishToAll = broker.publish.bind(broker)
  let onTheirWay = 0

  /** Only a status is kept for later subscribers, or a client could fill the memory under ever new topics. */
  const isKept = (topic: string, retained: boolean) => retained && parseTopic(topic, prefix)?.kind === 'status'
  const heard = (topic: string, retained: boolean) => {
    if (!retained && !audience.listens()) return false
    if (topic.startsWith('$') || parseTopic(topic, prefix)?.kind === 'advice') return false
    return audience.listens() || isKept(topic, retained)
  }
  const passOn = (topic: string, payload: Buffer, retained: boolean) => {
    if (onTheirWay >= MAX_FORWARDS) return record.count('not_forwarded')
    onTheirWay++
    publishToAll({ cmd: 'publish', topic, payload, qos: 0, retain: isKept(topic, retained), dup: false }, () => {
      onTheirWay--
    })
  }
  // here come wills and QoS 2, with their client, and what the broker tells itself under $SYS, without one
  broker.publish = (packet: PublishPacket, clientOrDone: unknown, done?: () => void) => {
    if (typeof clientOrDone === 'function') return publishToAll(packet, clientOrDone as () => void)
    const { topic, payload, retain } = packet
    if (heard(topic, retain)) passOn(topic, Buffer.from(payload), retain)
    done?.() // the client does not wait for subscribers
  }
  return { publishToAll, heard, passOn }
}

function openTls(
  tls: TlsOptions,
  { log, limits }: EmbeddedBrokerOptions,
  take: (socket: Socket, certificate: string | undefined) => void,
  record: BrokerRecord,
) {
  const refused = (address: string, detail: string) => {
    record.count('tls')
    log.debug({ address, detail }, 'no TLS connection')
  }
  return openBrokerTls({ ...tls, connections: limits.connections }, take, refused, log)
}

/** Of clients that were let in. The library loses count where one comes back before its old connection is cleared away. */
function openConnections(limits: ConnectionLimits): number {
  let open = 0
  for (const { isOpen } of limits.all()) if (isOpen) open++
  return open
}

/** Where nothing goes on, each connection holds what it has read last. Many of them must not fill the memory. */
function watchHeldBytes(limits: ConnectionLimits): Pick<Inlet, 'holding' | 'crowded'> {
  let held = 0
  let crowded = false
  return {
    holding(bytes) {
      held += bytes
      if (!crowded && held > MAX_HELD_BYTES) {
        crowded = true
        for (const connection of limits.all()) connection.pauseReading()
      } else if (crowded && held < MAX_HELD_BYTES / 2) {
        crowded = false
        for (const connection of limits.all()) connection.goOn()
      }
    },
    crowded: () => crowded,
  }
}

function othersSend(limits: ConnectionLimits, but: MqttConnection): boolean {
  const now = performance.now()
  for (const connection of limits.all()) if (connection !== but && connection.silentMs(now) < OF_LATE_MS) return true
  return false
}

function endSilent(limits: ConnectionLimits): void {
  const now = performance.now()
  for (const connection of limits.all())
    if (connection.keepAliveMs > 0 && connection.silentMs(now) > connection.keepAliveMs) connection.cut('keep_alive')
}

async function listen(server: Server, setting: string, host: string, port: number): Promise<void> {
  server.listen({ port, host, backlog: BACKLOG })
  try {
    await once(server, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') throw new MqttPortTaken(setting, host, port)
    throw error
  }
}

function addressOf(scheme: string, host: string, server: Server): string {
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function after(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms).unref())
}
