import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import { onTestFinished } from 'vitest'
import { readHolder } from '../../src/records/data-folder.ts'
import { projectRoot } from '../../src/root.ts'

const START_MS = 90_000 // a machine that runs other tests beside it is slow

export interface RunningService {
  readonly process: ChildProcess
  readonly folder: string
  /** `http://127.0.0.1:…` */
  readonly api: string
  /** `mqtt://127.0.0.1:…` */
  readonly broker: string
  /** The answer of a resource below `/api/v1`. @throws when the status is not 2xx */
  get<T = any>(path: string): Promise<T>
  post<T = any>(path: string, body?: object): Promise<T>
  /** Any path, any answer. */
  request(
    method: string,
    path: string,
    body?: object,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: any }>
  /** A sample of `/metrics`, `outrigger_` and labels as they stand there; NaN when there is none. */
  metric(name: string): Promise<number>
  /** Ends it at once, as a power cut would. */
  kill(): Promise<void>
  /** Asks it to stop, and answers with its exit code. */
  stop(): Promise<number | null>
}

/** A folder for a service's data, which the test's end removes. */
export async function dataFolder(name = 'data'): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'outrigger-service-'))
  await chmod(parent, 0o755) // or root's PostgreSQL, under its own account, would keep the records elsewhere for good
  onTestFinished(() => rm(parent, { recursive: true, force: true, maxRetries: 5 }))
  return join(parent, name)
}

/** Starts the service as `npm start` does, in a process of its own at free ports; the test's end stops it. */
export async function startService(folder: string, environment: Record<string, string> = {}): Promise<RunningService> {
  const child = spawnService(folder, environment)
  let output = ''
  child.stdout?.on('data', (chunk) => (output += chunk))
  child.stderr?.on('data', (chunk) => (output += chunk))
  const ended = once(child, 'exit')
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await Promise.race([ended, delay(8_000).then(() => child.kill('SIGKILL'))])
    await ended
  })

  const holder = await until(async () => {
    if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}:\n${output}`)
    const found = await readHolder(folder)
    return found?.pid === child.pid && found?.address && found.broker ? found : undefined
  }, START_MS)
  const api = holder.address as string

  const request: RunningService['request'] = async (method, path, body, headers = {}) => {
    const response = await fetch(`${api}${path}`, {
      method,
      headers: body ? { 'content-type': 'application/json', ...headers } : headers,
      body: body ? JSON.stringify(body) : null,
    })
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.includes('json') && text !== ''
    return { status: response.status, body: isJson ? JSON.parse(text) : text }
  }
  const expectOk = ({ status, body }: { status: number; body: any }) => {
    if (status >= 300) throw new Error(`HTTP ${status}: ${JSON.stringify(body)}`)
    return body
  }
  return {
    process: child,
    folder,
    api,
    broker: holder.broker as string,
    request,
    get: async (path) => expectOk(await request('GET', `/api/v1${path}`)),
    post: async (path, body = {}) => expectOk(await request('POST', `/api/v1${path}`, body)),
    async metric(name) {
      const { body } = await request('GET', '/metrics')
      const line = String(body)
        .split('\n')
        .find((text) => text.startsWith(`outrigger_${name} `))
      return Number(line?.split(' ').at(-1))
    },
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    async stop() {
      child.kill('SIGTERM')
      const [code] = await ended
      return code
    },
  }
}

/** The bare process, for starts that are meant to fail. */
export function spawnService(folder: string, environment: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, [join(projectRoot, 'bin', 'run.mjs'), 'start'], {
    env: { ...process.env, OUTRIGGER_DATA: folder, PORT: '0', MQTT_PORT: '0', LOG_LEVEL: 'warn', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** A client of the broker that is not ours to break. */
export async function connectClient(service: Pick<RunningService, 'broker'>): Promise<MqttClient> {
  const client = await mqtt.connectAsync(service.broker, { reconnectPeriod: 0 })
  onTestFinished(() => client.endAsync(true).catch(() => {}))
  return client
}

/** Publishes one message with QoS 1 and awaits its acknowledgement. */
export async function publish(client: MqttClient, topic: string, payload: object | string | Buffer): Promise<void> {
  const bytes = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload)
  await client.publishAsync(topic, bytes, { qos: 1 })
}

/**
 * Asks until there is an answer.
 *
 * @param ask undefined: not yet
 */
export async function until<T>(ask: () => Promise<T | undefined>, timeoutMs = 15_000): Promise<T> {
  const end = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > end) throw new Error(`nothing within ${timeoutMs} ms: ${ask}`)
    await delay(50)
  }
}
