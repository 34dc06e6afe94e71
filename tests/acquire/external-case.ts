import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { Aedes } from 'aedes'
import { onTestFinished } from 'vitest'
import { type ExternalBrokerOptions, startExternalBroker } from '../../src/acquire/external-broker.ts'
import type { Arrival } from '../../src/acquire/message.ts'
import { projectRoot } from '../../src/root.ts'
import { until } from './broker-case.ts'
import { log, temporaryFolder } from './spool-case.ts'

/** Somebody else's broker, with sessions that outlive its restarts. */
export interface TestServer {
  readonly address: string
  /** Ends all connections and comes back with its sessions. */
  restart(): Promise<void>
}

/** Whether Mosquitto can be tested with; where it has to be there, it counts as if it were. */
export const hasMosquitto =
  process.env.OUTRIGGER_REQUIRE_SERVERS === '1' ||
  (() => {
    try {
      execFileSync('mosquitto', ['-h'], { stdio: 'ignore' })
      return true
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'ENOENT'
    }
  })()

/**
 * A broker that speaks 3.1.1 only.
 *
 * @param take what is done with a connection; by default the broker gets it
 */
export async function aedesServer(
  take: (socket: Socket, broker: Aedes) => unknown = (socket, broker) => broker.handle(socket),
): Promise<TestServer & { readonly broker: Aedes }> {
  const broker = await Aedes.createBroker()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    take(socket, broker)
  })
  const port = await listening(server)
  const stop = () => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    return new Promise((done) => server.close(done))
  }
  onTestFinished(async () => {
    await stop()
    await new Promise<void>((done) => broker.close(done))
  })
  return {
    broker,
    address: `mqtt://127.0.0.1:${port}`,
    async restart() {
      await stop()
      await listening(server, port)
    },
  }
}

export interface Mosquitto extends TestServer {
  start(): Promise<void>
  /** As its operator would, or as a power cut would. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

/**
 * Mosquitto with the configuration that we ship; only port and folder are others.
 *
 * @param more lines at its end
 */
export async function mosquittoServer(more: readonly string[] = []): Promise<Mosquitto> {
  const folder = temporaryFolder()
  chmodSync(folder, 0o777) // started by root, Mosquitto runs under an account of its own
  const port = await freePort()
  const shipped = readFileSync(join(projectRoot, 'examples', 'mosquitto.conf'), 'utf8')
  const settings = join(folder, 'mosquitto.conf')
  const ours = shipped
    .replace('listener 1883 127.0.0.1', `listener ${port} 127.0.0.1`)
    .replace('persistence_location /var/lib/mosquitto/', `persistence_location ${folder}/`)
  writeFileSync(settings, [ours, ...more, ''].join('\n'))

  let server: ChildProcess | undefined
  const start = async () => {
    const started = spawn('mosquitto', ['-c', settings], { stdio: ['ignore', 'ignore', 'pipe'] })
    server = started
    let output = ''
    started.stderr.on('data', (chunk) => (output += chunk))
    await until(() => output.includes('running') || started.exitCode !== null)
    if (started.exitCode !== null) throw new Error(output)
  }
  const stop = async (signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM') => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return
    const gone = once(server, 'exit')
    server.kill(signal)
    await gone
  }
  await start()
  onTestFinished(() => stop())
  return {
    address: `mqtt://127.0.0.1:${port}`,
    start,
    stop,
    async restart() {
      await stop()
      await start()
    },
  }
}

/** @returns the port, also where 0 was asked for */
export async function listening(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

export async function freePort(): Promise<number> {
  const server = createServer()
  const port = await listening(server)
  await new Promise((done) => server.close(done))
  return port
}

/** Our side of somebody else's broker; keeps what arrives, and finds it durable at once unless told otherwise. */
export function externalFront(server: { readonly address: string }, options: Partial<ExternalBrokerOptions> = {}) {
  const arrivals: Arrival[] = []
  const { accept = async () => {} } = options
  const started = startExternalBroker({
    url: server.address,
    clientId: 'outrigger-test',
    prefix: '',
    log,
    ...options,
    async accept(message) {
      const kept = { ...message, payload: Buffer.from(message.payload) }
      await accept(kept)
      arrivals.push(kept)
    },
  })
  onTestFinished(() => started.close())
  return Object.assign(started, { arrivals, texts: () => arrivals.map(({ payload }) => payload.toString()) })
}
