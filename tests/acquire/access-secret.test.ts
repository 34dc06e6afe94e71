import { expect, test } from 'vitest'
import {
  isPassword,
  isSecret,
  issueSecret,
  keyIdOf,
  parseVerifier,
  passwordVerifier,
  secretVerifier,
} from '../../src/acquire/access-secret.ts'

const key = new Uint8Array(32).fill(7)

test('issued secrets have 192 bits, are safe in a URL, and never the same', () => {
  const secrets = Array.from({ length: 1_000 }, issueSecret)
  expect(new Set(secrets).size).toBe(1_000)
  for (const secret of secrets) expect(secret).toMatch(/^[A-Za-z0-9_-]{32}$/)
})

test('a secret is recognised by its own identity and key alone', () => {
  const secret = issueSecret()
  const text = secretVerifier(key, 'pump-1', secret)
  expect(text).not.toContain(secret)
  const verifier = parseVerifier(text)
  if (verifier.scheme !== 'hmac-sha256') throw new Error('not a keyed hash')
  const fits = (by: Uint8Array, id: string, shown: string) => isSecret(by, id, Buffer.from(shown), verifier.hash)
  expect(fits(key, 'pump-1', secret)).toBe(true)
  expect(fits(key, 'pump-2', secret)).toBe(false)
  expect(fits(key, 'pump-1', `${secret}x`)).toBe(false)
  expect(fits(key, 'pump-1', '')).toBe(false)
  const other = new Uint8Array(32).fill(8)
  expect(fits(other, 'pump-1', secret)).toBe(false)
  expect([verifier.keyId === keyIdOf(key), verifier.keyId === keyIdOf(other)]).toEqual([true, false])
})

test('a password is recognised by its slow hash, whose cost stands beside it', async () => {
  const text = await passwordVerifier('correct horse battery')
  expect(text).toMatch(/^scrypt\$N=16384,r=8,p=5\$/)
  const verifier = parseVerifier(text)
  if (verifier.scheme !== 'scrypt') throw new Error('not a slow hash')
  expect(await isPassword(Buffer.from('correct horse battery'), verifier)).toBe(true)
  expect(await isPassword(Buffer.from('correct horse'), verifier)).toBe(false)
  expect(await passwordVerifier('correct horse battery')).not.toBe(text)
})

for (const text of ['', 'hmac-sha256$', 'scrypt$N=1$x$y', 'plain$secret', 'hmac-sha256$00000000$short'])
  test(`'${text}' is no verifier`, () => expect(() => parseVerifier(text)).toThrow(RangeError))
