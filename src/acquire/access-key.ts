import { randomBytes } from 'node:crypto'
import { link, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'

/** Key of this installation under which issued secrets are kept; 32 bytes. */
export type AccessKey = Uint8Array

const KEY_FILE = 'access.key'

/**
 * The key that lives in the data folder, for the eyes of the account that runs us only; made at its first use. Secrets
 * that were issued under a lost key fit nothing any more.
 *
 * @throws {Error} the file is there and holds no key
 */
export async function openAccessKey(dataFolder: string): Promise<AccessKey> {
  const file = join(dataFolder, KEY_FILE)
  const text = await readFile(file, 'utf8').catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    await makeKey(dataFolder, file)
    return readFile(file, 'utf8')
  })
  if (!/^[0-9a-f]{64}\n?$/.test(text)) {
    throw new Error(
      `${file} holds no key; restore it from a backup, or delete it and rotate every secret that was issued under it`,
    )
  }
  return new Uint8Array(Buffer.from(text.trim(), 'hex'))
}

/** Whole and on disk from the moment it has its name; of two that make one, the first wins. */
async function makeKey(folder: string, file: string): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  const handle = await open(draft, 'wx', 0o600)
  try {
    await handle.writeFile(`${randomBytes(32).toString('hex')}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await link(draft, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await unlink(draft)
  const directory = await open(folder)
  await directory.sync().finally(() => directory.close())
}
