import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import pino from 'pino'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Account, runAs, unprivilegedAccount } from '../../src/records/account.ts'
import { DataFolderHeld, type RecordsConnection } from '../../src/records/data-folder.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/records/embedded-postgres.ts'
import { processIdentity } from '../../src/records/process-identity.ts'
import { projectRoot } from '../../src/root.ts'
import { bundleProgram, startProgram } from './start-program.ts'

const log = pino({ level: 'silent' })
const isRoot = process.getuid?.() === 0

interface Folders {
  readonly folder: string
  readonly stateFolder: string
}

/** A data folder that everybody can reach, and a folder for what root's start has to put elsewhere. */
async function emptyFolders(): Promise<Folders> {
  const top = await realpath(await mkdtemp(join(tmpdir(), 'outrigger-pg-')))
  onTestFinished(() => rm(top, { recursive: true, force: true, maxRetries: 3 }))
  await chmod(top, 0o755)
  await mkdir(join(top, 'data'))
  return { folder: join(top, 'data'), stateFolder: join(top, 'state') }
}

// Making a cluster takes longer than all else here: it is made once, and the tests begin with copies.
const original = await mkdtemp(join(tmpdir(), 'outrigger-pg-'))
await chmod(original, 0o755)
await startEmbeddedPostgres({ folder: original, log }).then((postgres) => postgres.stop())
afterAll(() => rm(original, { recursive: true }))

async function folders(): Promise<Folders> {
  const made = await emptyFolders()
  execFileSync('cp', ['-pR', join(original, 'records'), made.folder])
  return made
}

async function start(config: Folders): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ ...config, log })
  onTestFinished(() => postgres.stop())
  return postgres
}

async function query(connection: RecordsConnection, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ ...connection })
  client.on('error', () => {}) // the server may be killed while we are connected
  await client.connect()
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows.flat()
  } finally {
    await client.end()
  }
}

async function ended(pid: number): Promise<void> {
  while (processIdentity(pid) !== undefined) await delay(10)
}

function childrenOf(pid: number): { pid: number; command: string }[] {
  const list = execFileSync('ps', ['-e', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' })
  return list
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent]) => Number(parent) === pid)
    .map(([child, , command]) => ({ pid: Number(child), command: command ?? '' }))
}

test('embedded PostgreSQL: keeps what was committed from one start to the next', async () => {
  const config = await folders()
  const first = await start(config)
  await query(first.connection, 'create table kept as select 42 as value')
  expect(first.where).toBe(join(config.folder, 'records', 'pgdata'))
  await first.stop()
  expect(processIdentity(first.pid)).toBeUndefined()

  const second = await start(config)
  expect(await query(second.connection, 'select value from kept')).toEqual([42])
})

test('embedded PostgreSQL: is durable, checks its pages, and listens on a private socket only', async () => {
  const { connection, where } = await start(await folders())
  const settings = ['fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums', 'listen_addresses']
  const values = await Promise.all(settings.map((name) => query(connection, `show ${name}`)))
  expect(values.flat()).toEqual(['on', 'on', 'on', 'on', ''])
  expect((await stat(connection.host)).mode & 0o777).toBe(0o700)
  expect((await stat(where)).mode & 0o777).toBe(0o700)
})

test('embedded PostgreSQL: sorts text by bytes and speaks UTF-8, whatever the machine is set to', async () => {
  const { connection } = await start(await folders())
  expect(await query(connection, `select x from unnest(array['b', 'ä', 'B', '泵']) x order by x`)).toEqual([
    'B',
    'b',
    'ä',
    '泵',
  ])
})

for (const { name, below } of [
  { name: 'with spaces and quotes in its path', below: `my "data", it's` },
  { name: 'whose path is too long for a socket', below: 'a-long-name/'.repeat(10) },
]) {
  test(`embedded PostgreSQL: works in a folder ${name}`, async () => {
    const { folder, stateFolder } = await folders()
    const inside = join(folder, below)
    await mkdir(inside, { recursive: true })
    await rename(join(folder, 'records'), join(inside, 'records'))
    const postgres = await start({ folder: inside, stateFolder })
    expect(await query(postgres.connection, 'select 1')).toEqual([1])
    expect(postgres.where).toBe(join(inside, 'records', 'pgdata'))
    expect(postgres.connection.host.startsWith(inside)).toBe(false)
    await postgres.stop()
    await expect(stat(postgres.connection.host)).rejects.toThrow('ENOENT')
  })
}

test('embedded PostgreSQL: works in a folder that is named from where we are', async () => {
  const { folder, stateFolder } = await folders()
  const { connection, where } = await start({ folder: relative(process.cwd(), folder), stateFolder })
  expect(where).toBe(join(folder, 'records', 'pgdata'))
  expect(await query(connection, 'select 1')).toEqual([1])
})

test('embedded PostgreSQL: a second start on the same folder is refused, the first goes on', async () => {
  const config = await folders()
  const { connection } = await start(config)
  await expect(startEmbeddedPostgres({ ...config, log })).rejects.toThrow(DataFolderHeld)
  expect(await query(connection, 'select 1')).toEqual([1])
})

test('embedded PostgreSQL: says why when it ends by itself, and starts again', async () => {
  const config = await folders()
  const postgres = await start(config)
  process.kill(postgres.pid, 'SIGKILL')
  expect(await postgres.exited).toContain('SIGKILL')
  await postgres.stop()
  expect(await query((await start(config)).connection, 'select 1')).toEqual([1])
})

test('embedded PostgreSQL: a cluster that was interrupted while it was made is made anew', async () => {
  const config = await folders()
  const records = join(config.folder, 'records')
  await cp(join(records, 'pgdata', 'base'), join(records, 'pgdata.half', 'base'), { recursive: true })
  await rm(join(records, 'pgdata'), { recursive: true })

  const { connection } = await start(config)
  expect(await query(connection, 'select 1')).toEqual([1])
  expect((await readdir(records)).filter((name) => name.startsWith('pgdata'))).toEqual(['pgdata'])
})

describe('embedded PostgreSQL: when the process that runs it is killed', () => {
  async function owner(config: Folders) {
    const { child, said } = await startProgram(await bundleProgram('postgres-owner.ts'), [
      config.folder,
      config.stateFolder,
    ])
    return { child, ...(said as { pid: number; connection: RecordsConnection }) }
  }

  test('it ends by itself', async () => {
    const { child, pid } = await owner(await folders())
    child.kill('SIGKILL')
    await ended(pid)
  })

  test('the next start comes at once, and finds what was committed', async () => {
    const config = await folders()
    const { child, connection } = await owner(config)
    await query(connection, 'create table kept as select 42 as value')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await query((await start(config)).connection, 'select value from kept')).toEqual([42])
  })

  test('the next start ends it where nothing else does, with a client in the middle of a transaction', async () => {
    const config = await folders()
    const { child, pid, connection } = await owner(config)
    const client = new pg.Client({ ...connection })
    client.on('error', () => {})
    await client.connect()
    await client.query('begin; create table lost (x int)')
    const watcher = childrenOf(child.pid ?? 0).find(({ command }) => command === 'sh')
    process.kill(watcher?.pid ?? Number.NaN, 'SIGKILL')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(processIdentity(pid)).toBeDefined()

    const next = await start(config)
    expect(processIdentity(pid)).toBeUndefined()
    expect(await query(next.connection, `select to_regclass('lost')`)).toEqual([null])
  })

  test('a postmaster that was killed with it leaves nothing that stops the next start', async () => {
    const config = await folders()
    const { child, pid } = await owner(config)
    const watcher = childrenOf(child.pid ?? 0).find(({ command }) => command === 'sh')
    process.kill(watcher?.pid ?? Number.NaN, 'SIGKILL')
    process.kill(pid, 'SIGKILL')
    child.kill('SIGKILL')
    await once(child, 'exit')
    await ended(pid)
    const lock = join(config.folder, 'records', 'pgdata', 'postmaster.pid')
    expect(await readFile(lock, 'utf8')).toContain(`${pid}`)
    // As if another process had its pid by now.
    const stranger = spawn('sleep', ['60'])
    onTestFinished(() => void stranger.kill())
    await writeFile(lock, (await readFile(lock, 'utf8')).replace(`${pid}`, `${stranger.pid}`))
    expect(await query((await start(config)).connection, 'select 1')).toEqual([1])
  })

  test('but not by the Ctrl-C of a terminal, which is for the process alone', async () => {
    const { child, connection } = await owner(await folders())
    process.kill(-(child.pid ?? Number.NaN), 'SIGINT')
    await delay(100)
    expect(await query(connection, 'select 1')).toEqual([1])
    child.stdin?.end()
    expect(await once(child, 'exit')).toEqual([0, null])
  })
})

const user = { uid: 1, gid: 1 } // `daemon`: initdb wants an account that has a name
const reachesProject = isRoot && (await reaches(user, projectRoot))

async function reaches(account: Account, folder: string): Promise<boolean> {
  return runAs(account, '/bin/sh', ['-c', 'test -r "$1/package.json"', 'sh', folder]).then(
    () => true,
    () => false,
  )
}

describe.runIf(isRoot)('embedded PostgreSQL: started by root', () => {
  test('it runs under an account without rights', async () => {
    const { pid } = await start(await folders())
    expect((await stat(`/proc/${pid}`)).uid).toBe((await unprivilegedAccount()).uid)
  })

  test('the records stand in the state folder where that account cannot reach the data folder', async () => {
    const { folder, stateFolder } = await emptyFolders()
    await chmod(folder, 0o700)
    const config = { folder: join(folder, 'data'), stateFolder }
    const first = await start(config)
    expect(first.where.startsWith(config.stateFolder)).toBe(true)
    await query(first.connection, 'create table kept as select 42 as value')
    await first.stop()
    const second = await start(config)
    expect(second.where).toBe(first.where)
    expect(await query(second.connection, 'select value from kept')).toEqual([42])
  })

  test('records that an ordinary user made are run as that user', async () => {
    const config = await folders()
    for (const path of await readdir(config.folder, { recursive: true }))
      await chown(join(config.folder, path), user.uid, user.gid)
    const { pid } = await start(config)
    expect((await stat(`/proc/${pid}`)).uid).toBe(user.uid)
  })

  test.runIf(reachesProject)('an ordinary user can start it too', async () => {
    const config = await emptyFolders()
    await chown(config.folder, user.uid, user.gid)
    const { child, said } = await startProgram(
      await bundleProgram('postgres-owner.ts'),
      [config.folder, config.stateFolder],
      user,
    )
    const { pid, connection } = said as { pid: number; connection: RecordsConnection }
    expect((await stat(`/proc/${pid}`)).uid).toBe(user.uid)
    expect(await query(connection, 'select 1')).toEqual([1])
    child.stdin?.end()
    expect(await once(child, 'exit')).toEqual([0, null])
  })
})
