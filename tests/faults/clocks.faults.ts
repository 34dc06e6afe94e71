import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type { MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { projectRoot } from '../../src/root.ts'
import { temporaryFolder } from '../acquire/spool-case.ts'
import { connectClient, dataFolder, publish, type RunningService, startService } from '../service/running-service.ts'
import { setCounts, settledCounts } from '../service/set-counts.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const TEN_YEARS = 3_653 * 24 * HOUR
const SIGNAL = 'hyd_oil_temp_c'
const EVERY_MS = 250

/** A machine that measures and sends, with a clock of its own. */
class Machine {
  readonly id: string
  aheadMs = 0
  /** Times that the machine stated, in the order in which they were sent. */
  readonly stated: number[] = []
  constructor(id: string) {
    this.id = id
  }

  async send(client: MqttClient): Promise<void> {
    const ts = Date.now() + this.aheadMs
    const seq = this.stated.push(ts) - 1
    await publish(client, `machines/${this.id}/telemetry`, { ts, seq, signals: { [SIGNAL]: 50 } })
  }
}

async function sendAll(client: MqttClient, machines: readonly Machine[], forMs: number): Promise<void> {
  for (const end = performance.now() + forMs; performance.now() < end; await delay(EVERY_MS))
    await Promise.all(machines.map((machine) => machine.send(client)))
}

async function timesOf(service: RunningService, machine: string): Promise<number[]> {
  const query = `signal=${SIGNAL}&from=0&to=${Date.now() + 2 * TEN_YEARS}`
  const { points } = await service.get(`/machines/${machine}/readings?${query}`)
  return points.map(([at]: [number, number]) => at)
}

test('clocks of machines jump by an hour and by ten years, forward and back: what is ahead is kept apart, all else is stored', async () => {
  const service = await startService(await dataFolder())
  const client = await connectClient(service)
  const right = Array.from({ length: 5 }, (_, i) => new Machine(`right-${i}`))
  const jumps = [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS].map((ms) => ({ machine: new Machine(`jumps-${ms}`), ms }))
  const all = [...right, ...jumps.map(({ machine }) => machine)]
  await sendAll(client, all, 3_000)
  for (const { machine, ms } of jumps) machine.aheadMs = ms
  const before = new Map(jumps.map(({ machine }) => [machine, machine.stated.length]))
  await sendAll(client, all, 3_000)
  const during = new Map(jumps.map(({ machine }) => [machine, machine.stated.length]))
  for (const { machine } of jumps) machine.aheadMs = 0
  await sendAll(client, all, 3_000)

  const counts = await settledCounts(service)
  let refused = 0
  for (const { machine, ms } of jumps) {
    const [from, to] = [before.get(machine) as number, during.get(machine) as number]
    const kept = machine.stated.filter((_, i) => ms < 0 || i < from || i >= to)
    refused += machine.stated.length - kept.length
    expect(await timesOf(service, machine.id), machine.id).toEqual(kept.sort((a, b) => a - b))
    const readings = ms > 0 ? { refused: to - from, backlog: 0 } : { refused: 0, backlog: to - from }
    expect((await service.get(`/clocks?machine=${machine.id}`)).items).toMatchObject([{ readings }])
  }
  for (const { id, stated } of right) {
    expect(await timesOf(service, id), id).toEqual(stated)
  }
  const sent = all.reduce((sum, { stated }) => sum + stated.length, 0)
  expect(counts).toMatchObject({ received: sent, stored: sent - refused, duplicate: 0, quarantined: refused })
  expect((await service.get('/quarantine?reason=clock&limit=1000')).items).toHaveLength(refused)
})

test('the host clock is put back by ten minutes, stays so over a crash, and comes right: no reading is refused or moved', async () => {
  const clock = join(temporaryFolder(), 'ahead')
  const put = (aheadMs: number) => {
    writeFileSync(`${clock}.new`, String(aheadMs))
    renameSync(`${clock}.new`, clock) // a reader sees the old number or the new one
  }
  put(0)
  const folder = await dataFolder()
  const preload = pathToFileURL(join(projectRoot, 'tests', 'service', 'skewed-clock.mjs')).href
  const start = () =>
    startService(folder, { NODE_OPTIONS: `--import=${preload}`, SKEW_FILE: clock, LOG_LEVEL: 'fatal' })
  let service = await start()
  let client = await connectClient(service)
  const machines = Array.from({ length: 10 }, (_, i) => new Machine(`m-${i}`))
  const note = async () => {
    const { body } = await service.request('GET', '/readyz')
    return body.parts.find(({ part }: { part: string }) => part === 'clock').note ?? ''
  }
  const goOn = async (forMs: number) => {
    await sendAll(client, machines, forMs)
    expect((await setCounts(service)).quarantined).toBe(0)
  }

  await goOn(7_000)
  put(-10 * MINUTE)
  await goOn(8_000)
  expect(await note()).toMatch(/put back by 10 min/)
  await client.endAsync(true)
  await service.kill()
  service = await start()
  client = await connectClient(service)
  await goOn(8_000)
  expect(await note()).toMatch(/10 min|600 s/)
  put(0)
  await goOn(8_000)
  expect(await note()).toBe('')

  expect(await settledCounts(service)).toMatchObject({ quarantined: 0 })
  for (const { id, stated } of machines) {
    expect(await timesOf(service, id), id).toEqual(stated)
    const { messages } = await service.get(`/machines/${id}/tail`)
    const receipts = messages.map(({ receivedAt }: { receivedAt: string }) => receivedAt)
    expect(receipts, 'newest first').toEqual([...receipts].sort().reverse())
    expect((await service.get(`/clocks?machine=${id}`)).items).toMatchObject([{ jumps: 0, state: 'right' }])
  }
  expect(await service.stop()).toBe(0)
})
