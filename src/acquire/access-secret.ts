import { createHmac, randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'
import type { AccessKey } from './access-key.ts'

/** How a secret is recognised without being kept. As text it is what the records hold. */
export type Verifier =
  /** Of a random secret that we issued: a keyed hash, checked in microseconds. */
  | { readonly scheme: 'hmac-sha256'; readonly keyId: string; readonly hash: Buffer }
  /** Of a password that somebody brought along: guessing has to be slow, so checking is. */
  | { readonly scheme: 'scrypt'; readonly cost: ScryptCost; readonly salt: Buffer; readonly hash: Buffer }

export type ScryptVerifier = Extract<Verifier, { scheme: 'scrypt' }>

interface ScryptCost {
  readonly N: number
  readonly r: number
  readonly p: number
}

const SECRET_BYTES = 24 // 192 bit
/** 16 MB and 170 ms of one core: what OWASP asks for at least. */
const COST: ScryptCost = { N: 16_384, r: 8, p: 5 }
const HASH_BYTES = 32

/** A new secret, URL-safe text of 192 random bits. */
export function issueSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url')
}

/** @param id user name: the hash of one identity is of no use for another */
export function secretVerifier(key: AccessKey, id: string, secret: string): string {
  return `hmac-sha256$${keyIdOf(key)}$${keyedHash(key, id, secret).toString('base64url')}`
}

/** @throws {Error} there is no memory for it */
export async function passwordVerifier(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await slowHash(password, salt, COST)
  const { N, r, p } = COST
  return `scrypt$N=${N},r=${r},p=${p}$${salt.toString('base64url')}$${hash.toString('base64url')}`
}

const FORMS = [
  /^(hmac-sha256)\$([0-9a-f]{8})\$([\w-]{43})$/,
  /^(scrypt)\$N=(\d{1,7}),r=(\d{1,2}),p=(\d{1,2})\$([\w-]{22})\$([\w-]{43})$/,
]

/** @throws {RangeError} not what `secretVerifier` or `passwordVerifier` made */
export function parseVerifier(text: string): Verifier {
  const [, scheme, ...parts] = FORMS.map((form) => form.exec(text)).find((found) => found !== null) ?? []
  const bytes = (at: number) => Buffer.from(parts[at] as string, 'base64url')
  if (scheme === 'hmac-sha256') return { scheme, keyId: parts[0] as string, hash: bytes(1) }
  if (scheme !== 'scrypt') throw new RangeError('no verifier of a secret')
  const [N, r, p] = parts.slice(0, 3).map(Number) as [number, number, number]
  return { scheme, cost: { N, r, p }, salt: bytes(3), hash: bytes(4) }
}

/** Which key a keyed hash was made under, to tell a wrong secret from a lost key. Tells nothing of the key. */
export function keyIdOf(key: AccessKey): string {
  return createHmac('sha256', key).update('key id').digest('hex').slice(0, 8)
}

/** In microseconds, and as long for a wrong one as for the right one. */
export function isSecret(key: AccessKey, id: string, secret: Buffer, expected: Buffer): boolean {
  return timingSafeEqual(keyedHash(key, id, secret), expected)
}

/** Takes as long as the verifier's cost says, on a thread of libuv. */
export async function isPassword(password: Buffer, { cost, salt, hash }: ScryptVerifier): Promise<boolean> {
  return timingSafeEqual(await slowHash(password, salt, cost), hash)
}

export function keyedHash(key: Uint8Array, id: string, secret: Buffer | string): Buffer {
  return createHmac('sha256', key).update(`${id}\0`).update(secret).digest()
}

function slowHash(password: Buffer | string, salt: Buffer, { N, r, p }: ScryptCost): Promise<Buffer> {
  const options: ScryptOptions = { N, r, p, maxmem: 256 * N * r }
  return new Promise((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, options, (error, hash) => (error ? reject(error) : resolve(hash)))
  })
}
