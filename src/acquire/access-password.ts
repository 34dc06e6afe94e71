import { randomBytes } from 'node:crypto'
import type { RefusedLogin } from './access.ts'
import { isPassword, keyedHash, type ScryptVerifier } from './access-secret.ts'

export type PasswordVerdict = 'right' | Extract<RefusedLogin, 'wrong_secret' | 'too_many_attempts' | 'busy'>

/** A password as it was shown by somebody. */
export interface PasswordAttempt {
  readonly id: string
  readonly password: Buffer
  readonly address: string
  readonly verifier: ScryptVerifier
}

export interface PasswordCheck {
  /** At once for what was seen before; never rejects. */
  check(attempt: PasswordAttempt): PasswordVerdict | Promise<PasswordVerdict>
}

/** Checks waiting for their turn, of all identities. */
const QUEUE = 200
/** And of one identity, so that whoever guesses its password from many addresses takes no place of others. */
const QUEUE_OF_IDENTITY = 2
/** Wrong passwords of one identity from one address, until they are looked at only now and then. */
const BURST = 5
const REFILL_MS = 10_000
/** What is remembered of wrong passwords; the oldest is forgotten first. */
const REMEMBERED = 20_000

/**
 * Checks passwords that people brought along, one after the other, because each takes a core for a while. What was found
 * right or wrong is recognised again by a hash under a key that lives as long as this process.
 *
 * @param now epoch ms or any clock that does not go back
 */
export function openPasswordCheck({ now }: { readonly now: () => number }): PasswordCheck {
  const key = randomBytes(32)
  const right = new Map<string, string>() // by identity: it has one password
  const wrong = new Set<string>()
  const waiting = new Map<string, Promise<PasswordVerdict>>()
  const waitingOf = new Map<string, number>()
  const bursts = new Map<string, { left: number; at: number }>() // by identity and address
  let last: Promise<unknown> = Promise.resolve()

  /** @returns whether a password may be looked at that was not seen before */
  function takeChance(source: string): boolean {
    const at = now()
    const before = bursts.get(source) ?? { left: BURST, at }
    const left = Math.min(BURST, before.left + (at - before.at) / REFILL_MS)
    bursts.delete(source) // and in again behind the others
    bursts.set(source, { left: left < 1 ? left : left - 1, at })
    forgetOldest(bursts)
    return left >= 1
  }

  async function look(digest: string, { id, password, address, verifier }: PasswordAttempt): Promise<PasswordVerdict> {
    const isRight = await isPassword(password, verifier)
    if (!isRight) {
      wrong.add(digest)
      forgetOldest(wrong)
      return 'wrong_secret'
    }
    right.set(id, digest)
    bursts.delete(`${id} ${address}`)
    return 'right'
  }

  function enqueue(digest: string, attempt: PasswordAttempt): Promise<PasswordVerdict> {
    const { id } = attempt
    waitingOf.set(id, (waitingOf.get(id) ?? 0) + 1)
    // no memory for a check is nobody's wrong password
    const verdict = last.then(() => look(digest, attempt)).catch((): PasswordVerdict => 'busy')
    last = verdict.then(() => {
      waiting.delete(digest)
      const others = (waitingOf.get(id) ?? 1) - 1
      if (others === 0) waitingOf.delete(id)
      else waitingOf.set(id, others)
    })
    waiting.set(digest, verdict)
    return verdict
  }

  return {
    check(attempt) {
      const { id, address, verifier, password } = attempt
      // the salt goes in: what was right before a rotation is not right after it
      const digest = keyedHash(key, `${id}\0${verifier.salt.toString('base64')}`, password).toString('base64')
      if (right.get(id) === digest) return 'right'
      if (wrong.has(digest)) return 'wrong_secret'
      const same = waiting.get(digest)
      if (same) return same
      if (waiting.size >= QUEUE) return 'busy'
      if ((waitingOf.get(id) ?? 0) >= QUEUE_OF_IDENTITY || !takeChance(`${id} ${address}`)) return 'too_many_attempts'
      return enqueue(digest, attempt)
    },
  }
}

function forgetOldest(remembered: Map<string, unknown> | Set<string>): void {
  if (remembered.size <= REMEMBERED) return
  for (const oldest of remembered.keys()) {
    remembered.delete(oldest)
    return
  }
}
