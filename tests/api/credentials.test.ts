import { expect, test } from 'vitest'
import { now, runningApi } from './running-api.ts'

const api = await runningApi()
const { get, post, patch, told } = api

test('credentials are issued once, and the broker knows them before the answer goes out', async () => {
  const refreshed = told.accessRefreshed
  const issued = await post('/credentials', { kind: 'machine', id: 'pump-1', user: 'ana', reason: 'new unit' })
  expect([issued.status, issued.headers.location]).toEqual([201, '/api/v1/credentials/machine/pump-1'])
  const at = new Date(now).toISOString()
  const credential = {
    kind: 'machine',
    id: 'pump-1',
    proof: 'secret',
    limits: { connections: null, messagesPerSecond: null, packetBytes: null },
    machines: [],
    createdAt: at,
    createdBy: 'ana',
    rotatedAt: null,
    rotatedBy: null,
    revokedAt: null,
    revokedBy: null,
    lastUsedAt: null,
  }
  expect(issued.body).toEqual({ ...credential, secret: expect.stringMatching(/^[\w-]{32}$/) })
  expect(told.accessRefreshed).toBe(refreshed + 1)
  expect((await get('/credentials/machine/pump-1')).body).toEqual(credential)
  expect((await get('/credentials')).body.items).toEqual([credential])
  expect(JSON.stringify((await get('/audit')).body)).not.toContain(issued.body.secret)
})

test('a secret is rotated, or a password brought along', async () => {
  const { body: first } = await post('/credentials', { kind: 'gateway', id: 'gw-1' })
  const rotated = await post('/credentials/gateway/gw-1/rotate')
  expect(rotated).toMatchObject({ status: 200, body: { proof: 'secret', rotatedBy: 'api' } })
  expect(rotated.body.secret).not.toBe(first.secret)
  const brought = await post('/credentials/gateway/gw-1/rotate', { password: 'a password from home', user: 'ana' })
  expect(brought.body).toMatchObject({ proof: 'password', secret: null, rotatedBy: 'ana' })
  expect(JSON.stringify(brought.body)).not.toContain('from home')
})

test('many secrets are replaced at once, all or none', async () => {
  const ids = ['many-1', 'many-2', 'many-3']
  for (const id of ids) await post('/credentials', { kind: 'machine', id })
  const { status, body } = await post('/credentials/rotate', { ids: [...ids, 'many-1'], user: 'ana', reason: 'lost' })
  expect(status).toBe(200)
  expect(body.credentials.map(({ id }: { id: string }) => id)).toEqual(ids)
  expect(new Set(body.credentials.map(({ secret }: { secret: string }) => secret)).size).toBe(3)
  const rotated = { rotatedBy: 'ana', proof: 'secret' }
  expect((await get('/credentials/machine/many-2')).body).toMatchObject(rotated)
  expect((await get('/audit?subject=many-2')).body.items[0]).toMatchObject({ action: 'credential.rotate', user: 'ana' })

  await post('/credentials/machine/many-3/revoke')
  for (const other of ['many-3', 'nobody']) {
    const refused = await post('/credentials/rotate', { ids: ['many-1', other], user: 'eve' })
    expect([refused.status, refused.body.detail]).toEqual([400, expect.stringContaining(`'${other}' has no`)])
  }
  expect((await get('/credentials/machine/many-1')).body).toMatchObject(rotated)
})

test('a bridge has machines and limits, which are changed without a new secret', async () => {
  const bridge = { kind: 'bridge', id: 'site-4', machines: ['b', 'a'], limits: { connections: 3 } }
  const { body } = await post('/credentials', bridge)
  expect(body).toMatchObject({ machines: ['a', 'b'], limits: { connections: 3, packetBytes: null } })
  const changed = await patch('/credentials/bridge/site-4', {
    limits: { connections: null, messagesPerSecond: 50 },
    assign: ['c'],
    unassign: ['a'],
    user: 'ana',
  })
  expect(changed).toMatchObject({
    status: 200,
    body: { machines: ['b', 'c'], limits: { connections: null, messagesPerSecond: 50, packetBytes: null } },
  })
  expect(changed.body).not.toHaveProperty('secret')
  expect((await get('/credentials?machine=c&kind=bridge')).body.items).toMatchObject([{ id: 'site-4' }])
})

test('revoking ends them', async () => {
  await post('/credentials', { kind: 'machine', id: 'gone-1' })
  const revoked = await post('/credentials/machine/gone-1/revoke', { user: 'ana', reason: 'stolen' })
  expect(revoked).toMatchObject({ status: 200, body: { revokedBy: 'ana', revokedAt: new Date(now).toISOString() } })
  expect((await get('/credentials?revoked=true&id=gone-1')).body.items).toMatchObject([{ id: 'gone-1' }])
  expect((await get('/credentials?revoked=false&id=gone-1')).body.items).toEqual([])
  expect((await post('/credentials/machine/gone-1/rotate')).status).toBe(400)
  expect((await get('/audit?subject=gone-1')).body.items[0]).toMatchObject({ action: 'credential.revoke' })
})

test('a list is read page by page', async () => {
  for (const id of ['page-1', 'page-2', 'page-3']) await post('/credentials', { kind: 'machine', id })
  const ids: string[] = []
  let cursor = ''
  do {
    const { body } = await get(`/credentials?kind=machine&limit=2${cursor && `&cursor=${cursor}`}`)
    ids.push(...body.items.map(({ id }: { id: string }) => id))
    cursor = body.next
  } while (cursor)
  expect(ids.filter((id) => id.startsWith('page-'))).toEqual(['page-1', 'page-2', 'page-3'])
  expect((await get('/credentials?cursor=nonsense')).status).toBe(400)
})

for (const { name, path, body, status } of [
  { name: 'a kind that is none', path: '', body: { kind: 'person', id: 'x' }, status: 400 },
  { name: 'an id that is none', path: '', body: { kind: 'machine', id: 'a b' }, status: 400 },
  { name: 'a password of 5', path: '', body: { kind: 'machine', id: 'x', password: '12345' }, status: 400 },
  { name: 'a limit of 0', path: '', body: { kind: 'machine', id: 'x', limits: { connections: 0 } }, status: 400 },
  { name: 'a user name that is taken', path: '', body: { kind: 'machine', id: 'pump-1' }, status: 409 },
  { name: 'a user name of another kind', path: '', body: { kind: 'bridge', id: 'pump-1' }, status: 409 },
  { name: 'rotating nobody', path: '/machine/nobody/rotate', body: {}, status: 404 },
  { name: 'revoking nobody', path: '/machine/nobody/revoke', body: {}, status: 404 },
]) {
  test(`credentials are refused for ${name}`, async () => {
    const answer = await post(`/credentials${path}`, body)
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toContain('application/problem+json')
  })
}
