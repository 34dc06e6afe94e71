import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { hasMosquitto, mosquittoServer } from '../acquire/external-case.ts'
import { tcpProxy } from '../acquire/tcp-proxy.ts'
import { sendingFleet } from '../service/broker-between.ts'
import { dataFolder, startService } from '../service/running-service.ts'

const MACHINES = 50
const PER_SECOND = 1_000
const STORE_MS = 120_000 // for what waits at the end

/** The same moments in each run, different ones within it; ms. */
function moments(count: number, longest: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.round(((i * 0.618) % 1) * longest))
}

describe.skipIf(!hasMosquitto)('with Mosquitto in between', () => {
  test('the service is killed 20 times under load: what Mosquitto acknowledged is stored once', {
    timeout: 1_200_000, // twenty starts, on whatever machine
  }, async () => {
    const broker = await mosquittoServer()
    const folder = await dataFolder()
    const settings = { MQTT_URL: broker.address, LOG_LEVEL: 'fatal' }
    let service = await startService(folder, settings)
    const fleet = await sendingFleet(broker.address, MACHINES, PER_SECOND)
    for (const ms of moments(20, 2_000)) {
      await delay(ms)
      await service.kill()
      service = await startService(folder, settings)
    }
    await fleet.stop()
    await fleet.expectStored(service, STORE_MS)
  })

  test('Mosquitto restarts five times under load, the service with it every other time', async () => {
    const broker = await mosquittoServer()
    const folder = await dataFolder()
    const settings = { MQTT_URL: broker.address, LOG_LEVEL: 'fatal' }
    let service = await startService(folder, settings)
    const fleet = await sendingFleet(broker.address, MACHINES, PER_SECOND)
    for (const [round, ms] of moments(5, 3_000).entries()) {
      await delay(ms)
      if (round % 2 === 1) await service.kill()
      await broker.restart()
      if (round % 2 === 1) service = await startService(folder, settings)
    }
    await delay(2_000)
    await fleet.stop()
    await fleet.expectStored(service, STORE_MS)
  })

  test('the network between the broker and the service is cut, halves packets, stalls each way, and is 5 s late', async () => {
    const broker = await mosquittoServer()
    const network = await tcpProxy(broker)
    const service = await startService(await dataFolder(), { MQTT_URL: network.address, LOG_LEVEL: 'fatal' })
    const fleet = await sendingFleet(broker.address, MACHINES, PER_SECOND)
    const faults: (() => void)[] = [
      () => network.cut(),
      () => network.halve(),
      () => network.stall('to client'),
      () => network.stall('to server'),
      () => network.delay(5_000),
      () => network.cut(),
    ]
    for (const fault of faults) {
      await delay(2_000)
      fault()
      await delay(12_000)
      network.mend()
    }
    network.stall('to server') // for longer than the broker waits for a ping
    await delay(45_000)
    network.mend()
    await fleet.stop()
    await fleet.expectStored(service, STORE_MS)
    expect(network.connections()).toBeGreaterThan(4)
  })

  test('two processes of a group are killed in turns: together they have everything when both are back', async () => {
    const broker = await mosquittoServer()
    const folders = [await dataFolder(), await dataFolder()]
    const start = (i: number) =>
      startService(folders[i] as string, {
        MQTT_URL: broker.address,
        MQTT_SHARE: 'fleet',
        MQTT_CLIENT_ID: `outrigger-${i}`,
        LOG_LEVEL: 'fatal',
      })
    const services = [await start(0), await start(1)]
    const fleet = await sendingFleet(broker.address, MACHINES, PER_SECOND)
    for (const [round, ms] of moments(6, 3_000).entries()) {
      await delay(ms)
      await services[round % 2]?.kill()
      services[round % 2] = await start(round % 2)
    }
    await fleet.stop()
    await fleet.expectStored(services, STORE_MS)
  })
})
