import { createHash, timingSafeEqual } from 'node:crypto'
import type { Access, Identity } from './access.ts'

const UNLIMITED = { connections: undefined, messagesPerSecond: undefined, packetBytes: undefined }

/**
 * One user name and password for every client, which may then do what any machine may; without them anybody may come in.
 */
export function staticAccess(credentials: { username: string; password: string } | undefined): Access {
  return {
    identify({ clientId, username, password }) {
      if (!credentials) return mayAll('anyone', clientId)
      if (username === undefined && password === undefined) return 'no_credentials'
      const given = digest(`${username ?? ''}\0${password?.toString() ?? ''}`)
      if (timingSafeEqual(given, digest(`${credentials.username}\0${credentials.password}`)))
        return mayAll('service', credentials.username)
      return username === credentials.username ? 'wrong_secret' : 'unknown'
    },
    onChange() {},
  }
}

function mayAll(kind: 'anyone' | 'service', id: string): Identity {
  return { kind, id, limits: UNLIMITED, mayPublish: () => true, maySubscribe: () => true }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
