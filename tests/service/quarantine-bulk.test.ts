import { expect, test } from 'vitest'
import { connectClient, dataFolder, publish, type RunningService, startService, until } from './running-service.ts'

const HOUR = 3_600_000
const SETS = 1_500

/** Of a pump whose clock is two hours ahead. */
const ahead = (now: number) =>
  Array.from({ length: SETS }, (_, i) => ({
    ts: now + 2 * HOUR - i * 1_000,
    signals: { hyd_oil_temp_c: 40 + (i % 50) },
  }))

/** One snapshot. */
async function counts(service: RunningService) {
  const { body } = await service.request('GET', '/metrics')
  const sample = (name: string) => Number(new RegExp(`^outrigger_${name} (\\d+)`, 'm').exec(body)?.[1])
  return {
    received: sample('reading_sets_received_total'),
    stored: sample('reading_sets_total\\{outcome="stored"\\}'),
    duplicate: sample('reading_sets_total\\{outcome="duplicate"\\}'),
    quarantined: sample('reading_sets_total\\{outcome="quarantined"\\}'),
    waiting: sample('reading_sets_waiting'),
  }
}

const settled = (service: RunningService) =>
  until(async () => {
    const found = await counts(service)
    return found.waiting === 0 ? found : undefined
  }, 30_000)

test('a clock is mended, and what it had cost is replayed at once', { timeout: 120_000 }, async () => {
  const service = await startService(await dataFolder())
  const client = await connectClient(service)
  const now = Date.now()
  for (const [id, type] of [
    ['pump-1', 'boom_pump'],
    ['pump-2', 'boom_pump'],
    ['crane-1', 'tower_crane'],
  ] as const) {
    await service.post('/machines', { id, type })
    await publish(client, `machines/${id}/telemetry`, ahead(now))
  }
  expect(await settled(service)).toMatchObject({ received: 3 * SETS, stored: 0, quarantined: 3 * SETS })
  const groups = (await service.get('/quarantine/groups')).items
  expect(groups).toMatchObject([
    { reason: 'clock', type: 'boom_pump', devices: 2, entries: 2 * SETS, withoutBytes: 0, merged: 0 },
    { reason: 'clock', type: 'tower_crane', devices: 1, entries: SETS },
  ])

  for (const id of ['pump-1', 'pump-2']) {
    const policy = { kind: 'offset', offsetMs: 2 * HOUR }
    const put = await service.request('PUT', `/api/v1/devices/${id}/clock`, {
      policy,
      user: 'ana',
      reason: 'set by hand, two hours wrong',
    })
    expect(put.status, JSON.stringify(put.body)).toBe(200)
  }
  const bulk = await service.post('/quarantine/replay', { filter: { reason: 'clock', type: 'boom_pump' }, user: 'ana' })
  expect(bulk).toMatchObject({ state: 'running', decided: 0 })
  const done = await until(async () => {
    const found = await service.get(`/quarantine/bulk/${bulk.id}`)
    return found.state === 'done' ? found : undefined
  }, 30_000)
  expect(done).toMatchObject({ decided: 2 * SETS, skipped: 0, remaining: 0 })
  // a replay is a new receipt, and the old outcome stays
  expect(await settled(service)).toEqual({
    received: 5 * SETS,
    stored: 2 * SETS,
    duplicate: 0,
    quarantined: 3 * SETS,
    waiting: 0,
  })
  for (const id of ['pump-1', 'pump-2'])
    expect((await service.get(`/machines/${id}/readings?signal=hyd_oil_temp_c`)).points).toHaveLength(SETS)
  expect((await service.get('/quarantine/groups')).items).toMatchObject([{ type: 'tower_crane', entries: SETS }])

  // given up, it is gone from the list
  const discard = await service.post('/quarantine/discard', { filter: { device: 'crane-1' }, user: 'ana' })
  await until(async () => ((await service.get(`/quarantine/bulk/${discard.id}`)).state === 'done' ? true : undefined))
  expect((await service.get('/quarantine/groups')).items).toEqual([])
  expect((await service.get('/audit?user=ana&limit=10')).items.map(({ action }: { action: string }) => action)).toEqual(
    expect.arrayContaining(['quarantine.bulk_replay', 'quarantine.bulk_replay.done', 'quarantine.bulk_discard.done']),
  )
})
