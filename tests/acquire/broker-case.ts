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

export function closed(client: MqttClient): Promise<void> {
  return new Promise((done) => client.once('close', () => done()))
}

export async function rawSocket(port: number): Promise<Socket> {
  const socket = connectSocket(port, '127.0.0.1')
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((done) => setTimeout(done, 5))
}
