import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { freePort } from '../acquire/external-case.ts'
import { seeded } from '../acquire/seeded.ts'
import { dataFolder, startService } from '../service/running-service.ts'
import { setCounts, settledCounts } from '../service/set-counts.ts'
import { machineNames, publishingFleet, registerPumps } from './publishing-fleet.ts'

const KILLS = 20
const LONGEST_MS = 1_500

test(`killed ${KILLS} times under the load of 50 machines: what was acknowledged is stored once`, async () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now())
  const random = seeded(seed)
  const port = await freePort()
  const folder = await dataFolder()
  const start = () => startService(folder, { MQTT_PORT: String(port), LOG_LEVEL: 'fatal' })
  let service = await start()
  const machines = machineNames(50)
  await registerPumps(service, machines)
  const fleet = publishingFleet({ port, machines })
  for (let kill = 0; kill < KILLS; kill++) {
    await delay(random() * LONGEST_MS)
    await setCounts(service)
    await service.kill()
    service = await start()
  }
  await fleet.stop()
  const { quarantined } = await settledCounts(service, 120_000)
  expect(quarantined, `seed ${seed}`).toBe(0)
  expect(await service.stop()).toBe(0)
  expect(fleet.lost()).toBeGreaterThanOrEqual(KILLS * 50)
  expect(fleet.acknowledged()).toBeGreaterThan(10_000)
  expect(await fleet.expectStored(folder), `seed ${seed}`).toBe(fleet.acknowledged())
  console.log(`${fleet.acknowledged()} messages were acknowledged and are stored once (seed ${seed})`)
})
