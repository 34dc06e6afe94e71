import { setTimeout as delay } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import { expect, onTestFinished } from 'vitest'
import { type RunningService, until } from './running-service.ts'

/** Machines that send to somebody else's broker. */
export interface SendingFleet {
  /** Readings that were acknowledged, of all machines. */
  acknowledged(): number
  /** Sends no more. Resolves when everything that was sent is acknowledged. */
  stop(): Promise<void>
  /**
   * Awaits that every reading that was sent is stored, and checks that each is there once, and nothing else.
   *
   * @param services together they have them
   */
  expectStored(services: RunningService | RunningService[], timeoutMs: number): Promise<void>
}

const FIRST_MS = 1_700_000_000_000
const STEP_MS = 1_000
const AT_ONCE = 20 // unacknowledged readings of one machine
const SIGNAL = 'hyd_oil_temp_c'

/** @param perSecond readings in all; without it, each machine sends as fast as it is acknowledged */
export async function sendingFleet(address: string, size: number, perSecond = 0): Promise<SendingFleet> {
  const machines = Array.from({ length: size }, (_, i) => ({ id: `pump-${i}`, sent: 0 }))
  const pauseMs = perSecond > 0 ? (1_000 * size * AT_ONCE) / perSecond : 0
  let acknowledged = 0
  let stopped = false

  const send = async (client: MqttClient, machine: { id: string; sent: number }) => {
    while (!stopped) {
      const first = machine.sent
      machine.sent += AT_ONCE
      const publishing = Array.from({ length: AT_ONCE }, (_, i) =>
        client.publishAsync(`machines/${machine.id}/telemetry`, readingSet(first + i), { qos: 1 }),
      )
      await Promise.all([delay(pauseMs), ...publishing])
      acknowledged += AT_ONCE
    }
  }
  const clients = await Promise.all(
    machines.map(({ id }) => mqtt.connectAsync(address, { clientId: id, clean: false, reconnectPeriod: 200 })),
  )
  for (const client of clients) client.on('error', () => {}) // the broker may be away for a while
  onTestFinished(async () => {
    stopped = true
    for (const client of clients) await client.endAsync(true)
  })
  const sending = Promise.all(machines.map((machine, i) => send(clients[i] as MqttClient, machine)))
  sending.catch(() => {}) // told by `stop`
  return {
    acknowledged: () => acknowledged,
    async stop() {
      stopped = true
      await sending
    },
    async expectStored(services, timeoutMs) {
      const all = [services].flat()
      for (const { id, sent } of machines) {
        const points = await until(async () => {
          const found = (await Promise.all(all.map((service) => readings(service, id)))).flat()
          return found.length >= sent ? found.sort(([a], [b]) => a - b) : undefined
        }, timeoutMs)
        expect(points, id).toEqual(Array.from({ length: sent }, (_, seq) => [FIRST_MS + seq * STEP_MS, measured(seq)]))
      }
      for (const service of all) {
        await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
        expect(await service.metric('reading_sets_total{outcome="quarantined"}')).toBe(0)
      }
    },
  }
}

/** @returns none while the service does not know the machine */
async function readings(service: RunningService, machine: string): Promise<[number, number][]> {
  const { status, body } = await service.request('GET', `/api/v1/machines/${machine}/readings?signal=${SIGNAL}`)
  return status === 200 ? body.points : []
}

function readingSet(seq: number): string {
  return JSON.stringify({ ts: FIRST_MS + seq * STEP_MS, seq, signals: { [SIGNAL]: measured(seq) } })
}

function measured(seq: number): number {
  return 20 + (seq % 50)
}
