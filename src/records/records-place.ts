import { randomUUID } from 'node:crypto'
import { chmod, chown, lstat, mkdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { type Account, canWrite, unprivilegedAccount } from './account.ts'

/** Where the embedded PostgreSQL keeps its things, and as whom it runs. */
export interface RecordsPlace {
  /** Belongs to the account and to nobody else; holds the cluster. */
  readonly folder: string
  /** Where the Unix socket is; may be `folder` itself. */
  readonly socketFolder: string
  /** undefined: as the account that runs us. */
  readonly account: Account | undefined
}

/** The folder of the cluster inside a place. */
export const CLUSTER = 'pgdata'

/** What PostgreSQL calls its socket. */
export const SOCKET_NAME = '.s.PGSQL.5432'

const ID_FILE = 'records-id'
const LONGEST_SOCKET_PATH = 107 // bytes; the kernel's limit, less the closing zero

/**
 * Chooses, makes and opens the folders of the embedded PostgreSQL: in the data folder; or, where we are root and the
 * unprivileged account cannot reach the data folder, in the system's state folder under a random id, which is kept in
 * the data folder. Records that exist are found again in either place.
 */
export async function placeRecords(dataFolder: string, stateFolder: string): Promise<RecordsPlace> {
  const inside = join(await realpath(dataFolder), 'records')
  if (process.getuid?.() !== 0) {
    await mkdir(inside, { recursive: true, mode: 0o700 })
    return { folder: inside, account: undefined, socketFolder: await placeSocket(dataFolder, inside, undefined) }
  }
  const account = (await ownerOf(join(inside, CLUSTER))) ?? (await unprivilegedAccount())
  const folder = await placeFor(account, dataFolder, inside, stateFolder)
  return { folder, account, socketFolder: await placeSocket(dataFolder, folder, account) }
}

async function placeFor(account: Account, dataFolder: string, inside: string, stateFolder: string): Promise<string> {
  if (await exists(join(inside, CLUSTER))) return inside
  const outside = join(stateFolder, await readId(dataFolder))
  if (!(await exists(join(outside, CLUSTER)))) {
    if (await open(inside, account)) return inside
    await rm(inside, { recursive: true })
    await mkdir(stateFolder, { recursive: true })
    await chmod(stateFolder, 0o755)
    if (!(await open(outside, account))) {
      throw new Error(
        `neither ${inside} nor ${outside} can be written by the account ${account.uid} that PostgreSQL has to run under; set OUTRIGGER_DATA to a folder that it can reach, or name a PostgreSQL server in DATABASE_URL`,
      )
    }
  }
  await claim(outside, dataFolder)
  return outside
}

/** @returns whether the account can work in the folder, which is made for it when it is missing */
async function open(folder: string, account: Account): Promise<boolean> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chown(folder, account.uid, account.gid)
  return canWrite(account, folder)
}

/** A cluster may only be run by the account that owns it: an ordinary user's start may come before root's. */
async function ownerOf(cluster: string): Promise<Account | undefined> {
  const owner = await stat(cluster).catch(() => undefined)
  return owner === undefined || owner.uid === 0 ? undefined : { uid: owner.uid, gid: owner.gid }
}

const claimSchema = z.object({ path: z.string(), device: z.number(), inode: z.number() })

/** A copied data folder carries the id of the original: two of them must not write into the same records. */
async function claim(folder: string, dataFolder: string): Promise<void> {
  const file = join(folder, 'belongs-to.json')
  const { dev: device, ino: inode } = await stat(dataFolder)
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text !== undefined) {
    const original = claimSchema.parse(JSON.parse(text))
    const there = await stat(original.path).catch(() => undefined)
    const ours = original.device === device && original.inode === inode
    if (!ours && there?.dev === original.device && there.ino === original.inode) {
      throw new Error(
        `the records of ${dataFolder} in ${folder} belong to ${original.path}, of which it seems to be a copy; delete ${join(dataFolder, ID_FILE)} to begin with empty records`,
      )
    }
  }
  await writeFile(file, JSON.stringify({ path: await realpath(dataFolder), device, inode }))
}

/** Random, and never derived from the path: a folder that was deleted and made again must not find old records. */
async function readId(dataFolder: string): Promise<string> {
  const file = join(dataFolder, ID_FILE)
  const kept = (await readFile(file, 'utf8').catch(() => '')).trim()
  if (/^[0-9a-f]{12}$/.test(kept)) return kept
  const id = randomUUID().replaceAll('-', '').slice(0, 12)
  await writeFile(file, `${id}\n`, { flush: true })
  return id
}

/** The folder itself where its path is short and plain enough for a socket, else one of our own in the temporary folder. */
async function placeSocket(dataFolder: string, folder: string, account: Account | undefined): Promise<string> {
  if (fits(folder)) return folder
  const { ino } = await stat(dataFolder) // a copy of the data folder has the same id
  const name = `outrigger-${await readId(dataFolder)}-${ino}`
  for (const parent of [tmpdir(), '/tmp']) {
    const socketFolder = join(parent, name)
    if (fits(socketFolder) && (await makePrivate(socketFolder, account))) return socketFolder
  }
  throw new Error(`no folder for PostgreSQL's socket: ${folder} has too long a path, and /tmp cannot be used`)
}

function fits(folder: string): boolean {
  const length = Buffer.byteLength(join(folder, SOCKET_NAME))
  return length <= LONGEST_SOCKET_PATH && /^[A-Za-z0-9/._-]+$/.test(folder)
}

/** Everybody may write in the temporary folder: only a folder that is really ours will do. */
async function makePrivate(folder: string, account: Account | undefined): Promise<boolean> {
  try {
    await mkdir(folder, { mode: 0o700 })
    if (account) await chown(folder, account.uid, account.gid)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false
  }
  const { uid, mode } = await lstat(folder)
  const isOurs = uid === (account?.uid ?? process.getuid?.()) && (mode & 0o170777) === 0o040700
  return isOurs && canWrite(account, folder)
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
