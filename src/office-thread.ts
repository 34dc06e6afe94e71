import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import type { FastifyInstance } from 'fastify'
import { workOffBulks } from './acquire/quarantine-bulk-work.ts'
import { adviceTopic } from './acquire/topics.ts'
import { adviceFor } from './advise/advice.ts'
import { advise } from './advise/advisor.ts'
import { builtinDesk } from './advise/builtin-desk.ts'
import { startDeskWorker } from './advise/desk-worker.ts'
import { listOperatorTasks } from './advise/inspection-list.ts'
import { type InspectionProgramme, inspectionProgramme } from './advise/inspections.ts'
import { type Outbox, startOutbox } from './advise/outbox.ts'
import { openQueue } from './advise/queue.ts'
import { buildApi } from './api/api.ts'
import type { Catalogue } from './catalogue/catalogue.ts'
import { openCatalogue } from './catalogue/open.ts'
import { openLog } from './log.ts'
import { type AccessFeed, startAccessFeed } from './machines/access-feed.ts'
import { finishMoves, type HistoryMove } from './machines/history-moves.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './records/embedded-postgres.ts'
import { migrate } from './records/migrate.ts'
import { openRecords, type Records } from './records/records.ts'
import { joinThread } from './rpc.ts'
import { threadCpuSeconds } from './thread-cpu.ts'
import type {
  InjectedMessage,
  OfficeThread,
  PartState,
  PipelineThread,
  ReceivingThread,
  ThreadStart,
} from './threads.ts'

/** The third thread: records, queue, desk and API. */
const { config, dataFolder, accessKey, pipeline: pipelinePort } = workerData as ThreadStart & { pipeline: MessagePort }
if (!parentPort) throw new Error('this runs as a thread of the service')

/** Calendars come to something without any message. */
const CALENDAR_MS = 60_000
/** Events and outbox are looked at so often when nobody said that there is something. */
const POLL_MS = 5_000
/** Hours that moved are looked at together: a fleet's move all the time. */
const REMIND_MS = 1_000
/** What a machine's cab is told is gathered for so long. */
const ADVICE_MS = 1_000
const ADVICE_RETRY_MS = 10_000
/** Before PostgreSQL is started again. */
const POSTGRES_PAUSE_MS = 1_000
/** A fleet of them is told in turns, so that no job waits for it. */
const ADVICE_AT_ONCE = 100

const log = openLog('office', config.LOG_LEVEL)
const stops: { name: string; stop: () => Promise<unknown> }[] = []
const changed = new Set<string>()
const hoursMoved = new Set<string>() // since the calendar was looked at
let programmeWaits = false // hours moved since it was looked at
let remindedAt = 0
const toAdvise = new Set<string>()
let records: Records | undefined
let accessFeed: AccessFeed | undefined
let programme: InspectionProgramme | undefined
let connection: Awaited<ReturnType<OfficeThread['openRecords']>>['connection'] | undefined
let loaded: Catalogue | undefined
let postgresTrouble: string | undefined
let wake = () => {}
const ending = new AbortController()
let stopping = false
/** What `stop` has to wait for: only a PostgreSQL that has been started can be stopped. */
let beginning: Promise<unknown> | undefined

const offered: OfficeThread = {
  openRecords() {
    const opening = beginRecords()
    beginning = opening.catch(() => {}) // told to the caller
    return opening
  },

  async open() {
    if (!records || !connection || !accessFeed) throw new Error('the records have not been opened yet')
    const { db } = records
    const { refresh: refreshAccess } = accessFeed
    const queue = await openQueue(connection, log)
    stops.push({ name: 'queue', stop: () => queue.close() })
    const outbox = startOutbox({ db, queue, log })
    stops.push({ name: 'outbox', stop: () => outbox.stop() })
    programme = inspectionProgramme(db, catalogue())

    const now = () => Date.now()
    const desk = config.DESK === 'builtin' ? builtinDesk({ db, now }) : undefined
    if (desk) {
      const worker = await startDeskWorker({ connection, desk, log, onTaken: ({ machine }) => noteChange(machine.id) })
      stops.push({ name: 'desk', stop: () => worker.stop() })
    }

    const bulks = workOffBulks({
      db,
      inject,
      waiting: async () => (await pipeline.ask.counts()).waiting,
      now,
      log,
    })
    stops.push({ name: 'bulk decisions', stop: () => bulks.stop() })

    const moveHistory = (move: HistoryMove) => pipeline.ask.reassign(move)
    await finishMoves(db, moveHistory)
    const app = await buildApi({
      db,
      catalogue: catalogue(),
      config,
      log,
      desk,
      now,
      telemetry: pipeline.ask,
      clockReads: pipeline.ask,
      refresh: () => pipeline.ask.refresh(),
      moveHistory,
      inject: (topic, bytes, receivedAt) => inject([{ topic, bytes, receivedAt }]),
      bulkStarted: bulks.poke,
      messagesOf: (devices) => pipeline.ask.messagesOf(devices),
      connectionsOf: (id) => receiving.ask.connectionsOf(id),
      spoolFolder: join(dataFolder, 'spool'),
      admit: (login, machine) => receiving.ask.admit(login, machine),
      take: (topic, bytes) => receiving.hand([bytes.buffer as ArrayBuffer], 'take', topic, bytes),
      changed: noteChange,
      accessKey,
      refreshAccess,
      queued: outbox.poke,
      counts: () => pipeline.ask.counts(),
      spool: async () => (await receiving.ask.state()).spool,
      broker: async () => (await receiving.ask.state()).broker,
      threads: async () => ({
        receiving: await receiving.ask.cpuSeconds(),
        pipeline: await pipeline.ask.cpuSeconds(),
        office: threadCpuSeconds(),
      }),
      queueCounts: () => queue.getJobCounts(),
      parts: partStates,
    })
    stops.push({ name: 'API', stop: () => app.close() })
    const address = await listen(app)
    // a broker may have forgotten what it was given before
    for (const { machine } of await db.selectFrom('machine_status').select('machine').execute()) toAdvise.add(machine)
    const working = workOff(outbox)
    const telling = tellMachines()
    stops.push({
      name: 'advise',
      stop: async () => {
        stopping = true
        ending.abort()
        wake()
        await working
        // a broker that does not answer must not keep us
        await Promise.race([telling, delay(ADVICE_MS)])
      },
    })
    return address
  },

  machinesChanged(machines, moved) {
    for (const machine of machines) changed.add(machine)
    for (const machine of moved) hoursMoved.add(machine)
    if (moved.length > 0) programmeWaits = true
    wake()
  },

  async stop() {
    await beginning
    for (const { name, stop } of stops.reverse())
      await stop().catch((error: unknown) => log.error({ err: error, stopping: name }, 'a part did not stop cleanly'))
  },
}

const receiving = joinThread<ReceivingThread>(parentPort, { ...offered })
const pipeline = joinThread<PipelineThread>(pipelinePort, { ...offered })

/** Read once, when it is needed first. */
function catalogue(): Catalogue {
  loaded ??= openCatalogue(config)
  return loaded
}

async function beginRecords(): ReturnType<OfficeThread['openRecords']> {
  const { connection: found, where } = await startRecords()
  connection = found
  records = await openRecords(found, {
    onLost: (error) => log.warn({ err: error }, 'connection to the records lost'),
  })
  stops.push({ name: 'records', stop: async () => records?.close() })
  await migrate(records.pool)
  accessFeed = await startAccessFeed({
    db: records.db,
    push: (change) => receiving.ask.takeOverAccess(change),
    used: () => receiving.ask.usedCredentials(),
    now: () => Date.now(),
    log,
  })
  stops.push({ name: 'access', stop: async () => accessFeed?.stop() })
  setImmediate(catalogue) // read while the stages begin
  return { connection: found, where }
}

async function startRecords(): Promise<{ connection: EmbeddedPostgres['connection'] | string; where: string }> {
  if (config.DATABASE_URL) return { connection: config.DATABASE_URL, where: new URL(config.DATABASE_URL).host }
  const postgres = await startEmbeddedPostgres({ folder: dataFolder, log })
  const running = { current: postgres }
  stops.push({ name: 'PostgreSQL', stop: () => running.current.stop() })
  void keepPostgres(running)
  return { connection: postgres.connection, where: postgres.where }
}

/** Starts PostgreSQL again when it ends by itself; everything that waits for the records goes on where it was. */
async function keepPostgres(running: { current: EmbeddedPostgres }): Promise<void> {
  for (;;) {
    const reason = await running.current.exited
    postgresTrouble = reason
    log.error({ reason }, 'PostgreSQL has ended, starting it again')
    while (!stopping && postgresTrouble !== undefined) {
      await delay(POSTGRES_PAUSE_MS, undefined, { signal: ending.signal }).catch(() => {})
      if (stopping) return
      try {
        await running.current.stop() // lets go of its folder
        running.current = await startEmbeddedPostgres({ folder: dataFolder, log })
        postgresTrouble = undefined
        log.info('PostgreSQL is back')
      } catch (error) {
        postgresTrouble = error instanceof Error ? error.message : String(error)
        log.error({ err: error }, 'PostgreSQL does not start')
      }
    }
    if (stopping) return
  }
}

/** Hands over copies: a view would be cloned between threads with all that stands around it. */
function inject(messages: readonly InjectedMessage[]): Promise<void> {
  const copies = messages.map((message) => ({ ...message, bytes: new Uint8Array(message.bytes) }))
  return receiving.hand(
    copies.map(({ bytes }) => bytes.buffer),
    'inject',
    copies,
  )
}

async function listen(app: FastifyInstance): Promise<string> {
  const { HOST: host, PORT: port } = config
  try {
    return await app.listen({ host, port })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')
      throw new Error(`PORT ${port} on ${host} is taken: choose another port or stop what listens there`)
    throw error
  }
}

function noteChange(machine: string): void {
  changed.add(machine)
  wake()
}

async function partStates(): Promise<PartState[]> {
  const [receipt, stages] = await Promise.all([receiving.ask.state(), pipeline.ask.state()])
  const answer = records ? await records.pool.query('select 1').then(() => undefined, String) : 'not started yet'
  const trouble = postgresTrouble ?? answer
  return [...receipt.parts, stages, { part: 'records', ready: trouble === undefined, note: trouble }]
}

/** Turns alarm events into jobs, hours and dates into reminders, and tells the machines; until it is stopped. */
async function workOff(outbox: Outbox): Promise<void> {
  let calendarAt = 0
  let failures = 0
  while (!stopping) {
    try {
      const calendar = Date.now() - calendarAt >= CALENDAR_MS
      if (calendar) calendarAt = Date.now()
      for (const machine of calendar ? [...changed, ...hoursMoved] : changed) toAdvise.add(machine)
      const due = calendar || changed.size > 0 || isProgrammeDue()
      changed.clear()
      if (calendar) hoursMoved.clear()
      const worked = await workOnce(due)
      if (worked > 0) outbox.poke()
      failures = 0
    } catch (error) {
      failures++
      log.warn({ err: error, failures }, 'advise cannot do its work, trying again')
    }
    if (failures > 0) await rest(Math.min(250 * 2 ** failures, 15_000), () => stopping)
    else await rest(programmeWaits ? REMIND_MS : POLL_MS, () => stopping || changed.size > 0 || isProgrammeDue())
  }
}

function isProgrammeDue(): boolean {
  return programmeWaits && Date.now() - remindedAt >= REMIND_MS
}

/** @returns how many messages were written for the queue */
async function workOnce(remind: boolean): Promise<number> {
  if (!records || !programme) return 0
  const now = Date.now()
  const advised = await advise(records.db, { catalogue: catalogue(), now })
  for (const machine of advised.machines) toAdvise.add(machine)
  if (!remind) return advised.queued
  programmeWaits = false
  remindedAt = now
  const reminders = await programme.remind({ now })
  return advised.queued + reminders
}

/** Publishes advice beside everything else: no job waits for a broker. */
async function tellMachines(): Promise<void> {
  while (!stopping) {
    let pauseMs = ADVICE_MS
    for (const machine of [...toAdvise].slice(0, ADVICE_AT_ONCE)) {
      toAdvise.delete(machine)
      try {
        await publishAdvice(machine)
      } catch (error) {
        toAdvise.add(machine)
        pauseMs = ADVICE_RETRY_MS
        if (!stopping) log.warn({ err: error, machine }, 'advice could not be published, trying again')
        break
      }
    }
    await delay(pauseMs, undefined, { signal: ending.signal }).catch(() => {})
  }
}

async function publishAdvice(machine: string): Promise<void> {
  if (!records) return
  const { db } = records
  const now = Date.now()
  const operatorTasks = await listOperatorTasks(db, catalogue(), { machine, now })
  const advice = await adviceFor(db, machine, { catalogue: catalogue(), operatorTasks, now })
  await receiving.ask.publish(adviceTopic(machine, config.MQTT_TOPIC_PREFIX), JSON.stringify(advice))
}

/** Waits, at the longest until `enough` holds when something has happened. */
async function rest(ms: number, enough: () => boolean): Promise<void> {
  if (enough()) return
  const ended = new AbortController()
  wake = () => {
    if (enough()) ended.abort()
  }
  await delay(ms, undefined, { signal: ended.signal }).catch(() => {})
  wake = () => {}
}
