import mqtt, { type MqttClient } from 'mqtt'
import type { Message } from './messy.ts'

/** Nobody answers at the broker's address, or it does not let the machine in. */
export class BrokerUnreachable extends Error {
  override readonly name = 'BrokerUnreachable'
  constructor(url: string, cause: unknown) {
    const { code, message } = cause as { code?: unknown; message?: string }
    // A refused connection to a name with several addresses has a code and no message.
    const why = [typeof code === 'string' ? code : '', message].find((text) => text) ?? 'no answer'
    super(`no MQTT broker at ${url.replace(/\/\/[^@/]*@/, '//')} (${why})`, { cause })
  }
}

/** Messages over all machines. */
export interface Tally {
  published: number
  acknowledged: number
  /** Reading sets in the published messages. */
  sets: number
}

/** User name and password at the broker, where it wants any. */
export interface Login {
  readonly username: string
  readonly password: string
}

export interface MachineClient {
  /** Publishes with QoS 1; resolves as soon as there is room for the next message. */
  publish(message: Message): Promise<void>
  /** Drops the connection without a farewell, so that the broker publishes the will. */
  lose(): Promise<void>
  /** Comes back after {@link lose}. */
  comeBack(): Promise<void>
  connected(): boolean
  /** Waits a moment for acknowledgements, says offline, and disconnects. */
  close(): Promise<void>
}

const inFlight = 32
const patienceMs = 2_000

/**
 * The MQTT connection of one machine: retained status, will, QoS 1, reconnects by itself and then sends again what was
 * not acknowledged.
 *
 * @param now the machine's clock, epoch milliseconds
 * @throws {BrokerUnreachable} the first connection did not succeed
 */
export async function connectMachine(options: {
  readonly url: string
  readonly login?: Login | undefined
  readonly prefix: string
  readonly id: string
  readonly now: () => number
  readonly tally: Tally
  /** Aborted: nothing waits for the broker any more. */
  readonly signal: AbortSignal
}): Promise<MachineClient> {
  const { url, login, prefix, id, now, tally, signal } = options
  const statusTopic = `${prefix}machines/${id}/status`
  const status = (online: boolean) => JSON.stringify({ ts: Math.floor(now()), online })
  const will = () => ({ topic: statusTopic, payload: Buffer.from(status(false)), qos: 1 as const, retain: true })

  let open = 0
  let lost = false
  let wake: (() => void) | undefined
  let client: MqttClient
  try {
    const settings = {
      clientId: id,
      clean: true,
      reconnectPeriod: 1000,
      connectTimeout: 5000,
      keepalive: 60,
      will: will(),
      ...login,
    }
    client = await mqtt.connectAsync(url, settings, false)
  } catch (error) {
    throw new BrokerUnreachable(url, error)
  }
  client.on('error', () => {}) // it reconnects; the progress line shows who is connected
  client.on('close', () => {
    client.options.will = will() // the next connection's last word carries its own time
  })
  client.on('connect', () => send(statusTopic, status(true), true))
  send(statusTopic, status(true), true)

  function send(topic: string, payload: string, retain: boolean) {
    open++
    tally.published++
    client.publish(topic, payload, { qos: 1, retain }, (error) => {
      open--
      if (!error) tally.acknowledged++
      wake?.()
    })
  }

  /** Resolves with the next acknowledgement, or after a moment. */
  function settled() {
    return new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, 100)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Resolves when at most so many messages are unacknowledged, or after that time. */
  async function drain(atMost: number, timeoutMs = Number.POSITIVE_INFINITY) {
    const until = performance.now() + timeoutMs
    while (open > atMost && performance.now() < until && !signal.aborted) await settled()
  }

  return {
    connected: () => client.connected,
    async publish({ topic, payload, sets }) {
      tally.sets += sets
      send(topic, payload, false)
      await drain(inFlight - 1)
    },
    async lose() {
      await drain(0, patienceMs)
      lost = true
      await client.endAsync(true)
    },
    async comeBack() {
      lost = false
      const back = new Promise<void>((resolve) => client.once('connect', () => resolve()))
      client.reconnect()
      await Promise.race([back, new Promise((resolve) => setTimeout(resolve, patienceMs))])
    },
    async close() {
      if (lost) return
      const soon = performance.now() + patienceMs
      while (open > 0 && client.connected && performance.now() < soon) await settled()
      if (client.connected) send(statusTopic, status(false), true)
      const end = performance.now() + 500
      while (open > 0 && client.connected && performance.now() < end) await settled()
      await client.endAsync(!client.connected || open > 0)
    },
  }
}
