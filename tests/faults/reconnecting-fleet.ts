import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished } from 'vitest'
import { loadPayload, type Payload } from '../../src/commands/bench/payload.ts'
import { freePort } from '../acquire/external-case.ts'
import { connectPacket, mqttText, packet } from '../acquire/mqtt-bytes.ts'
import { dataFolder, type RunningService, startService, until } from '../service/running-service.ts'
import { settledCounts } from '../service/set-counts.ts'
import { machineNames, publishingFleet, registerPumps } from './publishing-fleet.ts'

export interface Reconnection {
  readonly machines: number
  /** So many of them have oil that is far too hot, so that there is advice to give. */
  readonly hot: number
  /** Sets that each of them has kept, one every 10 s up to now. */
  readonly sets: number
  /** Of all advice, who read nothing. */
  readonly frozen: number
}

export interface Reception {
  /** Until the service was there again. */
  readonly readyMs: number
  /** From then on until all was acknowledged. */
  readonly servedMs: number
  /** The service at its peak. */
  readonly peakMb: number
}

const STEP_MS = 10_000
const SERVED_MS = 240_000
const STORE_MS = 180_000
const ADVICE_MS = 60_000

/** A fleet behind one address that comes back with all that it has kept, after the service was killed. Counts in the store. */
export async function reconnectingFleet({ machines, hot, sets, frozen }: Reconnection): Promise<Reception> {
  const port = await freePort()
  const folder = await dataFolder()
  const settings = { MQTT_PORT: String(port), LOG_LEVEL: 'fatal' }
  const first = await startService(folder, settings)
  const names = { hot: machineNames(hot, 'hot'), cool: machineNames(machines - hot, 'cool') }
  await registerPumps(first, [...names.hot, ...names.cool])
  await first.kill()

  for (let i = 0; i < frozen; i++) freeze(port, `frozen-${i}`)
  const shape = { port, quota: sets, stepMs: STEP_MS, startMs: Date.now() - sets * STEP_MS }
  const fleets = [
    publishingFleet({ ...shape, machines: names.hot, payload: tooHot() }),
    publishingFleet({ ...shape, machines: names.cool }),
  ]
  const begun = performance.now()
  const service = await startService(folder, settings)
  const readyMs = performance.now() - begun
  const isServed = () => fleets.every((fleet) => fleet.unfinished() === 0)
  await until(async () => (isServed() ? true : undefined), SERVED_MS)
  const servedMs = performance.now() - begun - readyMs
  const counts = await settledCounts(service, STORE_MS)
  const all = machines * sets
  expect(counts).toMatchObject({ stored: all, quarantined: 0, duplicate: counts.received - all })
  const { body } = await service.request('GET', '/metrics')
  expect(body).not.toContain('reason="too_many_connections"')
  await until(async () => ((await service.get('/alarms?limit=1000')).items.length >= hot ? true : undefined), ADVICE_MS)
  const peakMb = peakMemoryMb(service)
  await service.kill() // all is stored, and a stop may not have its time while the advisor is busy with so many alarms
  let stored = 0
  for (const fleet of fleets) stored = await fleet.expectStored(folder) // each counts all that is there
  expect(stored).toBe(all)
  return { readyMs, servedMs, peakMb }
}

/** A subscriber of all advice that reads nothing; it comes back when it is cut off. */
function freeze(port: number, clientId: string): void {
  let over = false
  let socket: Socket | undefined
  const begin = () => {
    socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.once('connect', () => {
      socket?.pause()
      const filter = Buffer.concat([Buffer.from([0, 1]), mqttText('machines/+/advice'), Buffer.from([1])])
      socket?.write(Buffer.concat([connectPacket(clientId), packet(0x82, filter)]))
    })
    socket.once('close', () => void delay(500).then(() => !over && begin()))
  }
  begin()
  onTestFinished(() => {
    over = true
    socket?.destroy()
  })
}

/** The usual payload, with oil that is far too hot. */
function tooHot(): Payload {
  const heat = (text: string) => text.replace(/"hyd_oil_temp_c":\d\d\.\d\d/, '"hyd_oil_temp_c":97.00')
  const { text, variants, variedAt } = loadPayload()
  return { text: heat(text), variants: variants.map(heat), variedAt }
}

function peakMemoryMb({ process: { pid } }: RunningService): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024
}
