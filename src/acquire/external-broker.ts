import { connect, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import type { Log } from '../log.ts'
import type { Accept, BrokerFront } from './broker-front.ts'
import { inboundFilters } from './topics.ts'

export interface ExternalBrokerOptions {
  /** `mqtt:`, `mqtts:`, `ws:` or `wss:`; user and password may stand in it. */
  readonly url: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** The session at the broker that keeps what arrives while we are away: one service, one id, for good. */
  readonly clientId: string
  readonly prefix: string
  readonly accept: Accept
  readonly log: Log
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 15_000
const CLOSE_MS = 1_500
const SILENT_REFUSALS = 3 // brokers older than MQTT 5 may just hang up
const VERSION_REFUSED = new Set([1, 132]) // return code of 3.1.1, reason code of 5

/**
 * A client of somebody else's broker, with a session that outlives the connection. A message is acknowledged to the
 * broker when `accept` has made it durable; what is not acknowledged the broker sends again. Speaks MQTT 5 where the
 * broker does, else 3.1.1. Answers at once: where the broker cannot be reached it keeps trying, see `connected()`.
 */
export function startExternalBroker(options: ExternalBrokerOptions): BrokerFront {
  const { url, accept, log } = options
  const address = withoutPassword(url)
  const refused = { not_durable: 0 }
  let client: MqttClient
  let subscribed = false
  let closing = false
  let pauseMs = FIRST_PAUSE_MS

  const open = (protocolVersion: 4 | 5): MqttClient => {
    const opened = connect(url, clientOptions(options, protocolVersion))
    let silentRefusals = 0
    let failed = false

    const goOnWithoutVersion5 = () => {
      log.info({ broker: address }, 'the broker does not speak MQTT 5, going on with 3.1.1')
      opened.end(true)
      client = open(4)
    }

    opened.handleMessage = (packet: IPublishPacket, acknowledge: (error?: Error) => void) => {
      const { topic, qos, retain } = packet
      const { stream } = opened
      const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
      accept({ receivedAt: Date.now(), topic, payload, qos, retained: retain }).then(
        () => {
          // on a newer connection the packet's number may be another message's; this one comes again
          if (opened.stream === stream) acknowledge()
        },
        () => {
          // an error given to MQTT.js would be dropped and the next message taken: end the connection instead
          refused.not_durable++
          stream.destroy()
        },
      )
    }
    opened.on('connect', () => {
      silentRefusals = Number.NEGATIVE_INFINITY // it does speak our version
      pauseMs = FIRST_PAUSE_MS
      opened.options.reconnectPeriod = jittered(pauseMs)
      subscribe(opened, protocolVersion)
    })
    opened.on('close', () => {
      if (opened !== client) return
      if (subscribed) log.warn({ broker: address }, 'connection to the broker lost')
      subscribed = false
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
      opened.options.reconnectPeriod = jittered(pauseMs)
      silentRefusals += failed ? 0 : 1
      failed = false
      if (protocolVersion === 5 && !closing && silentRefusals >= SILENT_REFUSALS) goOnWithoutVersion5()
    })
    opened.on('error', (error) => {
      failed = true
      const code = 'code' in error ? error.code : undefined
      if (protocolVersion === 5 && !closing && typeof code === 'number' && VERSION_REFUSED.has(code)) {
        goOnWithoutVersion5()
        return
      }
      log.warn({ broker: address, err: error }, 'broker cannot be reached')
    })
    return opened
  }

  const subscribe = (opened: MqttClient, protocolVersion: 4 | 5) => {
    // with MQTT 5, retained messages come only with a new subscription, not with each connection
    const subscription = protocolVersion === 5 ? { qos: 1 as const, rh: 1 } : { qos: 1 as const }
    opened.subscribe(inboundFilters(options.prefix), subscription, (error, granted = []) => {
      const denied = granted.filter(({ qos }) => qos >= 128).map(({ topic }) => topic)
      if (error || denied.length > 0) {
        log.error({ broker: address, err: error, denied }, 'the broker does not let us subscribe')
        return
      }
      subscribed = true
      log.info({ broker: address, protocolVersion }, 'connected to the broker')
    })
  }

  client = open(5)
  return {
    address,
    publish(topic, payload, { retain }) {
      if (!client.connected) return Promise.reject(new Error(`no connection to ${address}`))
      return new Promise((resolve, reject) => {
        client.publish(topic, payload, { qos: 1, retain }, (error) => (error ? reject(error) : resolve()))
      })
    },
    connected: () => subscribed && client.connected,
    counts: () => ({ connections: client.connected ? 1 : 0, refused: { ...refused } }),
    async close() {
      closing = true
      const ended = client.endAsync().catch(() => undefined)
      const late = new Promise((done) => setTimeout(done, CLOSE_MS).unref())
      await Promise.race([ended, late])
      client.stream.destroy()
    },
  }
}

function clientOptions(options: ExternalBrokerOptions, protocolVersion: 4 | 5): IClientOptions {
  return {
    clientId: options.clientId,
    username: options.username,
    password: options.password,
    clean: false,
    protocolVersion,
    resubscribe: false, // we do it with every connection
    reconnectPeriod: jittered(FIRST_PAUSE_MS),
    reconnectOnConnackError: true,
    connectTimeout: 10_000,
    queueQoSZero: false,
    ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 0xffffffff, receiveMaximum: 1_000 } }),
  }
}

/** Many services that lose one broker must not all come back at the same moment. */
function jittered(ms: number): number {
  return Math.round(ms * (0.5 + Math.random()))
}

function withoutPassword(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
}
