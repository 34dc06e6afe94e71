import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { bundled } from '../bundled.ts'
import { connectPacket, mqttText, packet, publishPacket } from './mqtt-bytes.ts'
import { readAll, spoolIn, temporaryFolder, texts } from './spool-case.ts'

const CLIENTS = Number(process.env.FLEET_CLIENTS ?? 500)
const SUBSCRIBERS = Math.ceil(CLIENTS / 25)
const BACKLOG = 120
const ADVICES = 2_000
const ANSWER_TO_CONNECT = 4 // bytes; a PUBACK has as many

/** A broker of its own process, and how much memory it has used at most, MB (0 where the system does not say). */
async function startBroker(program: string, folder: string, port: number) {
  const child: ChildProcess = spawn(process.execPath, [program, folder, String(port), String(ADVICES)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [line] = (await once(child.stdout as NonNullable<typeof child.stdout>, 'data')) as [Buffer]
  const status = `/proc/${child.pid}/status`
  return {
    process: child,
    port: Number(new URL(line.toString().trim()).port),
    peakMb() {
      const peak = existsSync(status) ? /VmHWM:\s+(\d+)/.exec(readFileSync(status, 'utf8'))?.[1] : undefined
      return Number(peak ?? 0) / 1024
    },
  }
}

/** A machine on a bare socket; comes with its whole backlog at once. */
function machine(port: number, name: string, backlog: readonly string[]) {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  let answered = 0
  const done = new Promise<boolean>((end) => {
    socket.on('data', (bytes: Buffer) => {
      answered += bytes.length
      if (answered >= ANSWER_TO_CONNECT + 4 * backlog.length) end(true)
    })
    socket.on('error', () => end(false))
    socket.on('close', () => end(false))
  })
  const messages = backlog.map((text, i) => publishPacket(`machines/${name}/telemetry`, text, { id: i + 1 }))
  socket.write(Buffer.concat([connectPacket(name), ...messages]))
  return { socket, done, acknowledged: () => Math.max(0, (answered - ANSWER_TO_CONNECT) / 4) }
}

/** A cab that wants all advice there is and reads none of it. */
async function frozenCab(port: number, name: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  const subscribe = Buffer.concat([Buffer.from([0, 1]), mqttText('machines/+/advice'), Buffer.from([1])])
  socket.write(Buffer.concat([connectPacket(name), packet(0x82, subscribe)]))
  return socket
}

test(`${CLIENTS} machines behind one address come back with their backlog after kill -9, while subscribers hang: all are served`, async () => {
  const program = await bundled(join(import.meta.dirname, 'crash-fleet-broker.ts'))
  const folder = temporaryFolder()
  const names = Array.from({ length: CLIENTS }, (_, i) => `machine-${i}`)
  const backlogs = names.map((name) => Array.from({ length: BACKLOG }, (_, i) => `${name} ${i} ${'x'.repeat(200)}`))

  const first = await startBroker(program, folder, 0)
  const before = names.map((name, i) => machine(first.port, name, backlogs[i] ?? []))
  await Promise.race(before.map(({ done }) => done)) // in the midst of it
  first.process.kill('SIGKILL')
  await Promise.all(before.map(({ done }) => done))
  const acknowledgedBefore = before.flatMap(({ acknowledged }, i) => backlogs[i]?.slice(0, acknowledged()) ?? [])

  const second = await startBroker(program, folder, first.port)
  await Promise.all(Array.from({ length: SUBSCRIBERS }, (_, i) => frozenCab(second.port, `cab-${i}`)))
  const begun = performance.now()
  const after = names.map((name, i) => machine(second.port, name, backlogs[i] ?? []))
  const served = await Promise.all(after.map(({ done }) => done))
  const seconds = (performance.now() - begun) / 1000
  expect(served.filter((all) => !all)).toEqual([])
  expect(seconds).toBeLessThan(60)
  expect(second.peakMb()).toBeLessThan(400)

  second.process.kill('SIGKILL')
  await once(second.process, 'exit')
  const spool = await spoolIn(folder)
  const kept = new Set(texts(readAll(folder, spool.committed).messages))
  expect(acknowledgedBefore.filter((text) => !kept.has(text))).toEqual([])
  expect(backlogs.flat().filter((text) => !kept.has(text))).toEqual([])
}, 120_000)
