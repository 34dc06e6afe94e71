import type { AedesOptions, AuthenticateError, Client } from 'aedes'
import type { Access, Identity, RefusedLogin } from './access.ts'
import type { Accept } from './broker-front.ts'
import type { BrokerRecord } from './broker-record.ts'
import type { ConnectionLimits } from './connection-limits.ts'
import { type LoginVerdict, openLogin } from './login.ts'
import type { MqttConnection } from './mqtt-connection.ts'
import { topicFault } from './mqtt-packet.ts'

export interface GateOptions {
  readonly access: Access
  readonly limits: ConnectionLimits
  readonly accept: Accept
  readonly record: BrokerRecord
  /** Whether the broker stops, and connections end through us. */
  readonly closing: () => boolean
}

/** What the broker library asks before it does something. */
export type Gate = Required<
  Pick<AedesOptions, 'preConnect' | 'authenticate' | 'authorizePublish' | 'authorizeSubscribe' | 'authorizeForward'>
>

/** Return codes of CONNACK. */
const ID_REFUSED = 2
const UNAVAILABLE = 3
const BAD_LOGIN = 4
const NOT_AUTHORIZED = 5
const CODE_OF: Record<RefusedLogin | 'not_authorized', number> = {
  unknown: BAD_LOGIN,
  wrong_secret: BAD_LOGIN,
  revoked: NOT_AUTHORIZED,
  no_credentials: NOT_AUTHORIZED,
  too_many_attempts: UNAVAILABLE,
  busy: UNAVAILABLE,
  not_authorized: NOT_AUTHORIZED,
}

type Answer = Parameters<Gate['authenticate']>[3]

/** Who comes in, and what each may do: the identity stays with the connection, and is asked from there. */
export function openGate({ access, limits, accept, record, closing }: GateOptions): Gate {
  const login = openLogin(access)
  const sessions = new Map<string, MqttConnection>()

  function turnAway(connection: MqttConnection, reason: RefusedLogin | 'not_authorized', answer: Answer): void {
    const detail = reason === 'not_authorized' ? `it may not have a will under ${connection.willTopic}` : undefined
    record.count(reason)
    record.note(connection, 'login_refused', { reason, detail })
    answer(Object.assign(new Error(detail ?? reason), { returnCode: CODE_OF[reason] }) as AuthenticateError, null)
  }

  function drop(connection: MqttConnection): void {
    record.count('too_many_attempts')
    record.note(connection, 'login_refused', { reason: 'too_many_attempts' })
    connection.cut('too_many_attempts')
  }

  function settle(client: Client, verdict: LoginVerdict, answer: Answer): void {
    const connection = connectionOf(client)
    const { willTopic } = connection
    if (connection.destroyed) return // it did not wait
    if (verdict === 'dropped') drop(connection)
    else if (typeof verdict === 'string') turnAway(connection, verdict, answer)
    else if (willTopic !== undefined && !verdict.mayPublish(willTopic)) turnAway(connection, 'not_authorized', answer)
    else letIn(client, verdict, answer)
  }

  function letIn(client: Client, identity: Identity, answer: Answer): void {
    const connection = connectionOf(client)
    const clientId = client.id // where the client gave none, one of its own
    // no client ends the connection or hears the session of another identity by taking its client id
    if (identity.kind !== 'anyone' && identity.kind !== 'service')
      client.id = `${identity.kind}/${identity.id}/${clientId}`
    sessions.get(client.id)?.cut('taken_over')
    sessions.set(client.id, connection)
    connection.once('close', () => {
      if (sessions.get(client.id) === connection) sessions.delete(client.id)
    })
    connection.admission = { identity, pace: limits.admit(connection, identity, clientId) }
    answer(null, true)
  }

  return {
    preConnect(client, packet, done) {
      const connection = connectionOf(client)
      // the library sees few of the packets: we watch whether the client is alive
      connection.keepAliveMs = (packet.keepalive ?? 0) * 1_500
      packet.keepalive = 0
      const fault = packet.will && topicFault(Buffer.from(packet.will.topic))
      if (fault) return done(new Error(`in the will, ${fault}`), false)
      connection.willTopic = packet.will?.topic
      connection.clientId = packet.clientId
      connection.username = packet.username
      done(null, true)
    },
    authenticate(client, username, password, done) {
      const { clientId, certificate, address } = connectionOf(client)
      if (clientId === '' && !client.clean) {
        const error = new Error('a session that lasts needs a client id')
        return done(Object.assign(error, { returnCode: ID_REFUSED }) as AuthenticateError, null)
      }
      const attempt = { clientId: client.id, username, password, certificate, address }
      login(attempt, (verdict) => settle(client, verdict, done))
    },
    // wills and QoS 2; every other message is taken before the library sees it
    authorizePublish(client, packet, done) {
      // when we stop, clients lose their connection through us: that is nobody's last will
      if (closing()) return done(new Error('the broker stops'))
      const { topic, qos, retain } = packet
      if (!client || !connectionOf(client).admission?.identity.mayPublish(topic)) {
        record.count('not_authorized')
        return done(new Error(`it may not publish under ${topic}`))
      }
      const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
      accept({ receivedAt: Date.now(), topic, payload, qos, retained: retain }).then(
        () => done(null),
        (error: Error) => {
          record.count('not_durable')
          done(error) // cuts the connection, so the client sends again
        },
      )
    },
    authorizeSubscribe(client, subscription, done) {
      const { topic } = subscription
      if (topic.includes('\0')) return done(new Error('a filter has the character NUL'))
      const connection = connectionOf(client)
      // what the broker tells itself under $SYS is nobody's
      if (!topic.startsWith('$') && connection.admission?.identity.maySubscribe(topic)) return done(null, subscription)
      record.count('not_authorized')
      record.note(connection, 'subscription_refused', { detail: topic })
      done(null, null)
    },
    authorizeForward: (client, packet) =>
      connectionOf(client).admission?.identity.maySubscribe(packet.topic) ? packet : null,
  }
}

/** The library hands back the stream that it was given. */
export function connectionOf(client: Client): MqttConnection {
  return client.conn as MqttConnection
}
