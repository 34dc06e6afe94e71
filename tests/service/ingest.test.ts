import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { dataFolder, type RunningService, startService, until } from './running-service.ts'

const now = Date.now()
const set = (i: number, machine?: string) => ({
  machine,
  ts: now - 60_000 + i,
  signals: { hyd_oil_temp_c: 50 + i / 10 },
})

const settled = (service: RunningService) =>
  until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))

const points = async (service: RunningService, machine: string) =>
  (await service.get(`/machines/${machine}/readings?signal=hyd_oil_temp_c`)).points as unknown[]

test('sets over HTTP are durable at 202, stored once and judged like all', { timeout: 90_000 }, async () => {
  const folder = await dataFolder()
  const first = await startService(folder)
  const sets = Array.from({ length: 200 }, (_, i) => set(i))
  const answers = await Promise.all([
    first.request('POST', '/api/v1/ingest/http-1', sets),
    first.request('POST', '/api/v1/ingest', [set(0, 'http-2'), set(0, 'http-3')]),
    first.request('POST', '/api/v1/ingest?machine=http-4', { ts: now + 3_600_000, signals: { hyd_oil_temp_c: 1 } }),
    first.request('POST', '/api/v1/ingest/http-5', 'no set' as never),
  ])
  expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202])
  await first.kill()

  const service = await startService(folder)
  await settled(service)
  expect(await points(service, 'http-1')).toHaveLength(200)
  for (const id of ['http-2', 'http-3']) expect(await points(service, id)).toEqual([[now - 60_000, 50]])
  const held = (await service.get('/quarantine')).items
  expect(held).toMatchObject([
    { reason: 'shape', device: 'http-5', topic: 'machines/http-5/telemetry' },
    { reason: 'clock', device: 'http-4' },
  ])

  // sent again it is a duplicate
  expect((await service.request('POST', '/api/v1/ingest/http-1', sets)).status).toBe(202)
  await until(async () => ((await service.metric('reading_sets_total{outcome="duplicate"}')) >= 200 ? true : undefined))
  expect(await points(service, 'http-1')).toHaveLength(200)

  // with credentials of its own a machine sends for itself
  const issued = await service.post('/credentials', { kind: 'machine', id: 'http-6' })
  const login = (id: string, secret: string) => ({
    authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
  })
  const as = (path: string, headers: Record<string, string>) =>
    service.request('POST', `/api/v1/ingest${path}`, set(1), headers)
  expect((await as('', login('http-6', issued.secret))).status).toBe(202)
  expect((await as('/http-6', login('http-6', issued.secret))).status).toBe(202)
  expect((await as('/http-1', login('http-6', issued.secret))).status).toBe(403)
  expect((await as('/http-6', login('http-6', `${issued.secret}x`))).status).toBe(401)
  expect((await as('/http-6', login('http-7', issued.secret))).status).toBe(401)
  expect((await service.get('/machines/http-6/tail')).connections).toMatchObject([
    { event: 'login_refused', reason: 'not_authorized', clientId: 'HTTP' },
    { event: 'login_refused', reason: 'wrong_secret', address: '127.0.0.1' },
  ])
  await settled(service)
  expect(await points(service, 'http-6')).toHaveLength(1)
})

/** Stops the records without a word, until the answer is called. */
function freezeRecords(folder: string): () => void {
  const postmaster = Number(readFileSync(join(folder, 'records', 'pgdata', 'postmaster.pid'), 'utf8').split('\n')[0])
  const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').trim().split(' ').map(Number)
  const all = [postmaster, ...children]
  for (const pid of all) process.kill(pid, 'SIGSTOP')
  return () => {
    for (const pid of all) process.kill(pid, 'SIGCONT')
  }
}

test.skipIf(process.platform !== 'linux')(
  'a full spool is a 503, and goes on when there is room',
  { timeout: 90_000 },
  async () => {
    const folder = await dataFolder()
    const service = await startService(folder, { OUTRIGGER_SPOOL_BYTES: '1048576', LOG_LEVEL: 'fatal' })
    const thaw = freezeRecords(folder)
    let accepted = 0
    try {
      const refused = await until(async () => {
        const sets = Array.from({ length: 500 }, () => set(0))
        const answer = await fetch(`${service.api}/api/v1/ingest/full-1`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(sets.map((one, i) => ({ ...one, ts: now - 10_000_000 + accepted * 500 + i }))),
        })
        if (answer.status === 202) accepted++
        return answer.status === 202 ? undefined : answer
      }, 30_000)
      expect(refused.status).toBe(503)
      expect(refused.headers.get('retry-after')).toBe('5')
      expect(await refused.json()).toMatchObject({ detail: expect.stringContaining('send it again') })
    } finally {
      thaw()
    }
    expect(accepted).toBeGreaterThan(5)
    await settled(service)
    await until(async () =>
      (await service.request('POST', '/api/v1/ingest/full-2', set(1))).status === 202 ? true : undefined,
    )
    const counted = await service.get('/machines/full-1/readings?signal=hyd_oil_temp_c&every=1d&fn=count')
    const stored = counted.points.reduce((sum: number, [, count]: [number, number]) => sum + count, 0)
    expect(stored).toBeGreaterThanOrEqual(accepted * 500)
    expect(stored).toBeLessThanOrEqual((accepted + 2) * 500)
  },
)
