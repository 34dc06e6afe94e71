import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { hasMosquitto, mosquittoServer } from '../acquire/external-case.ts'
import { sendingFleet } from './broker-between.ts'
import { dataFolder, startService, until } from './running-service.ts'

test.skipIf(!hasMosquitto)(
  'with Mosquitto in between and the service killed: what it acknowledged is stored once',
  {
    timeout: 120_000,
  },
  async () => {
    const broker = await mosquittoServer()
    const folder = await dataFolder()
    const settings = { MQTT_URL: broker.address, LOG_LEVEL: 'error' }
    let service = await startService(folder, settings)
    const fleet = await sendingFleet(broker.address, 4, 1_000)
    for (const ms of [300, 700]) {
      await delay(ms)
      await service.kill()
      service = await startService(folder, settings)
    }
    await delay(500)
    await fleet.stop()
    expect(fleet.acknowledged()).toBeGreaterThan(500)
    await fleet.expectStored(service, 60_000)
  },
)

test.skipIf(!hasMosquitto)(
  'a broker that is away shows in /readyz, and is found again',
  { timeout: 60_000 },
  async () => {
    const broker = await mosquittoServer()
    const service = await startService(await dataFolder(), { MQTT_URL: broker.address, LOG_LEVEL: 'fatal' })
    const readiness = (ready: boolean) =>
      until(async () => {
        const { status, body } = await service.request('GET', '/readyz')
        return body.ready === ready ? { status, body } : undefined
      }, 30_000)

    await readiness(true)
    await broker.stop()
    const { status, body } = await readiness(false)
    expect(status).toBe(503)
    const { note } = body.parts.find(({ part }: { part: string }) => part === 'broker')
    expect(note).toMatch(/^nothing arrives from mqtt:\/\/127\.0\.0\.1:\d+ since 20\d\d-.*Z: /)
    await broker.start()
    await readiness(true)
  },
)
