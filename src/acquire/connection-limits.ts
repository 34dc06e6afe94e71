import type { Identity } from './access.ts'
import type { MqttConnection } from './mqtt-connection.ts'
import { openPace, type Pace } from './pace.ts'

/** Bounds of the broker as a whole; undefined: none. */
export interface BrokerLimits {
  /** Connections at the same time, whether they have logged in or not. */
  readonly connections: number
  /** Connections of one address. A whole fleet may come through the one address of a mobile carrier. */
  readonly addressConnections: number | undefined
  /** Of a machine that has no bounds of its own. */
  readonly machineConnections: number | undefined
  readonly machineMessagesPerSecond: number | undefined
}

/** Counts connections, by address and by who speaks on them. */
export interface ConnectionLimits {
  /**
   * Takes a connection in before anything is known of it. Where there are too many, the oldest ends that has not logged
   * in: whoever only holds connections open keeps nobody out for long.
   *
   * @returns false: it is one too many
   */
  enter(connection: MqttConnection): boolean
  leave(connection: MqttConnection): void
  /**
   * Counts it for its identity, and ends the oldest of the identity's other connections where it has more than it may: a
   * machine that comes back must not wait until its old connection, of which it knows nothing any more, is found dead.
   *
   * @returns how fast its messages may come, shared by all connections of the identity; undefined: as fast as it likes
   */
  admit(connection: MqttConnection, identity: Identity, clientId: string): Pace | undefined
  all(): Iterable<MqttConnection>
}

/** The connections of one identity, oldest first. */
interface Company {
  readonly connections: Set<MqttConnection>
  readonly pace: Pace | undefined
}

export function openConnectionLimits(limits: BrokerLimits): ConnectionLimits {
  const connections = new Set<MqttConnection>()
  const addresses = new Map<string, number>()
  const companies = new Map<string, Company>()
  const companyOf = new Map<MqttConnection, string>()

  return {
    enter(connection) {
      const { address } = connection
      const others = addresses.get(address) ?? 0
      if (others >= (limits.addressConnections ?? Number.POSITIVE_INFINITY)) return false
      if (connections.size >= limits.connections && !makeRoom(connections)) return false
      connections.add(connection)
      addresses.set(address, others + 1)
      return true
    },
    leave(connection) {
      if (!connections.delete(connection)) return
      const others = (addresses.get(connection.address) ?? 1) - 1
      if (others > 0) addresses.set(connection.address, others)
      else addresses.delete(connection.address)
      const name = companyOf.get(connection)
      if (name === undefined) return
      companyOf.delete(connection)
      const company = companies.get(name)
      company?.connections.delete(connection)
      if (company?.connections.size === 0) companies.delete(name)
    },
    admit(connection, identity, clientId) {
      const { most, perSecond } = boundsOf(identity, limits)
      const name = companyName(identity, clientId)
      const company = companies.get(name) ?? {
        connections: new Set(),
        pace: perSecond ? openPace(perSecond) : undefined,
      }
      companies.set(name, company)
      company.connections.add(connection)
      companyOf.set(connection, name)
      for (const oldest of company.connections) {
        if (company.connections.size <= most) break
        company.connections.delete(oldest)
        companyOf.delete(oldest)
        oldest.cut('too_many_connections')
      }
      return company.pace
    },
    all: () => connections,
  }
}

function makeRoom(connections: Set<MqttConnection>): boolean {
  for (const connection of connections) {
    if (connection.admission || connection.destroyed) continue
    return connection.cut('too_many_connections')
  }
  return false
}

/** One user name may stand for many machines, and anyone for nobody: there, a client id is a machine. */
function companyName({ kind, id }: Identity, clientId: string): string {
  return kind === 'service' || kind === 'anyone' ? `client ${clientId}` : `${kind} ${id}`
}

function boundsOf({ kind, limits }: Identity, defaults: BrokerLimits): { most: number; perSecond: number | undefined } {
  const isOneMachine = kind === 'machine' || kind === 'service' || kind === 'anyone'
  return {
    most: limits.connections ?? (isOneMachine ? defaults.machineConnections : undefined) ?? Number.POSITIVE_INFINITY,
    perSecond: limits.messagesPerSecond ?? (isOneMachine ? defaults.machineMessagesPerSecond : undefined),
  }
}
