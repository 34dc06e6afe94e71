import { type FileHandle, open, unlink } from 'node:fs/promises'

/** A secret that is told once. */
export interface ToldSecret {
  /** User name. */
  readonly id: string
  readonly secret: string
}

/** A file for secrets, of its owner only. */
export interface SecretsFile {
  /** Writes them and forces them to disk. */
  write(secrets: readonly ToldSecret[]): Promise<void>
  /** Takes the file away again where nothing was written into it. */
  close(): Promise<void>
}

/**
 * Makes the file before anything is issued: a secret that cannot be written down is lost.
 *
 * @throws {Error} `EEXIST`: what is there may be the only copy of other secrets
 */
export async function openSecretsFile(path: string): Promise<SecretsFile> {
  const handle: FileHandle = await open(path, 'wx', 0o600)
  let isEmpty = true
  return {
    async write(secrets) {
      const lines = secrets.map(({ id, secret }) => `${id},${secret}\n`)
      await handle.writeFile(`username,password\n${lines.join('')}`)
      await handle.sync()
      isEmpty = false
    },
    async close() {
      await handle.close()
      if (isEmpty) await unlink(path)
    },
  }
}
