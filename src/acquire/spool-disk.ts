import { type FileHandle, open, rm, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What the spool asks of the file system when it writes; a test puts a disk that fails or crashes in its place. */
export interface SpoolDisk {
  /** Makes a file, in place of one that stands there. */
  create(path: string): Promise<SpoolFile>
  /** Resolves when the names in the folder are on the medium. */
  syncFolder(path: string): Promise<void>
  /** Resolves when the content of a file, and its name, is on the medium; also where there is none. */
  syncFile(path: string): Promise<void>
  remove(path: string): Promise<void>
  /** Bytes that may still be written below the folder. */
  freeBytes(folder: string): Promise<number>
}

export interface SpoolFile {
  /** @returns how many bytes were written, which may be fewer */
  write(bytes: Buffer, from: number, length: number, at: number): Promise<number>
  /** Resolves when what was written, and the size, is on the medium. After a failure nothing of it may be trusted. */
  datasync(): Promise<void>
  close(): Promise<void>
}

export const nodeDisk: SpoolDisk = {
  async create(path) {
    await rm(path, { force: true }) // not emptied: what the kernel holds of a file whose sync failed is not to be trusted
    return spoolFile(await open(path, 'wx'))
  },
  async syncFolder(path) {
    if (process.platform === 'win32') return // neither needed nor possible for a folder there
    await sync(path)
  },
  async syncFile(path) {
    await sync(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    await nodeDisk.syncFolder(dirname(path))
  },
  remove: (path) => rm(path, { force: true }),
  async freeBytes(folder) {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  },
}

function spoolFile(handle: FileHandle): SpoolFile {
  return {
    write: async (bytes, from, length, at) => (await handle.write(bytes, from, length, at)).bytesWritten,
    datasync: () => handle.datasync(),
    close: () => handle.close(),
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Whether there was no room for what was to be written. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}
