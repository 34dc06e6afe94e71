import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { processIdentity } from './process-identity.ts'

/** How to reach a PostgreSQL: fields of `pg`'s configuration; `host` is a folder where it is a Unix socket. */
export interface RecordsConnection {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  readonly password?: string | undefined
}

/** What a running service tells about itself in `holder.json`. */
export interface HolderFacts {
  /** Where its API listens, `http://…`; absent until it does. */
  readonly address?: string | undefined
  /** Where machines publish to it, `mqtt://…`: its own broker, or the one it is a client of. */
  readonly broker?: string | undefined
  /** Its PostgreSQL, where it is the embedded one. */
  readonly records?: RecordsConnection | undefined
}

export interface Holder extends HolderFacts {
  readonly pid: number
  /** RFC 3339. */
  readonly startedAt: string
}

export interface DataFolderHold {
  /** Replaces what the holder file tells. */
  update(facts: HolderFacts): Promise<void>
  release(): Promise<void>
}

/** Another process works on the folder. */
export class DataFolderHeld extends Error {
  override readonly name = 'DataFolderHeld'
  readonly folder: string
  readonly pid: number
  readonly address: string | undefined

  constructor(folder: string, holder: Holder) {
    super(`${folder} is in use by process ${holder.pid}${holder.address ? `, which listens on ${holder.address}` : ''}`)
    this.folder = folder
    this.pid = holder.pid
    this.address = holder.address
  }
}

const HOLDER_FILE = 'holder.json'

const holderSchema = z.object({
  pid: z.int().positive(),
  process: z.string(),
  token: z.string(),
  startedAt: z.string(),
  address: z.string().optional(),
  broker: z.string().optional(),
  records: z
    .object({
      host: z.string(),
      port: z.int(),
      user: z.string(),
      database: z.string(),
      password: z.string().optional(),
    })
    .optional(),
})
type HolderRecord = z.infer<typeof holderSchema>

/**
 * Makes this process the only one that works on the folder, which is made when it is missing.
 * The hold ends with `release()` or with the process, however it ends.
 *
 * @throws {DataFolderHeld} a living process holds it (this one included)
 */
export async function holdDataFolder(folder: string, facts: HolderFacts = {}): Promise<DataFolderHold> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, HOLDER_FILE)
  const identity = processIdentity(process.pid)
  if (identity === undefined) throw new Error('cannot tell when this process was started')
  const own = { pid: process.pid, process: identity, token: randomUUID(), startedAt: new Date().toISOString() }
  await take(path, { ...own, ...facts }, folder)
  return {
    update: (changed) => replace(path, { ...own, ...changed }),
    async release() {
      const holder = await readRecord(path)
      if (holder?.token === own.token) await unlink(path)
    },
  }
}

/** The living process that holds the folder; undefined: nobody does. */
export async function readHolder(folder: string): Promise<Holder | undefined> {
  const holder = await readRecord(join(folder, HOLDER_FILE))
  if (holder === undefined || !lives(holder)) return undefined
  const { pid, startedAt, address, broker, records } = holder
  return { pid, startedAt, address, broker, records }
}

/**
 * Creates the file, or takes it over from a process that has ended. Who takes over holds a lock of the same kind that
 * is named after the dead hold, and looks again under it: so nobody replaces a file that has found a living holder since.
 */
async function take(path: string, record: HolderRecord, folder: string): Promise<void> {
  for (;;) {
    if (await create(path, record)) return
    const dead = await readRecord(path)
    if (dead === undefined) continue
    if (lives(dead)) throw new DataFolderHeld(folder, dead)

    const claim = `${path}.${dead.token}`
    try {
      await take(claim, record, folder)
    } catch (error) {
      if (!(error instanceof DataFolderHeld)) throw error
      await delay(20) // the other one is about to be the holder, or to give up
      continue
    }
    try {
      const holder = await readRecord(path)
      if (holder?.token !== dead.token) continue
      await replace(path, record)
      return
    } finally {
      await unlink(claim)
    }
  }
}

function lives(holder: HolderRecord): boolean {
  return processIdentity(holder.pid) === holder.process
}

/** A file that cannot be read is one that nobody holds: ours are complete from the moment they have their name. */
const UNREADABLE: HolderRecord = { pid: 0, process: '', token: 'unreadable', startedAt: '' }

async function readRecord(path: string): Promise<HolderRecord | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    return holderSchema.parse(JSON.parse(text))
  } catch {
    return UNREADABLE
  }
}

/** @returns false: the file is there already */
async function create(path: string, record: HolderRecord): Promise<boolean> {
  const draft = await writeDraft(path, record)
  try {
    await link(draft, path)
    return true
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  } finally {
    await unlink(draft)
  }
}

async function replace(path: string, record: HolderRecord): Promise<void> {
  await rename(await writeDraft(path, record), path)
}

async function writeDraft(path: string, record: HolderRecord): Promise<string> {
  const draft = `${path}.${randomUUID()}`
  const file = await open(draft, 'wx')
  try {
    await file.writeFile(`${JSON.stringify(record, undefined, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  return draft
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
