import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type FleetMachine, simulateFleet, startFor } from '../../simulators/fleet.ts'
import { ConfigInvalid, type Environment, readConfig } from '../config.ts'
import { readHolder } from '../records/data-folder.ts'
import { projectRoot } from '../root.ts'
import { onStopSignal } from '../stop-signal.ts'
import { get, headers } from './demo-api.ts'
import { fleet } from './demo-fleet.ts'
import { tellStory } from './demo-story.ts'

const help = `npm run demo: everything on this machine, with a simulated fleet and a fault under way.

It starts the service (settings as for npm start: PORT, MQTT_PORT, OUTRIGGER_DATA, …), lets machines publish over MQTT,
and tells what happens. Ctrl-C ends it; the data stays in OUTRIGGER_DATA (default ./data), and the next start goes on with it.
`

const SPEED = 120
/** Simulated time until the fleet has caught up with the wall clock and goes on in real time. */
const CATCH_UP_MS = 20 * 3_600_000
const STOP_MS = 4_500

if (process.argv.includes('--help') || process.argv.includes('-h')) console.log(help)
else {
  try {
    process.exitCode = await demo()
  } catch (error) {
    const isForPeople = error instanceof Error && (error instanceof ConfigInvalid || 'syscall' in error)
    if (!isForPeople) throw error
    console.error(`the demo cannot start: ${error.message}`)
    process.exitCode = 1
  }
}

async function demo(): Promise<number> {
  const config = readConfig(process.env)
  const dataFolder = resolve(config.OUTRIGGER_DATA)
  const holder = await readHolder(dataFolder)
  if (holder) {
    const where = holder.address ? ` at ${holder.address}` : ''
    console.error(
      `${dataFolder} is in use by process ${holder.pid}${where}: stop it, or name another folder with OUTRIGGER_DATA`,
    )
    return 1
  }

  await mkdir(dataFolder, { recursive: true })
  const logFile = join(dataFolder, 'demo.log')
  say(`Starting Outrigger: broker, stores, queue, service desk, API. Its log goes to ${logFile}`)
  const service = startService(await open(logFile, 'w'))
  const stopping = new AbortController()
  let asked = false
  const stop = () => stopping.abort()
  onStopSignal(
    () => {
      asked = true
      stop()
    },
    () => process.exit(130),
  )
  service.ended.then(stop, stop)

  try {
    const running = await ready(dataFolder, service.process, stopping.signal)
    if (!running) return asked ? 0 : 1
    const { api, broker } = running
    say('Ready.')
    say(`  API and its description   ${api}/docs`)
    say(`  machines, tickets         ${api}/api/v1/machines   ${api}/api/v1/tickets`)
    say(`  metrics, readiness        ${api}/metrics   ${api}/readyz`)
    say(`  MQTT broker               ${broker}`)
    const machines = await register(api)
    say('')
    say(`${fleet.length} machines publish over MQTT, time runs ${SPEED} times as fast until it is now:`)
    for (const { machine, story } of fleet) say(`  ${machine.id.padEnd(12)} ${machine.type.padEnd(14)} ${story}`)
    say('')

    const clock = { now: await startOfClock(api) }
    const simulation = simulateFleet({
      machines,
      connect: { url: broker, login: loginOf(config), prefix: config.MQTT_TOPIC_PREFIX },
      speed: SPEED,
      startAt: clock.now,
      signal: stopping.signal,
      onProgress: (progress) => {
        clock.now = progress.clock
      },
    })
    await Promise.race([simulation, tellStory(api, clock, stopping.signal)])
    await simulation
    return asked ? 0 : 1
  } catch (error) {
    if (!stopping.signal.aborted) throw error
    return asked ? 0 : 1
  } finally {
    const hasEnded = stopping.signal.aborted && !asked
    stopping.abort()
    say('')
    say(hasEnded ? `Outrigger has ended by itself; its log is ${logFile}` : 'Stopping …')
    await service.stop()
    say(`Stopped. The data stays in ${dataFolder}; npm run demo or npm start goes on with it.`)
  }
}

function loginOf({ MQTT_USERNAME: username, MQTT_PASSWORD: password }: Environment) {
  return username && password ? { username, password } : undefined
}

function say(line: string): void {
  console.log(line)
}

/** The service as `npm start` runs it, in a process of its own; Ctrl-C reaches it through us alone. */
function startService(logFile: FileHandle) {
  const child = spawn(process.execPath, [join(projectRoot, 'bin', 'run.mjs'), 'start'], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'], // a channel that closes with us, however we end
    detached: true,
  })
  child.stdout?.pipe(logFile.createWriteStream())
  child.stderr?.on('data', (chunk) => process.stderr.write(chunk))
  process.on('exit', () => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  return {
    process: child,
    ended,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      const late = delay(STOP_MS, undefined, { ref: false }).then(() => child.kill('SIGKILL'))
      await Promise.race([ended, late])
      await ended
    },
  }
}

/** @returns undefined: it ended, or somebody stopped us */
async function ready(
  dataFolder: string,
  service: ChildProcess,
  signal: AbortSignal,
): Promise<{ api: string; broker: string } | undefined> {
  while (!signal.aborted && service.exitCode === null) {
    const holder = await readHolder(dataFolder)
    if (holder?.pid === service.pid && holder?.address && holder.broker)
      return { api: holder.address, broker: holder.broker }
    await delay(100)
  }
  return undefined
}

interface ApiMachine {
  readonly id: string
  readonly serviceHours: number | null
  readonly newestMeasuredAt: string | null
}

/** Registers the fleet; machines of an earlier run go on with their hours. */
async function register(api: string): Promise<FleetMachine[]> {
  const machines: FleetMachine[] = []
  for (const { machine, facts } of fleet) {
    const response = await fetch(`${api}/api/v1/machines`, {
      method: 'POST',
      headers: headers(),
      body: JSON.stringify({ id: machine.id, type: machine.type, ...facts, user: 'demo' }),
    })
    if (!response.ok && response.status !== 409)
      throw new Error(`machine ${machine.id} cannot be registered: ${await response.text()}`)
    const { serviceHours } = await get<ApiMachine>(api, `machines/${machine.id}`)
    machines.push(serviceHours === null ? machine : { ...machine, startHours: serviceHours })
  }
  return machines
}

/** Some hours back, but never before what an earlier run has stored of the fleet. */
async function startOfClock(api: string): Promise<number> {
  const { items } = await get<{ items: ApiMachine[] }>(api, 'machines?limit=1000')
  const ours = items.filter(({ id }) => fleet.some(({ machine }) => machine.id === id))
  const stored = ours.map(({ newestMeasuredAt }) => (newestMeasuredAt ? Date.parse(newestMeasuredAt) : 0))
  return Math.min(Date.now(), Math.max(startFor(Date.now(), SPEED, CATCH_UP_MS), ...stored.map((at) => at + 1_000)))
}
