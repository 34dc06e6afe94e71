import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { nodeDisk, type SpoolDisk, type SpoolFile } from '../../src/acquire/spool-disk.ts'

/** A number from 0 up to 1, the same ones for the same seed. */
export type Random = () => number

export function seeded(seed: number): Random {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    return (state >>> 0) / 2 ** 32
  }
}

interface Write {
  readonly at: number
  readonly bytes: Buffer
}

interface Content {
  readonly path: string
  /** On the medium for sure. */
  durable: Buffer
  /** Written since; a power cut may keep any part of it. */
  unsynced: Write[]
  /** Whether its name is on the medium for sure. */
  named: boolean
}

export interface CrashDisk extends SpoolDisk {
  /** Makes `folder` what a power cut now would leave; `random` decides about everything that was not synced. */
  leave(folder: string, random: Random): void
  /** The next syncs of files fail, and what they should have made durable never will be. */
  failSyncs(count: number): void
}

const BLOCK_BYTES = 512

/** A disk that keeps apart what a power cut is allowed to take, over a real folder. */
export function crashDisk(random: Random): CrashDisk {
  const files = new Map<string, Content>()
  let failing = 0

  const sometime = async () => {
    for (let turns = random() * 4; turns > 0; turns--) await new Promise((done) => setImmediate(done))
  }

  const recorded = (file: SpoolFile, content: Content): SpoolFile => ({
    ...file,
    async write(bytes, from, length, at) {
      await sometime()
      // a disk may take less than it was given
      const taken = random() < 0.1 ? Math.ceil(length * random()) || 1 : length
      content.unsynced.push({ at, bytes: Buffer.from(bytes.subarray(from, from + taken)) })
      return file.write(bytes, from, taken, at)
    },
    async datasync() {
      const writes = content.unsynced
      await sometime()
      await file.datasync()
      // as Linux does it: the failure is told once, and what was to be written counts as written
      content.unsynced = content.unsynced.filter((write) => !writes.includes(write))
      if (failing > 0) {
        failing--
        throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
      }
      content.durable = applied(content.durable, writes)
    },
  })

  return {
    ...nodeDisk,
    async create(path) {
      const file = await nodeDisk.create(path)
      const content: Content = { path, durable: Buffer.alloc(0), unsynced: [], named: false }
      files.set(path, content)
      return recorded(file, content)
    },
    async syncFolder(path) {
      const inFolder = [...files.values()].filter((file) => dirname(file.path) === path)
      await sometime()
      await nodeDisk.syncFolder(path)
      for (const file of inFolder) file.named = true
    },
    leave(folder, chance) {
      mkdirSync(folder)
      for (const { path, durable, unsynced, named } of files.values()) {
        if (!named && chance() < 0.5) continue
        writeFileSync(join(folder, basename(path)), applied(durable, torn(unsynced, chance)))
      }
    },
    failSyncs(count) {
      failing = count
    },
  }
}

function applied(content: Buffer, writes: readonly Write[]): Buffer {
  const length = Math.max(content.length, ...writes.map(({ at, bytes }) => at + bytes.length))
  const after = Buffer.alloc(length)
  content.copy(after)
  for (const { at, bytes } of writes) bytes.copy(after, at)
  return after
}

/** Some blocks of what was written are there, later ones too where earlier ones are missing. */
function torn(writes: readonly Write[], random: Random): Write[] {
  const kept = random()
  return writes.flatMap(({ at, bytes }) => {
    const blocks: Write[] = []
    for (let from = 0; from < bytes.length; ) {
      const to = Math.min(bytes.length, from + BLOCK_BYTES - ((at + from) % BLOCK_BYTES))
      const cut = random() < 0.05 ? from + Math.floor(random() * (to - from)) : to
      if (random() < kept) blocks.push({ at: at + from, bytes: bytes.subarray(from, cut) })
      from = to
    }
    return blocks
  })
}
