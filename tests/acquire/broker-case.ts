import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { onTestFinished } from 'vitest'
import {
  type EmbeddedBroker,
  type EmbeddedBrokerOptions,
  startEmbeddedBroker,
} from '../../src/acquire/embedded-broker.ts'
import type { Arrival } from '../../src/acquire/message.ts'
import { brokerDefaults } from './broker-defaults.ts'

export interface TestBroker extends EmbeddedBroker {
  readonly arrivals: Arrival[]
  readonly port: number
}

/** An embedded broker on a free port that keeps what arrives, and finds it durable at once unless told otherwise. */
export async function embeddedBroker(options: Partial<EmbeddedBrokerOptions> = {}): Promise<TestBroker> {
  const arrivals: Arrival[] = []
  const { accept = async () => {} } = options
  const front = await startEmbeddedBroker({
    ...brokerDefaults(),
    ...options,
    accept(message) {
      arrivals.push(message)
      return accept(message)
    },
  })
  onTestFinished(() => front.close())
  return Object.assign(front, { arrivals, port: Number(new URL(front.address).port) })
}

export async function client(broker: { address: string }, options: IClientOptions = {}): Promise<MqttClient> {
  const connected = await connectAsync(broker.address, { reconnectPeriod: 0, connectTimeout: 5_000, ...options })
  connected.on('error', () => {})
  onTestFinished(() => connected.endAsync(true))
  return connected
}

export async function rawSocket(port: number): Promise<Socket> {
  const socket = connectSocket(port, '127.0.0.1')
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** CONNECT of MQTT 3.1.1, clean session, no keep-alive. */
export function connectPacket(clientId: string): Buffer {
  const id = Buffer.from(clientId)
  const rest = Buffer.concat([
    Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, id.length >> 8, id.length & 255]),
    id,
  ])
  return Buffer.concat([Buffer.from([0x10]), remainingLength(rest.length), rest])
}

/** The fixed header of a PUBLISH at QoS 1, its topic and message id; the payload is still to follow. */
export function publishHead(topic: string, payloadBytes: number): Buffer {
  const name = Buffer.from(topic)
  const head = Buffer.concat([Buffer.from([name.length >> 8, name.length & 255]), name, Buffer.from([0, 1])])
  return Buffer.concat([Buffer.from([0x32]), remainingLength(head.length + payloadBytes), head])
}

function remainingLength(length: number): Buffer {
  const bytes: number[] = []
  for (let rest = length; rest > 0 || bytes.length === 0; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) | (rest >= 128 ? 128 : 0))
  }
  return Buffer.from(bytes)
}

export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((done) => setTimeout(done, 5))
}
