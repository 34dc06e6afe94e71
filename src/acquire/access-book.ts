import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Access, ConnectionAttempt, Identity, IdentityLimits, RefusedLogin } from './access.ts'
import type { AccessKey } from './access-key.ts'
import { openPasswordCheck } from './access-password.ts'
import { isSecret, keyedHash, keyIdOf, parseVerifier, type Verifier } from './access-secret.ts'
import { parseTopic } from './topics.ts'

/** What the records know of somebody who may log in. */
export interface KnownIdentity {
  readonly kind: 'machine' | 'gateway' | 'bridge'
  /** User name. */
  readonly id: string
  /** See `access-secret.ts`; null: it has no secret, and shows a certificate. */
  readonly verifier: string | null
  readonly revoked: boolean
  readonly limits: IdentityLimits
  /** For whom it speaks: machines that are assigned to it; of a machine's device, the machine that it is bound to. */
  readonly machines: readonly string[]
}

/** What was changed in the records. */
export interface AccessChange {
  readonly identities: readonly KnownIdentity[]
  /** Ids of registered machines that came new. */
  readonly registered: readonly string[]
}

/** Everybody who may log in, in memory. */
export interface AccessBook extends Access {
  takeOver(change: AccessChange): void
  /** Whether anybody may connect without logging in. */
  isOpen(): boolean
  /** How many secrets were issued under a key that is not ours: none of them fits. */
  foreign(): number
  /** Who has logged in since this was asked last; each once an hour. */
  used(): string[]
}

export interface AccessBookOptions {
  readonly key: AccessKey
  readonly prefix: string
  /** MQTT_USERNAME and MQTT_PASSWORD: simulators, replays, whoever may do what any machine may. */
  readonly service: { readonly username: string; readonly password: string } | undefined
  /** Whether clients can show certificates that we trust: then nobody connects who shows nothing. */
  readonly certificates: boolean
  readonly now: () => number
}

interface Entry extends Omit<KnownIdentity, 'verifier' | 'machines'> {
  readonly text: string | null
  readonly verifier: Verifier | undefined
  readonly machines: ReadonlySet<string>
  /** When its use was last told, epoch ms. */
  toldAt: number
}

const TELL_AGAIN_MS = 3_600_000
const SENT_BY_MACHINES: ReadonlySet<string> = new Set(['telemetry', 'faults', 'status'])
const LIMITS = ['connections', 'messagesPerSecond', 'packetBytes'] as const
const UNLIMITED: IdentityLimits = { connections: undefined, messagesPerSecond: undefined, packetBytes: undefined }
const NOBODY: ReadonlySet<string> = new Set()

/**
 * Who may log in, and for what. As long as nobody has credentials, anybody is let in; from the first on, everybody has
 * to log in, be they revoked or not.
 */
export function openAccessBook({ key, prefix, service, certificates, now }: AccessBookOptions): AccessBook {
  const entries = new Map<string, Entry>()
  const registered = new Set<string>()
  const passwords = openPasswordCheck({ now })
  const listeners: ((identity: Pick<Identity, 'kind' | 'id'>) => void)[] = []
  const used = new Set<string>()
  const serviceKey = randomBytes(32)
  const serviceHash = service && keyedHash(serviceKey, service.username, service.password)
  const keyId = keyIdOf(key)

  const isOpen = () => !service && !certificates && entries.size === 0

  function admit(entry: Entry): Identity {
    if (now() - entry.toldAt >= TELL_AGAIN_MS) {
      entry.toldAt = now()
      used.add(entry.id)
    }
    const { kind, id, limits } = entry
    return { kind, id, limits, ...rightsOf(() => entries.get(id) ?? entry, prefix) }
  }

  /** An authority may sign for more than this fleet: its certificate is a log-in only for a machine that somebody knows. */
  function byCertificate(id: string): Identity | RefusedLogin {
    const entry = entries.get(id)
    if (entry?.revoked) return 'revoked'
    if (entry) return admit(entry)
    if (!registered.has(id)) return 'unknown'
    const bare = { kind: 'machine', id, machines: NOBODY } as const
    return { kind: 'machine', id, limits: UNLIMITED, ...rightsOf(() => entries.get(id) ?? bare, prefix) }
  }

  function bySecret(id: string, password: Buffer, address: string): ReturnType<Access['identify']> {
    const entry = entries.get(id)
    if (!entry) return 'unknown'
    if (entry.revoked) return 'revoked'
    const { verifier } = entry
    if (verifier?.scheme === 'hmac-sha256') {
      return isSecret(key, id, password, verifier.hash) ? admit(entry) : 'wrong_secret'
    }
    if (verifier?.scheme !== 'scrypt') return 'wrong_secret'
    const settle = (verdict: Awaited<ReturnType<typeof passwords.check>>) => {
      if (verdict !== 'right') return verdict
      const current = entries.get(id) ?? entry // it may have been changed while the password was checked
      if (current.revoked) return 'revoked'
      return current.text === entry.text ? admit(current) : 'wrong_secret'
    }
    const verdict = passwords.check({ id, password, address, verifier })
    return typeof verdict === 'string' ? settle(verdict) : verdict.then(settle)
  }

  function enter(known: KnownIdentity): void {
    const { kind, id, revoked, limits, verifier: text, machines } = known
    const before = entries.get(id)
    const speaksForItself = kind === 'machine' && machines.every((machine) => machine === id)
    // most of a fleet is alike: what is the same is there once
    entries.set(id, {
      kind,
      id,
      revoked,
      limits: isUnlimited(limits) ? UNLIMITED : limits,
      text,
      verifier: text === null ? undefined : text === before?.text ? before.verifier : parseVerifier(text),
      machines: speaksForItself ? NOBODY : new Set(machines),
      toldAt: before?.toldAt ?? Number.NEGATIVE_INFINITY,
    })
    if (before && lostSomething(before, known)) tell({ kind: before.kind, id })
    // who came in by the name of a machine that had no credentials yet
    if (!before && registered.has(id)) tell({ kind: 'machine', id })
  }

  function tell(identity: Pick<Identity, 'kind' | 'id'>): void {
    for (const listener of listeners) listener(identity)
  }

  return {
    identify({ clientId, username, password = Buffer.alloc(0), certificate, address }: ConnectionAttempt) {
      const showsNoSecret = username === undefined || (username === certificate && password.length === 0)
      if (certificate !== undefined && showsNoSecret) return byCertificate(certificate)
      if (username === undefined) return isOpen() ? anyone(clientId) : 'no_credentials'
      if (service && serviceHash && username === service.username) {
        if (timingSafeEqual(keyedHash(serviceKey, username, password), serviceHash)) return serviceOf(username)
        if (!entries.has(username)) return 'wrong_secret'
      }
      return isOpen() ? anyone(clientId) : bySecret(username, password, address)
    },
    onChange: (listener) => void listeners.push(listener),
    takeOver(change) {
      const wasOpen = isOpen()
      for (const identity of change.identities) enter(identity)
      for (const id of change.registered) registered.add(id)
      if (wasOpen && !isOpen()) tell({ kind: 'anyone', id: '' })
    },
    isOpen,
    foreign() {
      let count = 0
      for (const { verifier, revoked } of entries.values())
        if (!revoked && verifier?.scheme === 'hmac-sha256' && verifier.keyId !== keyId) count++
      return count
    },
    used() {
      const ids = [...used]
      used.clear()
      return ids
    },
  }
}

function anyone(clientId: string): Identity {
  return { kind: 'anyone', id: clientId, limits: UNLIMITED, ...unbound }
}

function serviceOf(username: string): Identity {
  return { kind: 'service', id: username, limits: UNLIMITED, ...unbound }
}

type Rights = Pick<Identity, 'mayPublish' | 'maySubscribe'>

/** What is no topic of ours is kept in quarantine; what the broker tells of itself is nobody's. */
const unbound: Rights = { mayPublish: () => true, maySubscribe: (filter) => !filter.startsWith('$') }

/** @param of asked anew each time: what is assigned changes while a connection lives */
function rightsOf(of: () => Pick<Entry, 'kind' | 'id' | 'machines'>, prefix: string): Rights {
  const { kind, id } = of()
  const hears = (filter: string) => {
    const topic = parseTopic(filter, prefix)
    if (topic?.kind !== 'advice') return false
    return of().machines.has(topic.device) || (kind === 'machine' && topic.device === id)
  }
  if (kind === 'machine') {
    const own = `${prefix}machines/${id}/`
    const mayPublish = (topic: string) => topic.startsWith(own) && SENT_BY_MACHINES.has(topic.slice(own.length))
    return { mayPublish, maySubscribe: hears }
  }
  if (kind === 'gateway') {
    const own = `${prefix}gateways/${id}/telemetry`
    return { mayPublish: (topic) => topic === own, maySubscribe: hears }
  }
  const mayPublish = (topic: string) => {
    const parsed = parseTopic(topic, prefix)
    if (!parsed || parsed.kind === 'gateway' || parsed.kind === 'advice') return false
    return of().machines.has(parsed.device)
  }
  return { mayPublish, maySubscribe: hears }
}

function isUnlimited(limits: IdentityLimits): boolean {
  return LIMITS.every((name) => limits[name] === undefined)
}

/** Whether somebody who is connected has less now, or has to show another secret. */
function lostSomething(before: Entry, { verifier, revoked, limits, machines }: KnownIdentity): boolean {
  if (verifier !== before.text || (revoked && !before.revoked)) return true
  if (LIMITS.some((name) => limits[name] !== before.limits[name])) return true
  const left = new Set(machines)
  return [...before.machines].some((machine) => !left.has(machine))
}
