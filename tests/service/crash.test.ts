import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
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

test('PostgreSQL killed under the service: it is started again, and what came meanwhile leads to its ticket', {
  timeout: 90_000,
}, async () => {
  const service = await startService(await dataFolder(), { LOG_LEVEL: 'fatal' })
  await service.post('/machines', { id: 'pump-1', type: 'boom_pump' })
  const [postmaster] = (await readFile(join(service.folder, 'records', 'pgdata', 'postmaster.pid'), 'utf8')).split('\n')
  process.kill(Number(postmaster), 'SIGKILL')
  await publishFault(service, 'pump-1')
  const [ticket] = await until(async () => {
    const { status, body } = await service.request('GET', '/api/v1/tickets?machine=pump-1')
    return status === 200 && body.items.length > 0 ? body.items : undefined
  }, 40_000)
  expect(ticket).toMatchObject({ failureMode: 'CP-05' })
  expect((await service.request('GET', '/readyz')).body).toMatchObject({ ready: true })
})
