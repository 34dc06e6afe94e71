import { type ConnectionEvent, openConnectionLog } from './connection-log.ts'
import type { MqttConnection } from './mqtt-connection.ts'

/** What the broker counts, and remembers for whoever asks why a machine is not showing. */
export interface BrokerRecord {
  /** Counts something that was not taken, or later than its sender would like. */
  count(reason: string): void
  /** Remembers it for the device that speaks on the connection, or tried to. */
  note(
    connection: MqttConnection,
    event: ConnectionEvent['event'],
    why?: Pick<ConnectionEvent, 'reason' | 'detail'>,
  ): void
  counts(): Record<string, number>
  eventsOf(id: string): ConnectionEvent[]
}

export function openBrokerRecord(): BrokerRecord {
  const counted: Record<string, number> = {}
  const events = openConnectionLog()
  return {
    count(reason) {
      counted[reason] = (counted[reason] ?? 0) + 1
    },
    note(connection, event, why) {
      const { clientId, address } = connection
      events.note([...idsOf(connection), clientId], { at: Date.now(), event, clientId, address, ...why })
    },
    counts: () => ({ ...counted }),
    eventsOf: events.of,
  }
}

/** One user name may stand for many machines: then only the client id says which. */
function idsOf({ admission, username, certificate }: MqttConnection): (string | undefined)[] {
  if (!admission) return [username, certificate]
  return admission.identity.kind === 'service' ? [] : [admission.identity.id]
}
