import { expect, test } from 'vitest'
import { setsOf } from '../store/sets-of.ts'
import { now, runningApi } from './running-api.ts'

const api = await runningApi()
const { app, get, post, told, store } = api

async function send(csv: string | Buffer, query = '') {
  const answer = await app.inject({
    method: 'POST',
    url: `/api/v1/machines/import?user=ana${query}`,
    headers: { 'content-type': 'text/csv' },
    payload: csv,
  })
  return { status: answer.statusCode, body: answer.json() }
}

test('a CSV is imported, and the stages and the broker know it before the answer goes out', async () => {
  const { refreshed, accessRefreshed } = told
  const answer = await send('device;machine;type;colour\nbox-1;pump-1;boom_pump;red\n', '&credentials=true')
  expect(answer).toEqual({
    status: 200,
    body: {
      outcome: 'written',
      lines: 1,
      created: ['pump-1'],
      changed: [],
      unchanged: 0,
      bound: 1,
      meterReadings: 0,
      withoutCredentials: 1,
      credentials: [{ id: 'box-1', secret: expect.stringMatching(/^[\w-]{32}$/) }],
      ignoredColumns: ['colour'],
      faults: [],
    },
  })
  expect([told.refreshed, told.accessRefreshed, told.changed.at(-1)]).toEqual([
    refreshed + 1,
    accessRefreshed + 1,
    'pump-1',
  ])
  expect((await get('/credentials/machine/box-1')).body).toMatchObject({ createdBy: 'ana' })
  expect((await get('/bindings?device=box-1')).body.items).toMatchObject([{ machine: 'pump-1' }])
  const again = await send('device;machine;type;colour\nbox-1;pump-1;boom_pump;red\n', '&credentials=true')
  expect(again.body).toMatchObject({ outcome: 'unchanged', unchanged: 1, credentials: [] })
})

test('rows do as well as a CSV', async () => {
  const rows = [{ machine: 'pump-2', type: 'boom_pump', hours: 12.5, deliveredAt: '2025-03-01', site: ' ' }]
  const { status, body } = await post('/machines/import', { rows })
  expect([status, body.outcome, body.meterReadings]).toEqual([200, 'written', 1])
  expect((await get('/machines/pump-2')).body).toMatchObject({ deliveredAt: '2025-03-01T00:00:00.000Z', site: null })
})

test('a wrong line refuses all of them and says where; a dry run says the same without refusing', async () => {
  const csv = 'id,type,hours\nfine-1,boom_pump,1\nbad 1,boom_pump,x\nbad-2,rocket,\n'
  const refused = await send(csv)
  expect(refused.status).toBe(400)
  expect(refused.body).toMatchObject({
    title: 'Bad Request',
    detail: 'nothing was written, because 2 lines are wrong',
    errors: [
      { pointer: '#/3/machine', detail: expect.stringContaining("'bad 1' is no id") },
      { pointer: '#/3/hours', detail: expect.stringContaining('no number') },
      { pointer: '#/4', detail: expect.stringContaining("'rocket' is no type") },
    ],
  })
  expect((await get('/machines/fine-1')).status).toBe(404)
  const dry = await send(csv, '&dryRun=true')
  expect(dry).toMatchObject({ status: 200, body: { outcome: 'dry_run', created: ['fine-1'] } })
  expect(dry.body.faults.map(({ line, column }: any) => [line, column])).toEqual([
    [3, 'machine'],
    [3, 'hours'],
    [4, null],
  ])
  const kept = await send(csv, '&keepGoing=true')
  expect(kept).toMatchObject({ status: 200, body: { outcome: 'written', created: ['fine-1'] } })
  expect(kept.body.faults).toHaveLength(3)
})

test('what a device has sent before moves behind the answer', async () => {
  await api.records.db.insertInto('machines').values({ id: 'box-3', type: 'generic', state: 'unassigned' }).execute()
  await store.append(setsOf([{ machine: 'box-3', signal: 'rpm', measuredAt: now - 1, value: 7 }]))
  await send('device,machine,type\nbox-3,pump-3,boom_pump\n')
  await expect.poll(async () => (await get('/machines/pump-3/readings?signal=rpm')).body.points).toEqual([[now - 1, 7]])
})

for (const { name, csv, status, says } of [
  { name: 'no table', csv: 'hello', status: 400, says: 'no column is named' },
  { name: 'no UTF-8', csv: Buffer.from('id,customer\na,Z\xfcblin', 'latin1'), status: 400, says: 'not UTF-8' },
  { name: 'nothing', csv: '', status: 400, says: '' },
  { name: 'more than it takes', csv: `id\n${'x'.repeat(17 << 20)}`, status: 413, says: '' },
]) {
  test(`the import is refused for ${name}`, async () => {
    const answer = await send(csv)
    expect(answer.status).toBe(status)
    expect(answer.body.detail).toContain(says)
  })
}

test('a CSV is taken by the import alone', async () => {
  const answer = await app.inject({
    method: 'POST',
    url: '/api/v1/machines',
    headers: { 'content-type': 'text/csv' },
    payload: 'id,type\na,b\n',
  })
  expect(answer.statusCode).toBe(415)
})

for (const [n, rows] of [[{ machine: 'a\0b' }], [{ machine: 'a', site: '\ud800' }], [{ colour: 'red' }], 'x'].entries())
  test(`rows that cannot be are refused: ${n}`, async () =>
    expect((await post('/machines/import', { rows })).status).toBe(400))
