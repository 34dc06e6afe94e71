import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { environmentSchema } from '../../config.ts'
import { readHolder } from '../../records/data-folder.ts'
import { projectRoot } from '../../root.ts'
import type { Workplace } from './workplace.ts'

/** The service in a process of its own. */
export interface Service {
  readonly pid: number
  /** Its data. */
  readonly folder: string
  /** Port of its broker. */
  readonly port: number
  /** From the start of the process to the first answer of `/readyz` that it is ready. */
  readonly readySeconds: number
  /** Registers machines of a full catalogue type. */
  register(machines: readonly string[]): Promise<void>
  /** Samples of `/metrics` by name, labels included. */
  metrics(): Promise<Map<string, number>>
  /** Waits until nothing waits in the spool. */
  drained(ms: number): Promise<void>
  /** Ends it as a power cut would. */
  kill(): Promise<void>
  stop(): Promise<void>
}

const START_MS = 60_000

/** Starts the service as `npm start` does, with default settings but for free ports, and waits until it is ready. */
export async function startService(workplace: Workplace, folder: string): Promise<Service> {
  const begun = performance.now()
  const log = await open(`${folder}.log`, 'a')
  const child = workplace.spawn(process.execPath, [join(projectRoot, 'bin', 'run.mjs'), 'start'], {
    env: { ...withoutSettings(process.env), OUTRIGGER_DATA: folder, PORT: '0', MQTT_PORT: '0' },
    stdio: ['ignore', log.fd, log.fd, 'ipc'], // a channel that closes with us, however we end
  })
  await log.close()
  const { api, port } = await workplace.until(() => whereItIs(child, folder), {
    awaited: 'the service is ready',
    ms: START_MS,
    everyMs: 20,
  })
  await workplace.until(() => isReady(api), { awaited: 'the service is ready', ms: START_MS, everyMs: 20 })
  const readySeconds = (performance.now() - begun) / 1000

  async function metrics(): Promise<Map<string, number>> {
    const answer = await workplace.unlessStopped(fetch(`${api}/metrics`))
    const samples = new Map<string, number>()
    for (const line of (await answer.text()).split('\n')) {
      const cut = line.lastIndexOf(' ')
      if (!line.startsWith('#') && cut > 0) samples.set(line.slice(0, cut), Number(line.slice(cut + 1)))
    }
    return samples
  }

  return {
    pid: child.pid as number,
    folder,
    port,
    readySeconds,
    register: (machines) => workplace.unlessStopped(register(api, machines)),
    metrics,
    async drained(ms) {
      await workplace.until(async () => ((await waiting(metrics)) === 0 ? true : undefined), {
        awaited: 'everything is stored',
        ms,
        everyMs: 500,
      })
    },
    async kill() {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
    stop: () => workplace.stop(child),
  }
}

/** Reading sets in the spool that are not stored yet. */
async function waiting(metrics: Service['metrics']): Promise<number> {
  return (await metrics()).get('outrigger_reading_sets_waiting') ?? Number.NaN
}

/** Default settings, whatever the shell has set. */
function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !Object.hasOwn(environmentSchema.shape, name)),
  )
}

async function whereItIs(child: ChildProcess, folder: string): Promise<{ api: string; port: number } | undefined> {
  if (child.exitCode !== null || child.signalCode !== null)
    throw new Error(`the service has ended with ${child.exitCode ?? child.signalCode}`)
  const holder = await readHolder(folder)
  if (holder?.pid !== child.pid || !holder?.address || !holder.broker) return undefined
  return { api: holder.address, port: Number(new URL(holder.broker).port) }
}

async function isReady(api: string): Promise<true | undefined> {
  const answer = await fetch(`${api}/readyz`).catch(() => undefined)
  return answer?.status === 200 ? true : undefined
}

async function register(api: string, machines: readonly string[]): Promise<void> {
  const answer = await fetch(`${api}/api/v1/machines/import?user=bench`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ rows: machines.map((machine) => ({ machine, type: 'boom_pump' })) }),
  })
  const body = await answer.text()
  if (!answer.ok) throw new Error(`the machines cannot be registered: ${body}`)
}
