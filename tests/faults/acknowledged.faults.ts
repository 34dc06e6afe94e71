import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LOAD_SIGNALS } from '../../src/commands/bench/payload.ts'
import { freePort, hasMosquitto, mosquittoServer } from '../acquire/external-case.ts'
import { dataFolder, type RunningService, startService, until } from '../service/running-service.ts'
import { setCounts, settledCounts } from '../service/set-counts.ts'
import { machineNames, publishingFleet, registerPumps } from './publishing-fleet.ts'

const CONNECTIONS = 100
const WINDOW = 20
const LOAD_MS = 10_000
const STORE_MS = 120_000
const MACHINES = machineNames(CONNECTIONS)

test('as fast as it goes: the store holds what was acknowledged, no more and no less', async () => {
  const port = await freePort()
  const service = await startService(await dataFolder(), { MQTT_PORT: String(port), LOG_LEVEL: 'fatal' })
  await registerPumps(service, MACHINES)
  const fleet = publishingFleet({ port, machines: MACHINES, window: WINDOW })
  for (let second = 0; second < LOAD_MS / 1_000; second++) {
    await delay(1_000)
    await setCounts(service)
  }
  await fleet.stop()
  const counts = await settledCounts(service, STORE_MS)
  expect(await service.stop()).toBe(0)
  expect(counts).toMatchObject({ received: fleet.acknowledged(), stored: fleet.acknowledged() })
  expect(fleet.lost()).toBe(0)
  expect(await fleet.expectStored(service.folder)).toBe(fleet.acknowledged())
  console.log(`${fleet.acknowledged()} messages acknowledged and stored`)
})

test('killed in the middle, the machines stay away: all that was acknowledged is stored, and at most what was on its way', async () => {
  const port = await freePort()
  const folder = await dataFolder()
  const settings = { MQTT_PORT: String(port), LOG_LEVEL: 'fatal' }
  const first = await startService(folder, settings)
  await registerPumps(first, MACHINES)
  const fleet = publishingFleet({ port, machines: MACHINES, window: WINDOW })
  await delay(LOAD_MS / 2)
  await first.kill()
  fleet.abandon()
  const service = await startService(folder, settings)
  const { quarantined } = await settledCounts(service, STORE_MS)
  expect(quarantined).toBe(0)
  expect(await service.stop()).toBe(0)
  const stored = await fleet.expectStored(folder)
  expect(stored).toBeGreaterThanOrEqual(fleet.acknowledged())
  expect(stored).toBeLessThanOrEqual(fleet.acknowledged() + CONNECTIONS * WINDOW)
  console.log(`${fleet.acknowledged()} messages acknowledged, ${stored} stored`)
})

test.skipIf(!hasMosquitto)(
  'Mosquitto in between, the service killed in the middle: the store holds what Mosquitto acknowledged',
  async () => {
    const broker = await mosquittoServer()
    const folder = await dataFolder()
    const settings = { MQTT_URL: broker.address, LOG_LEVEL: 'fatal' }
    let service = await startService(folder, settings)
    await registerPumps(service, MACHINES)
    const fleet = publishingFleet({ port: Number(new URL(broker.address).port), machines: MACHINES, window: WINDOW })
    await delay(LOAD_MS / 2)
    await service.kill()
    service = await startService(folder, settings)
    await delay(LOAD_MS / 2)
    await fleet.stop()
    // what waits at the broker is in no count of ours
    await until(async () => ((await storedNow(service)) >= fleet.acknowledged() ? true : undefined), STORE_MS)
    await settledCounts(service, STORE_MS)
    expect(await service.stop()).toBe(0)
    expect(await fleet.expectStored(folder)).toBe(fleet.acknowledged())
    console.log(`${fleet.acknowledged()} messages acknowledged by Mosquitto and stored`)
  },
)

/** Readings of one signal that the API finds, of all machines. */
async function storedNow(service: RunningService): Promise<number> {
  let sum = 0
  for (const machine of MACHINES) {
    const path = `/machines/${machine}/readings?signal=${LOAD_SIGNALS[0]}&every=3650d&fn=count`
    const { points } = await service.get(path)
    for (const [, count] of points) sum += count
  }
  return sum
}
