import type { ConnectionEvent } from './connection-log.ts'
import type { Arrival } from './message.ts'

/**
 * Takes a message over. Resolves when it is durable; only then may its sender be told so. Rejects when it cannot be
 * kept: then its sender must never be told.
 */
export type Accept = (message: Arrival) => Promise<void>

/** What machines and gateways are connected to, ours or somebody else's. */
export interface BrokerFront {
  /** Where the broker is, for people: `mqtt://127.0.0.1:1883`. Holds no password. */
  readonly address: string
  /**
   * Sends to machines, QoS 1.
   * @throws when the broker has not taken it
   */
  publish(topic: string, payload: string | Buffer, options: { retain: boolean }): Promise<void>
  /** Whether messages can arrive now. */
  connected(): boolean
  /** Why they cannot, or what is to be seen to although they can; for people. */
  note(): string | undefined
  counts(): FrontCounts
  /** The last events of a device's connections, oldest first; of a client of somebody else's broker we know none. */
  connectionsOf(id: string): ConnectionEvent[]
  /** Resolves within 2 s. What is not acknowledged by then is not acknowledged. */
  close(): Promise<void>
}

interface FrontCounts {
  /** Connections of clients; of ours, with an external broker. */
  readonly connections: number
  /** What the protocol refused, by reason. */
  readonly refused: Readonly<Record<string, number>>
}
