import type { RefusedLogin } from './access.ts'
import { isId } from './topics.ts'

/** Why a connection ended. */
export type EndReason =
  | 'left' // the client said goodbye
  | 'lost' // it vanished, or its network did
  | 'keep_alive' // it was silent for longer than it promised
  | 'taken_over' // the same client came again
  | 'too_many_connections'
  | 'too_many_attempts'
  | 'changed' // its identity was revoked, rotated or changed
  | 'not_reading'
  | 'too_slow' // with a large packet, while others waited to send theirs
  | 'connect_timeout'
  | 'protocol'
  | 'packet_too_large'
  | 'not_authorized'
  | 'not_durable'
  | 'stopped'

/** What happened between a device and the broker, for whoever asks why a machine is not showing. */
export interface ConnectionEvent {
  /** ms since the epoch */
  readonly at: number
  /** `held_back`: it sends more than it may, its messages wait; said at most once a minute. */
  readonly event: 'connected' | 'disconnected' | 'login_refused' | 'subscription_refused' | 'held_back'
  /** Of a disconnect or a refused log-in. */
  readonly reason?: EndReason | RefusedLogin | undefined
  /** A sentence without an end, or the filter that was refused. */
  readonly detail?: string | undefined
  readonly clientId: string
  /** Remote address. */
  readonly address: string
}

/** The last events of each device, in memory and bounded: it starts with the process. */
export interface ConnectionLog {
  /** @param ids of the device: as what it logged in or tried to, and its client id */
  note(ids: readonly (string | undefined)[], event: ConnectionEvent): void
  /** Oldest first. */
  of(id: string): ConnectionEvent[]
}

const EVENTS_OF_ONE = 20
const MAX_DETAIL = 200

/** @param devices of so many the events are kept; who was longest silent is forgotten */
export function openConnectionLog(devices = 20_000): ConnectionLog {
  const events = new Map<string, ConnectionEvent[]>()
  return {
    note(ids, event) {
      const { clientId, detail } = event
      const kept = { ...event, clientId: clientId.slice(0, MAX_DETAIL), detail: detail?.slice(0, MAX_DETAIL) }
      for (const id of new Set(ids)) {
        if (!isId(id)) continue // no device can have it
        const known = events.get(id) ?? []
        known.push(kept)
        if (known.length > EVENTS_OF_ONE) known.shift()
        events.delete(id) // the order of the map is that of their last events
        events.set(id, known)
        const [oldest] = events.keys()
        if (events.size > devices && oldest !== undefined) events.delete(oldest)
      }
    },
    of: (id) => [...(events.get(id) ?? [])],
  }
}
