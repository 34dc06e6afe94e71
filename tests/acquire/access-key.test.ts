import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openAccessKey } from '../../src/acquire/access-key.ts'

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'outrigger key-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

test('the key is made once, is found again, and is for its owner only', async () => {
  const data = await folder()
  const keys = await Promise.all([openAccessKey(data), openAccessKey(data), openAccessKey(data)])
  expect(keys[0]).toHaveLength(32)
  for (const key of [...keys, await openAccessKey(data)]) expect(key).toEqual(keys[0])
  expect(await openAccessKey(await folder())).not.toEqual(keys[0])
  expect(await readdir(data)).toEqual(['access.key'])
  expect((await stat(join(data, 'access.key'))).mode & 0o777).toBe(0o600)
})

test('a file that holds no key is not replaced: what was issued under it would be lost', async () => {
  const data = await folder()
  await writeFile(join(data, 'access.key'), 'abc')
  await expect(openAccessKey(data)).rejects.toThrow('holds no key')
  expect(await readFile(join(data, 'access.key'), 'utf8')).toBe('abc')
})
