import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { MessageChannel, Worker } from 'node:worker_threads'
import type { RefusedLogin } from './acquire/access.ts'
import { type AccessBook, openAccessBook } from './acquire/access-book.ts'
import { type AccessKey, openAccessKey } from './acquire/access-key.ts'
import type { BrokerFront } from './acquire/broker-front.ts'
import type { TlsOptions } from './acquire/broker-tls.ts'
import { openConnectionLog } from './acquire/connection-log.ts'
import { openReceipts } from './acquire/counts.ts'
import { startEmbeddedBroker } from './acquire/embedded-broker.ts'
import { startExternalBroker } from './acquire/external-broker.ts'
import type { HostVerdict } from './acquire/host-clock.ts'
import { httpTopic } from './acquire/http-topic.ts'
import { lengthOf } from './acquire/judge-time.ts'
import type { Arrival } from './acquire/message.ts'
import { openReceiptClock, type ReceiptClock } from './acquire/receipt-clock.ts'
import { openSpool, type Spool } from './acquire/spool.ts'
import { SpoolHolds } from './acquire/spool-holds.ts'
import { openStagePace, type StagePace } from './acquire/stage-pace.ts'
import { messageKind } from './acquire/topics.ts'
import { type Environment, isLoopback, readConfig, settingsHelp } from './config.ts'
import { type Log, openLog } from './log.ts'
import { DataFolderHeld, holdDataFolder } from './records/data-folder.ts'
import { joinThread, type Peer } from './rpc.ts'
import { onStopSignal } from './stop-signal.ts'
import { threadCpuSeconds } from './thread-cpu.ts'
import type { OfficeThread, PartState, PipelineThread, ReceivingThread, ThreadStart } from './threads.ts'

/** Everything has to be down by then; a part that hangs must not keep the process. */
const STOP_MS = 4_700
/** Ctrl-C also ends the programs that a start waits for, and may be heard there first. */
const CTRL_C_MS = 50
/** So far behind, about a second at full speed, the stages may be before taking-in waits for them. */
const STAGE_LAG_BYTES = 12 << 20
/** V8 would let short-lived objects take 48 MB in each thread; with less it only collects them more often. */
const PIPELINE_YOUNG_MB = 24
const OFFICE_YOUNG_MB = 12

const help = `npm start: runs Outrigger until it is told to stop (Ctrl-C or SIGTERM).

Settings, from the environment:

${settingsHelp()}
`

if (process.argv.includes('--help') || process.argv.includes('-h')) console.log(help)
else await start()

async function start(): Promise<void> {
  try {
    const config = readConfig(process.env)
    await run(config, openLog('main', config.LOG_LEVEL))
  } catch (error) {
    // what stops a start is for people: a sentence, not a stack
    console.error(`outrigger cannot start: ${error instanceof Error ? error.message : error}`)
    process.exit(1)
  }
}

/** Builds the parts, joins them, and stops them in reverse order. */
async function run(config: Environment, log: Log): Promise<void> {
  const startedAt = performance.now()
  const dataFolder = resolve(config.OUTRIGGER_DATA)
  const running: { name: string; stop: () => Promise<unknown> }[] = []
  let stopping = false

  const stop = async (exitCode: number) => {
    if (stopping) return
    stopping = true
    setTimeout(() => {
      log.error('a part did not stop in time')
      endAtOnce()
    }, STOP_MS).unref()
    for (const { name, stop: end } of running.reverse())
      await end().catch((error: unknown) => log.error({ err: error, stopping: name }, 'a part did not stop cleanly'))
    log.info('stopped')
    process.exit(exitCode)
  }

  onStopSignal(() => void stop(0), endAtOnce)
  process.once('disconnect', () => void stop(0)) // the demo, which has started us, is gone

  try {
    const hold = await holdDataFolder(dataFolder, {}).catch((error: unknown) => {
      if (error instanceof DataFolderHeld) throw error
      throw new Error(`OUTRIGGER_DATA cannot be used: ${error instanceof Error ? error.message : error}`)
    })
    running.push({ name: 'data folder', stop: () => hold.release() })

    const receipts = openReceipts()
    const kindOf = (topic: string) => messageKind(topic, config.MQTT_TOPIC_PREFIX)
    const spool = await openSpool({
      folder: join(dataFolder, 'spool'),
      segmentBytes: config.OUTRIGGER_SPOOL_SEGMENT_BYTES,
      budgetBytes: config.OUTRIGGER_SPOOL_BYTES,
      historyBytes: config.OUTRIGGER_SPOOL_HISTORY_BYTES,
      kindOf,
      log,
    })
    running.push({ name: 'spool', stop: () => spool.close() })
    receipts.add(spool.waitingAtStart)
    const pace = openStagePace({
      committed: () => spool.committed,
      worked: spool.checkpoint || spool.committed,
      lagBytes: STAGE_LAG_BYTES,
    })
    running.push({ name: 'pace', stop: async () => pace.stop() })

    const accessKey = await openAccessKey(dataFolder)
    const access = openAccess(config, accessKey)
    const thread: ThreadStart = { config, dataFolder, receipts: receipts.shared, accessKey }
    let failStart: ((error: unknown) => void) | undefined
    const crash = new Promise<never>((_, reject) => {
      failStart = reject
    })
    crash.catch(() => {})
    const crashed = (name: string) => (error: unknown) => {
      if (failStart) return failStart(error)
      log.fatal({ err: error, thread: name }, 'a thread has ended')
      void stop(1)
    }
    /** A step of the start; a thread that ends meanwhile ends the start. */
    const unlessCrashed = <T>(step: Promise<T>) => Promise.race([step, crash])
    const { port1, port2 } = new MessageChannel()
    const pipelineWorker = new Worker(new URL('./pipeline.js', import.meta.url), {
      workerData: { ...thread, office: port1 },
      transferList: [port1],
      resourceLimits: { maxYoungGenerationSizeMb: PIPELINE_YOUNG_MB },
    }).on('error', crashed('pipeline'))
    const officeWorker = new Worker(new URL('./office.js', import.meta.url), {
      workerData: { ...thread, pipeline: port2 },
      transferList: [port2],
      resourceLimits: { maxYoungGenerationSizeMb: OFFICE_YOUNG_MB },
    }).on('error', crashed('office'))

    let front: BrokerFront | undefined
    const clock = receiptClock((at, byMs) => pipeline.tell('receiptsStepped', at, byMs), log)
    const offered = receivingThread(spool, pace, () => front, access, clock, config.MQTT_TOPIC_PREFIX)
    const pipeline: Peer<PipelineThread> = joinThread(pipelineWorker, { ...offered })
    const office: Peer<OfficeThread> = joinThread(officeWorker, { ...offered })

    running.push({ name: 'office', stop: () => office.ask.stop() })
    running.push({ name: 'pipeline', stop: () => pipeline.ask.stop() }) // opens its store at once
    const records = await unlessCrashed(office.ask.openRecords())
    const embedded = typeof records.connection === 'string' ? undefined : records.connection
    await hold.update({ records: embedded })
    log.info({ where: records.where }, 'records ready')
    const lostKey = accessNote(access)
    if (lostKey) log.warn(lostKey)

    spool.onCommit(({ position, tally }) => {
      receipts.add(tally)
      pipeline.tell('committed', position)
    })
    clock.startFrom(await unlessCrashed(pipeline.ask.begin(records.connection)))
    pipeline.tell('committed', spool.committed)

    front = await openFront(config, access, spool, pace, clock, log)
    running.push({ name: 'broker', stop: () => front?.close() ?? Promise.resolve() })
    const address = await unlessCrashed(office.ask.open())
    failStart = undefined
    await hold.update({ address, broker: front.address, records: embedded })
    log.info(
      { api: address, broker: front.address, data: dataFolder, ms: Math.round(performance.now() - startedAt) },
      'ready',
    )
  } catch (error) {
    await delay(CTRL_C_MS)
    if (stopping) return
    stopping = true
    const ended = (async () => {
      for (const { stop: end } of running.reverse()) await end().catch(() => undefined)
    })()
    await Promise.race([ended, delay(STOP_MS)])
    throw error
  }
}

/** As a power cut would: DuckDB aborts when `process.exit` takes away a thread that it works in. */
function endAtOnce(): void {
  process.kill(process.pid, 'SIGKILL')
}

function openAccess(config: Environment, key: AccessKey): AccessBook {
  const { MQTT_URL: url, MQTT_USERNAME: username, MQTT_PASSWORD: password, MQTT_TOPIC_PREFIX: prefix } = config
  const service = !url && username && password ? { username, password } : undefined // else they are ours at that broker
  return openAccessBook({
    key,
    prefix,
    service,
    certificates: tlsOf(config)?.caFile !== undefined,
    now: () => performance.now(),
  })
}

/** Whoever can reach the broker is let in as long as nobody has credentials: then nobody but this machine may reach it. */
function checkReach(config: Environment, access: AccessBook): void {
  const [setting, host] = isLoopback(config.MQTT_HOST)
    ? ['MQTT_TLS_HOST', tlsOf(config)?.host]
    : ['MQTT_HOST', config.MQTT_HOST]
  if (host === undefined || isLoopback(host) || !access.isOpen()) return
  throw new Error(
    `${setting} is ${host} and not loopback, where anybody could connect: issue credentials first (npm run machines -- add), or set MQTT_USERNAME and MQTT_PASSWORD`,
  )
}

async function openFront(
  config: Environment,
  access: AccessBook,
  spool: Spool,
  pace: StagePace,
  clock: ReceiptClock,
  log: Log,
): Promise<BrokerFront> {
  // written out, since copying a whole object costs a microsecond
  const accept = ({ receivedAt, topic, payload, qos, retained }: Arrival) =>
    spool.append({ receivedAt: clock.at(receivedAt), topic, payload, qos, retained, origin: 'mqtt' })
  const prefix = config.MQTT_TOPIC_PREFIX
  if (config.MQTT_URL)
    return startExternalBroker({
      url: config.MQTT_URL,
      username: config.MQTT_USERNAME,
      password: config.MQTT_PASSWORD,
      tls: { ca: config.MQTT_CA, cert: config.MQTT_CERT, key: config.MQTT_KEY },
      clientId: config.MQTT_CLIENT_ID,
      share: config.MQTT_SHARE,
      receiveMaximum: config.MQTT_RECEIVE_MAXIMUM,
      maxPacketBytes: config.MQTT_MAX_PACKET_BYTES,
      prefix,
      accept,
      log,
    })
  checkReach(config, access)
  const broker = await startEmbeddedBroker({
    host: config.MQTT_HOST,
    port: config.MQTT_PORT,
    tls: tlsOf(config),
    prefix,
    access,
    maxPacketBytes: config.MQTT_MAX_PACKET_BYTES,
    connectTimeoutMs: config.MQTT_CONNECT_TIMEOUT_SECONDS * 1000,
    limits: {
      connections: config.MQTT_MAX_CONNECTIONS,
      addressConnections: config.MQTT_ADDRESS_CONNECTIONS,
      machineConnections: config.MQTT_MACHINE_CONNECTIONS,
      machineMessagesPerSecond: config.MQTT_MACHINE_MESSAGES_PER_SECOND,
    },
    accept,
    full: () => spool.full() || pace.holds(),
    onRoom(listener) {
      spool.onRoom(listener)
      pace.onRoom(listener)
    },
    log,
  })
  if (broker.tlsAddress) log.info({ broker: broker.tlsAddress }, 'the broker speaks TLS')
  return broker
}

function tlsOf(config: Environment): TlsOptions | undefined {
  const { MQTT_TLS_PORT: port, MQTT_TLS_CERT: certFile, MQTT_TLS_KEY: keyFile, MQTT_TLS_CA: caFile } = config
  if (port === undefined || !certFile || !keyFile) return undefined
  const host = config.MQTT_TLS_HOST ?? config.MQTT_HOST
  return { host, port, certFile, keyFile, caFile, clientCertificate: config.MQTT_TLS_CLIENT_CERT }
}

function receiptClock(onStep: (at: number, byMs: number) => void, log: Log): ReceiptClock {
  return openReceiptClock({
    wall: Date.now,
    monotonic: () => performance.now(),
    onStep(at, byMs) {
      log.warn({ byMs }, 'the time of receipt follows a step of the host clock')
      onStep(at, byMs)
    },
    onStepBack: (byMs) => log.warn({ byMs }, 'the host clock was put back, receipts go on by the time before'),
  })
}

/** What this thread offers to the others. */
function receivingThread(
  spool: Spool,
  pace: StagePace,
  front: () => BrokerFront | undefined,
  access: AccessBook,
  clock: ReceiptClock,
  prefix: string,
): ReceivingThread {
  let host: HostVerdict | undefined
  const httpLogins = openConnectionLog()
  const holds = () => spool.full() || !spool.status().acknowledging
  return {
    async inject(messages) {
      if (holds()) throw new SpoolHolds()
      const appended = messages.map(({ topic, bytes, receivedAt }) =>
        spool.append({
          receivedAt,
          topic,
          payload: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
          qos: 1,
          retained: false,
          origin: 'replay',
        }),
      )
      await Promise.all(appended)
    },
    async admit({ username, password, address }, machine) {
      const secret = Buffer.from(password)
      const attempt = { clientId: username, username, password: secret, certificate: undefined, address }
      const identity = await access.identify(attempt)
      const refuse = (reason: RefusedLogin | 'not_authorized') => {
        httpLogins.note([username], { at: Date.now(), event: 'login_refused', reason, clientId: 'HTTP', address })
        return { refused: reason }
      }
      if (typeof identity === 'string') return refuse(identity)
      // who shows what nobody checks is let in by the broker on loopback alone, and not by HTTP at all
      if (identity.kind === 'anyone') return refuse('unknown')
      const topic = httpTopic(identity, machine, prefix)
      return topic === undefined ? refuse('not_authorized') : { topic }
    },
    async take(topic, bytes) {
      if (holds()) throw new SpoolHolds()
      const payload = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      // from here on it is a message like any other
      await spool.append({ receivedAt: clock.at(Date.now()), topic, payload, qos: 1, retained: false, origin: 'mqtt' })
    },
    async publish(topic, payload) {
      await front()?.publish(topic, payload, { retain: true })
    },
    connectionsOf: (id) => [...(front()?.connectionsOf(id) ?? []), ...httpLogins.of(id)],
    release(position, worked) {
      void spool.release(position)
      pace.progress(worked)
    },
    takeOverAccess: (change) => access.takeOver(change),
    usedCredentials: () => access.used(),
    cpuSeconds: threadCpuSeconds,
    heedDevices(verdict) {
      host = verdict
      clock.heed(verdict.offsetMs === undefined ? undefined : -verdict.offsetMs)
    },
    state() {
      const broker = front()
      const status = spool.status()
      const parts: PartState[] = [
        { part: 'spool', ready: status.acknowledging, note: status.note },
        broker
          ? { part: 'broker', ready: broker.connected(), note: broker.note() }
          : { part: 'broker', ready: false, note: 'not started yet' },
        { part: 'access', ready: true, note: accessNote(access) },
        { part: 'clock', ready: true, note: clockNote(clock, host) },
      ]
      return {
        parts,
        spool: status,
        broker: broker?.counts() ?? { connections: 0, refused: {} },
        address: broker?.address ?? '',
      }
    },
  }
}

/** What is to be seen to about who may log in. */
function accessNote(access: AccessBook): string | undefined {
  const foreign = access.foreign()
  if (foreign === 0) return undefined
  return `${foreign} secrets were issued under another access.key and fit nothing: restore that key, or rotate them`
}

/** What is to be seen to about the host's clock. */
function clockNote(clock: ReceiptClock, host: HostVerdict | undefined): string | undefined {
  const lead = clock.lead()
  if (lead > 0) return `the host's clock was put back by ${lengthOf(lead)}: receipts go on by the time before`
  return host?.warning
}
