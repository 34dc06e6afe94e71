/**
 * Who may do what on the embedded broker. The broker asks at CONNECT and keeps the answer with the connection, so that
 * a message costs no look-up of credentials.
 */

/** What a client shows when it connects. */
export interface ConnectionAttempt {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Buffer | undefined
  /** Common name of the client certificate, where one was given and its chain is trusted. */
  readonly certificate: string | undefined
  /** Remote address, for the log of refused attempts. */
  readonly address: string
}

/** Bounds of one identity; undefined: none. */
export interface IdentityLimits {
  /** Connections at the same time. */
  readonly connections: number | undefined
  /** Messages per second; what comes beyond is acknowledged later, never dropped. */
  readonly messagesPerSecond: number | undefined
  /** Largest MQTT packet, bytes. */
  readonly packetBytes: number | undefined
}

/** Who speaks on a connection. */
export interface Identity {
  /**
   * `bridge` publishes for the machines assigned to it; `service` is MQTT_USERNAME, which may do what any machine may;
   * `anyone` speaks where nobody has to log in.
   */
  readonly kind: 'machine' | 'gateway' | 'bridge' | 'service' | 'anyone'
  /** Device, gateway or bridge; the user name of a service, the client id of anyone. */
  readonly id: string
  readonly limits: IdentityLimits
  mayPublish(topic: string): boolean
  maySubscribe(filter: string): boolean
}

/** Why a client was not let in: for the counters and for the person who looks for a machine. */
export type RefusedLogin = 'unknown' | 'wrong_secret' | 'revoked' | 'no_credentials' | 'too_many_attempts' | 'busy'

export interface Access {
  /** Never rejects. Answers at once, without a promise, wherever that takes microseconds. */
  identify(attempt: ConnectionAttempt): Identity | RefusedLogin | Promise<Identity | RefusedLogin>
  /**
   * Calls back when an identity was revoked, rotated or changed: its connections are to be ended. `anyone` with an empty
   * id means all of them: somebody has credentials now, so everybody has to log in.
   */
  onChange(listener: (identity: Pick<Identity, 'kind' | 'id'>) => void): void
}
