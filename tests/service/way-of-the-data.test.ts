import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { connectClient, dataFolder, publish, type RunningService, startService, until } from './running-service.ts'

const MINUTE = 60_000

/** Reading sets of a pump truck whose hydraulic oil is hot, from `start` on. */
function hotOil(start: number, seconds: number, everySeconds: number, value = 97) {
  return Array.from({ length: Math.floor(seconds / everySeconds) + 1 }, (_, i) => ({
    ts: start + i * everySeconds * 1000,
    mode: 'pumping',
    signals: { hyd_oil_temp_c: value, engine_speed_rpm: 1500, engine_hours_h: 4321.55 },
  }))
}

/** Waits until everything that was acknowledged is judged and stored. */
async function settled(service: RunningService): Promise<void> {
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
}

test('one cause is one ticket, however the readings come', async () => {
  const service = await startService(await dataFolder())
  const client = await connectClient(service)
  const cadences = [
    { id: 'every-second', sets: hotOil(Date.now() - 10 * MINUTE, 90, 1), whole: false },
    { id: 'every-minute', sets: hotOil(Date.now() - 10 * MINUTE, 300, 60), whole: false },
    { id: 'after-an-hour-offline', sets: hotOil(Date.now() - 70 * MINUTE, 3600, 10), whole: true },
  ]
  for (const { id, sets, whole } of cadences) {
    await service.post('/machines', { id, type: 'boom_pump' })
    if (whole) await publish(client, `machines/${id}/telemetry`, [...sets].reverse())
    else for (const set of sets) await publish(client, `machines/${id}/telemetry`, set)
  }
  for (const { id } of cadences) {
    const tickets = await until(async () => {
      const { items } = await service.get(`/tickets?machine=${id}`)
      return items.length > 0 ? items : undefined
    })
    expect(tickets, id).toMatchObject([{ failureMode: 'CP-05', severity: 'S3', priority: 'P2', state: 'new' }])
  }

  // normal readings in between, the fault again, an out-of-order set, a redelivery, impossible values
  const id = 'every-second'
  const again = Date.now() - 5 * MINUTE
  for (const set of hotOil(again - 3 * MINUTE, 90, 1, 60)) await publish(client, `machines/${id}/telemetry`, set)
  for (const set of hotOil(again, 90, 1)) await publish(client, `machines/${id}/telemetry`, set)
  await publish(client, `machines/${id}/telemetry`, cadences[0]?.sets[3] ?? {})
  await publish(client, `machines/${id}/telemetry`, hotOil(again - 4 * MINUTE - 500, 0, 1)[0] ?? {})
  await publish(client, `machines/${id}/telemetry`, {
    ts: Date.now(),
    signals: { engine_hours_h: 214_748_364, coolant_temp_c: 215, hyd_oil_temp_c: 60 },
  })
  await settled(service)
  await delay(3_000) // late readings are judged when nothing more comes
  expect((await service.get(`/tickets?machine=${id}`)).items).toHaveLength(1)
  expect((await service.get(`/jobs?machine=${id}`)).items).toHaveLength(1)
  const alarms = (await service.get(`/alarms?machine=${id}`)).items as { signal: string }[]
  expect(new Set(alarms.map(({ signal }) => signal))).toEqual(new Set(['hyd_oil_temp_c']))
  expect(await service.get(`/machines/${id}`)).toMatchObject({ serviceHours: 4321.55 })
  expect(await service.stop()).toBe(0)
})
