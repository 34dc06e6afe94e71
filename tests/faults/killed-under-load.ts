import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { freePort } from '../acquire/external-case.ts'
import { seeded } from '../acquire/seeded.ts'
import { dataFolder, startService } from '../service/running-service.ts'
import { setCounts, settledCounts } from '../service/set-counts.ts'
import { machineNames, publishingFleet, registerPumps } from './publishing-fleet.ts'

export interface Killing {
  readonly machines: number
  readonly kills: number
  /** Each comes within so long after the start. */
  readonly longestMs: number
  /** Of all machines; without it, as fast as they are acknowledged. */
  readonly messagesPerSecond?: number
}

const STORE_MS = 120_000 // for what waits at the end

/**
 * Kills the service again and again while machines publish and come back, and checks that each message that was
 * acknowledged, and no other, is in the store once.
 *
 * @returns how many there are
 */
export async function killedUnderLoad({ kills, longestMs, ...load }: Killing): Promise<number> {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now())
  const told = `FUZZ_SEED=${seed}`
  const random = seeded(seed)
  const port = await freePort()
  const folder = await dataFolder()
  const start = () => startService(folder, { MQTT_PORT: String(port), LOG_LEVEL: 'fatal' })
  let service = await start()
  const machines = machineNames(load.machines)
  await registerPumps(service, machines)
  const fleet = publishingFleet({ ...load, port, machines })
  for (let kill = 0; kill < kills; kill++) {
    await delay(random() * longestMs)
    await setCounts(service)
    await service.kill()
    service = await start()
  }
  await fleet.stop()
  const { quarantined } = await settledCounts(service, STORE_MS)
  expect(quarantined, told).toBe(0)
  expect(await service.stop(), told).toBe(0)
  expect(fleet.lost(), told).toBeGreaterThanOrEqual(kills * load.machines)
  expect(await fleet.expectStored(folder), told).toBe(fleet.acknowledged())
  return fleet.acknowledged()
}
