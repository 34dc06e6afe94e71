import { readFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { connect, type IClientOptions, type IConnackPacket, type MqttClient } from 'mqtt'
import type { Log } from '../log.ts'
import type { Accept, BrokerFront } from './broker-front.ts'
import { type DeliveryTap, type Held, tapDeliveries } from './delivery-tap.ts'
import { inboundFilters } from './topics.ts'

export interface ExternalBrokerOptions {
  /** `mqtt:`, `mqtts:`, `ws:` or `wss:`; user and password may stand in it. */
  readonly url: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** PEM files for `mqtts:` and `wss:`, read again for each connection; without `ca` the system's authorities count. */
  readonly tls?: TlsFiles | undefined
  /** The session at the broker that keeps what arrives while we are away: one service, one id, for good. */
  readonly clientId: string
  /** Group of processes that share what arrives, each with a client id of its own. */
  readonly share?: string | undefined
  /** Messages that the broker may send before the first of them is acknowledged; for MQTT 5. */
  readonly receiveMaximum?: number
  readonly maxPacketBytes?: number
  readonly keepaliveSeconds?: number
  readonly prefix: string
  readonly accept: Accept
  readonly log: Log
}

interface TlsFiles {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 15_000
const KEEPALIVE_SECONDS = 20 // a connection that dies unnoticed shows after one and a half of it
const PUBLISH_MS = 10_000
const SUBSCRIBE_AGAIN_MS = 30_000
const CLOSE_MS = 1_500
const SILENT_REFUSALS = 3 // brokers older than MQTT 5 may just hang up
const VERSION_REFUSED = new Set([1, 132]) // return code of 3.1.1, reason code of 5
const SESSION_TAKEN_OVER = 142
const SHORT_LIVED_MS = 10_000
const SUSPICIOUS = 3 // short-lived connections in a row
const DENIED = 128 // and above, of the codes in SUBACK
const FOR_EVER = 0xffffffff // seconds of a session

/**
 * A client of somebody else's broker, with a session that outlives the connection. A message is acknowledged to the
 * broker when `accept` has made it durable; what is not acknowledged the broker sends again. Speaks MQTT 5 where the
 * broker does, else 3.1.1. Answers at once: where the broker cannot be reached it keeps trying, see `connected()`.
 *
 * @throws when a file of `tls` cannot be read
 */
export function startExternalBroker(options: ExternalBrokerOptions): BrokerFront {
  const { url, accept, log, prefix, share, maxPacketBytes = 16 << 20 } = options
  const address = withoutPassword(url)
  const refused = { not_durable: 0, packet_too_large: 0 }
  const held: Held = { bytes: 0, waiting: new Set() }
  let client: MqttClient
  let tap: DeliveryTap | undefined
  let down: { since: string; reason: string } | undefined = { since: isoNow(), reason: 'not connected yet' }
  let warning: string | undefined // of what is to be seen to although messages arrive
  let subscribedBefore = false
  let subscribedAt = 0 // of performance.now()
  let shortLived = 0 // connections in a row
  let closing = false
  let pauseMs = FIRST_PAUSE_MS

  /** @returns whether that is news */
  const isDown = (reason: string): boolean => {
    const news = down?.reason !== reason
    down = { since: down?.since ?? isoNow(), reason }
    return news
  }

  /** MQTT.js looks at it when it loses the connection, before we hear of it. */
  const pauseBeforeNext = (opened: MqttClient, ms: number) => {
    pauseMs = ms
    opened.options.reconnectPeriod = jittered(ms)
  }

  const open = (protocolVersion: 4 | 5): MqttClient => {
    const opened = connect(url, clientOptions(options, protocolVersion))
    let silentRefusals = 0
    let failed = false

    const goOnInOtherVersion = () => {
      const other = protocolVersion === 5 ? 4 : 5
      log.info({ broker: address, protocolVersion: other }, 'the broker refuses this version of MQTT, trying the other')
      opened.end(true)
      client = open(other)
    }
    const onFailure = (error: Error & { code?: unknown }) => {
      if (closing || opened !== client) return
      failed = true
      if (typeof error.code === 'number' && VERSION_REFUSED.has(error.code)) return goOnInOtherVersion()
      if (isDown(error.message || String(error.code)))
        log.warn({ broker: address, err: error }, 'broker cannot be reached')
    }

    tapStream(opened, options, (stream) => {
      tap = tapDeliveries(stream, {
        protocolVersion,
        maxPacketBytes,
        accept,
        held,
        onRefused(messages) {
          refused.not_durable += messages
        },
        onTooLarge(topic, bytes) {
          refused.packet_too_large++
          log.error({ broker: address, topic, bytes, maxPacketBytes }, 'message is too large, dropped')
        },
      })
      return tap.on('error', onFailure)
    })
    opened.on('error', onFailure)
    opened.on('connect', (answer) => {
      silentRefusals = Number.NEGATIVE_INFINITY // it does speak our version
      warning = sessionWarning(answer)
      subscribe(opened, protocolVersion)
    })
    opened.on('disconnect', ({ reasonCode = 0 }) => {
      const takenOver = reasonCode === SESSION_TAKEN_OVER
      if (takenOver) pauseBeforeNext(opened, LONGEST_PAUSE_MS) // or two would take it from each other without end
      const reason = takenOver
        ? `another client has taken over our session: MQTT_CLIENT_ID ${options.clientId} is in use twice`
        : `the broker has ended the connection with reason code ${reasonCode}`
      if (isDown(reason)) log.error({ broker: address, reason }, 'the broker has ended the connection')
    })
    opened.on('close', () => {
      if (opened !== client) return
      if (isDown(down?.reason ?? reasonOfLoss()))
        log.warn({ broker: address, reason: down?.reason }, 'connection to the broker lost')
      pauseBeforeNext(opened, Math.min(pauseMs * 2, LONGEST_PAUSE_MS))
      silentRefusals += failed ? 0 : 1
      failed = false
      if (!closing && silentRefusals >= SILENT_REFUSALS) goOnInOtherVersion()
    })
    return opened.connect()
  }

  /** Not every broker says that it gave our session to another client. */
  const reasonOfLoss = (): string => {
    shortLived = performance.now() - subscribedAt < SHORT_LIVED_MS ? shortLived + 1 : 0
    return shortLived < SUSPICIOUS
      ? 'the connection was lost'
      : `the connection was lost at once, ${shortLived} times in a row: MQTT_CLIENT_ID ${options.clientId} may be in use twice`
  }

  const sessionWarning = ({ sessionPresent, properties }: IConnackPacket): string | undefined => {
    if (subscribedBefore && !sessionPresent) {
      log.error({ broker: address }, 'the broker has forgotten our session: what it kept for us is lost')
      return `${address} had forgotten our session at ${isoNow()}: what it kept for us is lost`
    }
    const seconds = properties?.sessionExpiryInterval ?? FOR_EVER
    if (seconds >= FOR_EVER) return warning
    return `${address} keeps our session for ${seconds} s only: what arrives while we are away for longer is lost`
  }

  const subscribe = (opened: MqttClient, protocolVersion: 4 | 5) => {
    const { stream } = opened
    const isCurrent = () => opened.connected && opened.stream === stream
    const plain = inboundFilters(prefix)
    const filters = share ? plain.map((filter) => `$share/${share}/${filter}`) : plain
    // with MQTT 5, retained messages come only with a new subscription, not with each connection
    const subscription = protocolVersion === 5 ? { qos: 1 as const, rh: 1 } : { qos: 1 as const }
    opened.subscribe(filters, subscription, (_error, _asked, answer) => {
      if (!isCurrent()) return
      const denied = filters.filter((_, i) => Number(answer?.granted[i] ?? DENIED) >= DENIED)
      if (denied.length > 0) {
        const reason = `it does not let us subscribe to ${denied.join(', ')}`
        if (isDown(reason)) log.error({ broker: address, denied }, 'the broker does not let us subscribe')
        setTimeout(() => isCurrent() && subscribe(opened, protocolVersion), SUBSCRIBE_AGAIN_MS).unref()
        return
      }
      if (share) opened.unsubscribe(plain) // of the time before the group: the session would still hold them
      down = undefined
      subscribedBefore = true
      subscribedAt = performance.now()
      pauseBeforeNext(opened, shortLived < SUSPICIOUS ? FIRST_PAUSE_MS : LONGEST_PAUSE_MS)
      log.info({ broker: address, protocolVersion }, 'connected to the broker')
    })
  }

  client = open(5)
  return {
    address,
    publish: (topic, payload, { retain }) =>
      client.connected
        ? publishWithin(PUBLISH_MS, client, topic, payload, retain)
        : Promise.reject(new Error(`no connection to ${address}`)),
    connected: () => down === undefined && client.connected,
    note: () => (down ? `nothing arrives from ${address} since ${down.since}: ${down.reason}` : warning),
    counts: () => ({ connections: client.connected ? 1 : 0, refused: { ...refused } }),
    connectionsOf: () => [],
    async close() {
      closing = true
      const late = new Promise<void>((done) => setTimeout(done, CLOSE_MS).unref())
      await Promise.race([tap?.finish(), late])
      await Promise.race([client.endAsync().catch(() => undefined), late])
      client.stream.destroy()
    },
  }
}

function clientOptions(options: ExternalBrokerOptions, protocolVersion: 4 | 5): IClientOptions {
  const { clientId, username, password, receiveMaximum = 5_000, keepaliveSeconds = KEEPALIVE_SECONDS } = options
  return {
    clientId,
    username,
    password,
    clean: false,
    protocolVersion,
    keepalive: keepaliveSeconds,
    manualConnect: true, // when the tap is in place
    resubscribe: false, // we do it with every connection
    reconnectPeriod: jittered(FIRST_PAUSE_MS),
    reconnectOnConnackError: true,
    connectTimeout: 10_000,
    queueQoSZero: false,
    query: {}, // or a client id in the URL would silently take the place of ours
    rejectUnauthorized: true,
    ...readTls(options.tls),
    ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: FOR_EVER, receiveMaximum } }),
  }
}

/** Puts `tap` between MQTT.js and each stream that it opens, TCP, TLS or WebSocket. */
function tapStream(client: MqttClient, { tls, log }: ExternalBrokerOptions, tap: (stream: Duplex) => Duplex): void {
  const { options } = client
  options.manualConnect = false // MQTT.js would take an end() while it connects for none
  const inside = client as unknown as { streamBuilder: (client: MqttClient) => Duplex } // private by its types only
  const build = inside.streamBuilder
  inside.streamBuilder = () => {
    try {
      Object.assign(options, readTls(tls), { wsOptions: {} }) // certificates are renewed while we run
    } catch (error) {
      log.warn({ err: error }, 'going on with the certificate files as they were')
    }
    return tap(build(client))
  }
}

function readTls({ ca, cert, key }: TlsFiles = {}): Pick<IClientOptions, 'ca' | 'cert' | 'key'> {
  try {
    return {
      ...(ca && { ca: readFileSync(ca) }),
      ...(cert && { cert: readFileSync(cert) }),
      ...(key && { key: readFileSync(key) }),
    }
  } catch (error) {
    throw new Error(`a file of MQTT_CA, MQTT_CERT and MQTT_KEY cannot be read: ${(error as Error).message}`)
  }
}

/** MQTT.js would keep it for as long as the broker does not answer, and send it again with each connection. */
function publishWithin(
  ms: number,
  client: MqttClient,
  topic: string,
  payload: string | Buffer,
  retain: boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let id = 0
    const late = setTimeout(() => {
      reject(new Error(`the broker has not taken a message to ${topic} within ${ms} ms`))
      client.removeOutgoingMessage(id)
    }, ms)
    client.publish(topic, payload, { qos: 1, retain }, (error) => {
      clearTimeout(late)
      if (error) reject(error)
      else resolve()
    })
    id = client.getLastMessageId()
  })
}

/** Many services that lose one broker must not all come back at the same moment. */
function jittered(ms: number): number {
  return Math.round(ms * (0.5 + Math.random()))
}

function withoutPassword(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
}

function isoNow(): string {
  return new Date().toISOString()
}
