import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import pino from 'pino'
import { followQueue, type MaintenanceQueue, openQueue, type QueueJob } from '../advise/queue.ts'
import { ConfigInvalid, readConfig } from '../config.ts'
import { DataFolderHeld, holdDataFolder, type RecordsConnection, readHolder } from '../records/data-folder.ts'
import { startEmbeddedPostgres } from '../records/embedded-postgres.ts'
import { onStopSignal } from '../stop-signal.ts'
import { age, printTable } from './table.ts'

const help = `Shows the queue between Outrigger and the service desk, through BullMQ's own API.

  npm run queue -- list [--state STATE] [--limit N] [--json]
      Jobs, the newest first; STATE is active, waiting, delayed, failed or completed.
  npm run queue -- watch [--json]
      What happens, as it happens; Ctrl-C ends it.
  npm run queue -- retry ID | --all
      Puts failed jobs back onto the queue.

Looks at the running service's queue (OUTRIGGER_DATA, or DATABASE_URL where that is set); list and retry
also work while no service runs.
`

const states = ['active', 'waiting', 'delayed', 'failed', 'completed'] as const
type State = (typeof states)[number]

/** A mistake of who typed the command, or nothing to do it on: told in one line. */
class CommandRefused extends Error {}

const log = pino({ level: 'warn' }, pino.destination({ fd: 2, sync: true }))

try {
  await main()
} catch (error) {
  // what a person can mend says so itself; everything else is ours and comes with its stack
  const known = [CommandRefused, ConfigInvalid, DataFolderHeld].some((kind) => error instanceof kind)
  console.error(error instanceof Error && (known || 'code' in error) ? error.message : error)
  process.exitCode = 1
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      json: { type: 'boolean', default: false },
      all: { type: 'boolean', default: false },
      state: { type: 'string' },
      limit: { type: 'string', default: '100' },
    },
  })
  const [command, id, ...more] = positionals
  if (values.help || command === undefined) {
    console.log(help)
    process.exitCode = values.help ? 0 : 2
    return
  }
  if (more.length > 0) throw new CommandRefused(`'${more.join(' ')}' is too much: see --help`)
  if (command === 'list') return list(stateOf(values.state), countOf(values.limit), values.json)
  if (command === 'watch') return watch(values.json)
  if (command === 'retry') return retry(id, values.all)
  throw new CommandRefused(`there is no '${command}': list, watch or retry`)
}

function stateOf(state: string | undefined): readonly State[] {
  if (state === undefined) return states
  const known = states.filter((each) => each === state)
  if (known.length === 0) throw new CommandRefused(`there is no state '${state}': ${states.join(', ')}`)
  return known
}

function countOf(limit: string): number {
  const count = Number(limit)
  if (!Number.isInteger(count) || count < 1) throw new CommandRefused(`--limit needs a whole number, not '${limit}'`)
  return count
}

interface Reached {
  readonly connection: RecordsConnection | string
  leave(): Promise<void>
}

/** Finds the database of the running service; where none runs, starts the one in the data folder and ends it afterwards. */
async function reachRecords(): Promise<Reached> {
  const { DATABASE_URL: url, OUTRIGGER_DATA: folder } = readConfig(process.env)
  if (url) return { connection: url, leave: async () => {} }
  const running = await reachRunning(folder)
  if (running) return running
  if (!existsSync(folder)) throw new CommandRefused(`nothing has run in ${folder} yet (OUTRIGGER_DATA)`)
  const hold = await holdDataFolder(folder)
  try {
    const postgres = await startEmbeddedPostgres({ folder, log })
    return { connection: postgres.connection, leave: () => postgres.stop().then(() => hold.release()) }
  } catch (error) {
    await hold.release()
    throw error
  }
}

async function reachRunning(folder: string): Promise<Reached | undefined> {
  const holder = await readHolder(folder)
  if (!holder) return undefined
  if (holder.records) return { connection: holder.records, leave: async () => {} }
  throw new CommandRefused(
    `the service (process ${holder.pid}) is only starting, or its records are on a server: then set DATABASE_URL as it has it`,
  )
}

async function withQueue<T>({ connection, leave }: Reached, use: (queue: MaintenanceQueue) => Promise<T>): Promise<T> {
  try {
    const queue = await openQueue(connection, log)
    try {
      return await use(queue)
    } finally {
      await queue.close()
    }
  } finally {
    await leave()
  }
}

/** A job as people and `--json` see it. */
interface Row {
  readonly id: string
  readonly name: string
  readonly state: State
  readonly key: string | null
  readonly severity: string | null
  readonly priority: string | null
  readonly machine: string | null
  readonly attempts: number
  readonly addedAt: string
  readonly failedReason: string | null
}

function rowOf(job: QueueJob, state: State): Row {
  const data = job.data as { key?: string; severity?: string; priority?: string; machine?: { id?: string } }
  return {
    id: job.id ?? '',
    name: job.name,
    state,
    key: data.key ?? null,
    severity: data.severity ?? null,
    priority: data.priority ?? null,
    machine: data.machine?.id ?? null,
    attempts: job.attemptsMade,
    addedAt: new Date(job.timestamp).toISOString(),
    failedReason: job.failedReason || null,
  }
}

async function list(wanted: readonly State[], limit: number, json: boolean): Promise<void> {
  const rows = await withQueue(await reachRecords(), async (queue) => {
    const found: Row[] = []
    for (const state of wanted)
      for (const job of await queue.getJobs([state], 0, limit - 1)) found.push(rowOf(job, state))
    return found.sort((a, b) => b.addedAt.localeCompare(a.addedAt)).slice(0, limit)
  })
  if (json) return console.log(JSON.stringify(rows, undefined, 2))
  if (rows.length === 0) return console.log('The queue is empty.')
  const now = Date.now()
  const header = ['ID', 'NAME', 'STATE', 'KEY', 'SEV', 'PRIO', 'MACHINE', 'ATTEMPTS', 'AGE']
  printTable([
    header,
    ...rows.map((row) => [
      row.id,
      row.name,
      row.state,
      row.key ?? '–',
      row.severity ?? '–',
      row.priority ?? '–',
      row.machine ?? '–',
      String(row.attempts),
      age(now - Date.parse(row.addedAt)),
    ]),
  ])
  for (const row of rows.filter(({ state }) => state === 'failed')) console.log(`${row.id} failed: ${row.failedReason}`)
}

async function watch(json: boolean): Promise<void> {
  const { DATABASE_URL: url, OUTRIGGER_DATA: folder } = readConfig(process.env)
  const reached = url ? { connection: url, leave: async () => {} } : await reachRunning(folder)
  if (!reached) throw new CommandRefused(`no service runs on ${folder} (OUTRIGGER_DATA): nothing will happen there`)
  await withQueue(reached, async (queue) => {
    const events = await followQueue(reached.connection, log)
    // one after the other, so that lines come in the order of what happened
    let told = Promise.resolve()
    const tell = (id: string, state: State, note = '') => {
      told = told
        .then(async () => {
          const job = await queue.getJob(id)
          if (job) printEvent(rowOf(job, state), note, json)
        })
        .catch((error) => log.warn({ err: error }, 'the queue cannot be read'))
    }
    events.on('waiting', ({ jobId, prev }) => tell(jobId, 'waiting', prev ? `again, was ${prev}` : ''))
    events.on('active', ({ jobId }) => tell(jobId, 'active'))
    events.on('delayed', ({ jobId }) => tell(jobId, 'delayed'))
    events.on('completed', ({ jobId, returnvalue }) => tell(jobId, 'completed', answerOf(returnvalue)))
    events.on('failed', ({ jobId, failedReason }) => tell(jobId, 'failed', failedReason))
    if (!json) console.log('Watching the queue; Ctrl-C ends.')
    await new Promise<void>((resolve) => onStopSignal(resolve, () => process.exit(130)))
    await events.close()
    await told
  })
}

/** What the desk answered, where it is the built-in one. */
function answerOf(returnvalue: unknown): string {
  const value = typeof returnvalue === 'string' ? (JSON.parse(returnvalue) as unknown) : returnvalue
  if (typeof value !== 'object' || value === null || !('outcome' in value)) return ''
  return 'ticket' in value && value.ticket ? `${value.outcome} ${value.ticket}` : String(value.outcome)
}

function printEvent(row: Row, note: string, json: boolean): void {
  const at = new Date().toISOString()
  const words = [
    at,
    row.state.padEnd(9),
    row.name,
    row.key ?? row.machine ?? '',
    row.severity ?? '',
    row.priority ?? '',
    note,
  ]
  console.log(json ? JSON.stringify({ at, ...row, note: note || null }) : words.filter(Boolean).join('  '))
}

async function retry(id: string | undefined, all: boolean): Promise<void> {
  if ((id === undefined) === !all) throw new CommandRefused('retry needs the id of a job, or --all')
  const count = await withQueue(await reachRecords(), async (queue) => {
    const jobs = id === undefined ? await queue.getJobs(['failed']) : [await failedJob(queue, id)]
    for (const job of jobs) await job.retry('failed', { resetAttemptsMade: true })
    return jobs.length
  })
  console.log(`${count} ${count === 1 ? 'job' : 'jobs'} back on the queue.`)
}

async function failedJob(queue: MaintenanceQueue, id: string): Promise<QueueJob> {
  const job = await queue.getJob(id)
  if (!job) throw new CommandRefused(`there is no job '${id}' on the queue`)
  const state = await job.getState()
  if (state !== 'failed') throw new CommandRefused(`job ${id} is ${state}, not failed`)
  return job
}
