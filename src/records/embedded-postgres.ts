import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { BaseLogger } from 'pino'
import { runAs } from './account.ts'
import { holdDataFolder, type RecordsConnection } from './data-folder.ts'
import { endOrphans, removeStaleLocks } from './orphans.ts'
import { findPostgres, type PostgresProgram } from './postgres-program.ts'
import { CLUSTER, placeRecords, type RecordsPlace, SOCKET_NAME } from './records-place.ts'

export interface EmbeddedPostgres {
  readonly connection: RecordsConnection
  /** Of the postmaster. */
  readonly pid: number
  /** The folder of the cluster, for people. */
  readonly where: string
  /** Resolves, with the reason, only when PostgreSQL ends without `stop()`. */
  readonly exited: Promise<string>
  /** Ends PostgreSQL within 5 s, what was committed is kept. May be called again. */
  stop(): Promise<void>
}

export interface EmbeddedPostgresConfig {
  /** `OUTRIGGER_DATA`; made when it is missing. */
  readonly folder: string
  readonly log: BaseLogger
  /** Where the records and the program stand when root's data folder is out of reach of the account PostgreSQL runs under. */
  readonly stateFolder?: string
}

const USER = 'outrigger'
const DATABASE = 'outrigger'

const INITDB_OPTIONS = [
  ...['-U', USER],
  '--auth=trust', // who can reach the socket is let in: its folder is the lock
  ...['--locale=C', '--encoding=UTF8', '--text-search-config=simple'],
  '--no-instructions',
]

/** One small service uses it, on its own machine: few connections, little memory, no background work without need. */
const SETTINGS = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '30',
  superuser_reserved_connections: '2',
  shared_buffers: '16MB',
  temp_buffers: '1MB',
  work_mem: '2MB',
  maintenance_work_mem: '16MB',
  wal_buffers: '1MB',
  huge_pages: 'off',
  io_method: 'sync',
  jit: 'off',
  max_worker_processes: '0',
  max_parallel_workers: '0',
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  max_logical_replication_workers: '0',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '128MB',
  min_wal_size: '32MB',
  checkpoint_timeout: '15min',
  autovacuum_max_workers: '1',
  autovacuum_worker_slots: '1',
  autovacuum_naptime: '5min',
  bgwriter_lru_maxpages: '0',
  bgwriter_delay: '10s',
  wal_writer_delay: '10s',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '',
  log_min_error_statement: 'panic', // statements carry names of customers and people
  log_checkpoints: 'off',
  logging_collector: 'off',
} as const

/**
 * Starts the PostgreSQL that comes with the npm packages, and makes its cluster at the first start.
 * It listens on a Unix socket in a private folder only. It ends with `stop()`, or soon after this process has ended.
 *
 * @throws {DataFolderHeld} a living process runs it already
 * @throws {Error} it does not start; the message ends with what it said
 */
export async function startEmbeddedPostgres(config: EmbeddedPostgresConfig): Promise<EmbeddedPostgres> {
  const { folder: dataFolder, log, stateFolder = '/var/lib/outrigger' } = config
  await mkdir(dataFolder, { recursive: true })
  const place = await placeRecords(dataFolder, stateFolder)
  const copies = place.account ? stateFolder : dataFolder
  const program = await findPostgres(place.account, copies)
  const hold = await holdDataFolder(place.folder)
  const giveUp = async () => {
    if (place.socketFolder !== place.folder) await rm(place.socketFolder, { recursive: true, force: true })
    await hold.release()
  }
  try {
    const cluster = join(place.folder, CLUSTER)
    await endOrphans(cluster, log)
    await removeStaleLocks([join(cluster, 'postmaster.pid'), join(place.socketFolder, `${SOCKET_NAME}.lock`)])
    if (!(await isThere(cluster))) await makeCluster(program, place)
    const server = await startServer(program, place, log)
    return { ...server, where: cluster, stop: () => server.stop().then(giveUp) }
  } catch (error) {
    await giveUp()
    throw error
  }
}

/** Makes the cluster beside its place and then gives it its name: a cluster that has the name is whole. */
async function makeCluster(program: PostgresProgram, { folder, account }: RecordsPlace): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(`${CLUSTER}.`)) await rm(join(folder, name), { recursive: true, force: true, maxRetries: 5 })
  }
  const draft = join(folder, `${CLUSTER}.${randomUUID()}`)
  const options = { cwd: folder, env: environment() }
  try {
    await runAs(account, program.initdb, ['-D', draft, ...INITDB_OPTIONS], options)
    await runAs(account, program.postgres, ['--single', '-D', draft, 'template1'], {
      ...options,
      input: `alter database postgres rename to ${DATABASE};\n`,
    })
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim() || (cause as Error).message
    throw new Error(`the records cannot be made in ${folder}: ${said}`, { cause })
  }
  await rename(draft, join(folder, CLUSTER))
  const handle = await open(folder)
  await handle.sync().finally(() => handle.close())
}

/** Nothing of ours: `PGDATA`, `PGPORT` and their like would lead it elsewhere. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' }
}

type Server = Pick<EmbeddedPostgres, 'connection' | 'pid' | 'exited' | 'stop'>

async function startServer(program: PostgresProgram, place: RecordsPlace, log: BaseLogger): Promise<Server> {
  const settings = Object.entries({ ...SETTINGS, unix_socket_directories: place.socketFolder })
  const args = ['-D', join(place.folder, CLUSTER), ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  const server = spawn(program.postgres, args, {
    cwd: place.folder,
    env: environment(),
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true, // a terminal's Ctrl-C is for us; PostgreSQL ends after we have stopped using it
    ...place.account,
  })
  const ended = once(server, 'exit').then(([code, signal]) => `PostgreSQL ended with ${signal ?? `status ${code}`}`)
  const said = followLog(server.stderr, log)
  const reason = await Promise.race([said.ready, ended])
  if (reason !== undefined || server.pid === undefined) {
    throw new Error(`${reason}: ${said.last().join('; ')}`)
  }

  const watcher = startWatcher(server.pid, place, log)
  let stopping = false
  const exited = new Promise<string>((resolve) => {
    ended.then((why) => {
      watcher.kill('SIGKILL')
      if (!stopping) resolve([why, ...said.last()].join('; '))
    })
  })
  return {
    connection: { host: place.socketFolder, port: 5432, user: USER, database: DATABASE },
    pid: server.pid,
    exited,
    async stop() {
      stopping = true
      for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
        server.kill(signal)
        if ((await Promise.race([ended, delay(2_000, 'runs', { ref: false })])) !== 'runs') return
      }
    },
  }
}

/**
 * Passes on what PostgreSQL says. What clients did wrong is theirs to tell, and what it is about to do is nobody's
 * worry: only its own faults are ours.
 */
function followLog(stderr: Readable, log: BaseLogger): { ready: Promise<undefined>; last(): string[] } {
  const last: string[] = []
  const ready = new Promise<undefined>((resolve) => {
    createInterface({ input: stderr }).on('line', (line) => {
      last.push(line)
      if (last.length > 5) last.shift()
      if (line.includes('ready to accept connections')) resolve(undefined)
      if (line.startsWith('PANIC')) log.error({ line }, 'PostgreSQL failed')
      else log.debug({ line }, 'PostgreSQL')
    })
  })
  return { ready, last: () => [...last] }
}

/** Ends PostgreSQL when we are killed: it waits at a pipe that closes with us, however we end. */
function startWatcher(pid: number, { account }: RecordsPlace, log: BaseLogger): ChildProcess {
  const watcher = spawn('/bin/sh', ['-c', 'read -r _; kill -INT "$1"', 'sh', `${pid}`], {
    cwd: '/',
    env: environment(),
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    ...account,
  })
  watcher.on('error', (error) => log.warn({ err: error }, 'PostgreSQL would outlive a crash until the next start'))
  watcher.unref()
  ;(watcher.stdin as Socket).unref()
  return watcher
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
