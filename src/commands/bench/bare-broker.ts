import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import type { Workplace } from './workplace.ts'

/** A broker that only acknowledges, in a process of its own. */
export interface BareBroker {
  readonly pid: number
  readonly port: number
}

const START_MS = 10_000

export async function startAedes(workplace: Workplace): Promise<BareBroker> {
  const child = workplace.fork('bench-aedes')
  const listening = Promise.race([once(child, 'message'), ended(child, 'Aedes')])
  const [address] = (await workplace.unlessStopped(listening)) as [AddressInfo]
  return { pid: child.pid as number, port: address.port }
}

/** With its default settings, which keep nothing on disk. */
export async function startMosquitto(workplace: Workplace, program: string): Promise<BareBroker> {
  const port = await freePort()
  const settings = join(await workplace.folder('mosquitto'), 'mosquitto.conf')
  const asRoot = process.getuid?.() === 0 ? 'user root\n' : '' // or it would change to an account that cannot read this
  await writeFile(
    settings,
    `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n${asRoot}`,
  )
  const child = workplace.spawn(program, ['-c', settings], { stdio: 'ignore' })
  const accepted = workplace.until(() => accepts(port), { awaited: 'Mosquitto listens', ms: START_MS })
  await Promise.race([accepted, ended(child, 'Mosquitto')])
  return { pid: child.pid as number, port }
}

async function ended(child: ChildProcess, name: string): Promise<never> {
  const [code] = await once(child, 'exit')
  throw new Error(`${name} has ended with ${code}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function accepts(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(undefined))
    socket.once('connect', () => socket.destroy())
  })
}
