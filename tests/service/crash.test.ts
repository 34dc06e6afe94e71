import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { connectClient, dataFolder, publish, type RunningService, startService, until } from './running-service.ts'

const READINGS = 40

/** Hot hydraulic oil for long enough, one message a reading. */
async function publishFault(service: RunningService, id: string): Promise<number[]> {
  const client = await connectClient(service)
  const start = Date.now() - 10 * 60_000
  const times = Array.from({ length: READINGS }, (_, i) => start + i * 2_000)
  await Promise.all(
    times.map((ts, seq) =>
      publish(client, `machines/${id}/telemetry`, { ts, seq, mode: 'pumping', signals: { hyd_oil_temp_c: 97 } }),
    ),
  )
  await client.endAsync(true)
  return times
}

test('killed at ten moments between alarm and ticket: one ticket each, no acknowledged reading lost', {
  timeout: 180_000,
}, async () => {
  const folder = await dataFolder()
  const published = new Map<string, number[]>()
  let service = await startService(folder)
  for (const [round, ms] of [0, 20, 60, 120, 180, 250, 350, 500, 700, 1000].entries()) {
    const id = `pump-${round}`
    await service.post('/machines', { id, type: 'boom_pump' })
    published.set(id, await publishFault(service, id))
    await delay(ms)
    await service.kill()
    service = await startService(folder)
  }

  for (const [id, times] of published) {
    await until(async () => ((await service.get(`/tickets?machine=${id}`)).items.length > 0 ? true : undefined))
    const { points } = await service.get(`/machines/${id}/readings?signal=hyd_oil_temp_c`)
    expect(points, id).toEqual(times.map((ts) => [ts, 97]))
  }
  // whatever is still under way would show by now
  await until(async () => ((await service.metric('outbox_waiting')) === 0 ? true : undefined))
  await delay(2_000)
  const { items } = await service.get('/tickets?limit=1000')
  expect(items.map(({ machine }: { machine: string }) => machine).sort()).toEqual([...published.keys()].sort())
  expect((await service.get('/jobs?limit=1000')).items).toHaveLength(published.size)
})
