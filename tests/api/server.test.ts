import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { expect, test } from 'vitest'
import { counts, now, runningApi } from './running-api.ts'

const { app, get, post } = await runningApi()
await app.listen({ host: '127.0.0.1', port: 0 }) // for what `inject` cannot send
const guarded = await runningApi({ config: { OUTRIGGER_API_TOKEN: 'a-secret' } })
const troubled = await runningApi({
  parts: async () => [
    { part: 'broker', ready: true, note: 'the disk is nearly full' },
    { part: 'store', ready: false, note: 'the disk is full' },
  ],
})
const broken = await runningApi({
  parts: async () => {
    throw new Error('the thread has ended')
  },
  counts: async () => {
    throw new Error('a password: hunter2')
  },
})

const json = { 'content-type': 'application/json' }
for (const { name, request, status, detail } of [
  { name: 'an unknown route', request: { url: '/api/v1/nothing' }, status: 404, detail: 'nothing is at' },
  { name: 'a route outside the API', request: { url: '/favicon.ico' }, status: 404, detail: 'nothing is at' },
  { name: 'an unknown machine', request: { url: '/api/v1/machines/m' }, status: 404, detail: "no machine 'm'" },
  {
    name: 'a wrong method',
    request: { method: 'DELETE' as const, url: '/api/v1/machines/m' },
    status: 405,
    detail: 'takes GET, HEAD, PATCH, not DELETE',
  },
  {
    name: 'malformed JSON',
    request: { method: 'POST' as const, url: '/api/v1/machines', headers: json, payload: '{"id":' },
    status: 400,
    detail: 'JSON',
  },
  {
    name: 'no JSON at all',
    request: { method: 'POST' as const, url: '/api/v1/machines', headers: json, payload: '' },
    status: 400,
    detail: 'empty',
  },
  {
    name: 'a prototype in disguise',
    request: { method: 'POST' as const, url: '/api/v1/machines', headers: json, payload: '{"__proto__":{"id":"m"}}' },
    status: 400,
    detail: 'not valid JSON',
  },
  {
    name: 'a media type that is none of ours',
    request: {
      method: 'POST' as const,
      url: '/api/v1/machines',
      headers: { 'content-type': 'text/plain' },
      payload: '{}',
    },
    status: 415,
    detail: 'Unsupported Media Type',
  },
  {
    name: 'a body of 2 MiB',
    request: { method: 'POST' as const, url: '/api/v1/machines', headers: json, payload: `"${'a'.repeat(2 << 20)}"` },
    status: 413,
    detail: 'too large',
  },
  { name: 'a path that cannot be decoded', request: { url: '/api/v1/machines/%E0%A4%A' }, status: 400, detail: 'url' },
  { name: 'NUL in an id', request: { url: '/api/v1/machines/a%00b' }, status: 400, detail: 'does not fit' },
  { name: 'a slash in an id', request: { url: '/api/v1/machines/a%2Fb' }, status: 404, detail: "'a/b'" },
  {
    name: '__proto__ as an id',
    request: { url: '/api/v1/machines/__proto__/latest' },
    status: 404,
    detail: '__proto__',
  },
  { name: 'an id of 3000', request: { url: `/api/v1/alarms/${'a'.repeat(3000)}` }, status: 404, detail: 'so long' },
  { name: 'a number that is none', request: { url: '/api/v1/quarantine/one' }, status: 400, detail: 'does not fit' },
  { name: 'a limit of 0', request: { url: '/api/v1/machines?limit=0' }, status: 400, detail: 'does not fit' },
  { name: 'a limit of 1001', request: { url: '/api/v1/alarms?limit=1001' }, status: 400, detail: 'does not fit' },
  { name: 'a limit given twice', request: { url: '/api/v1/jobs?limit=1&limit=2' }, status: 400, detail: 'not fit' },
  { name: 'a misspelt filter', request: { url: '/api/v1/jobs?stat=proposed' }, status: 400, detail: 'does not fit' },
  { name: 'a state that is none', request: { url: '/api/v1/tickets?state=open' }, status: 400, detail: 'does not fit' },
]) {
  test(`problem details: ${name}`, async () => {
    const answer = await app.inject(request)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(answer.json()).toMatchObject({
      type: 'about:blank',
      title: expect.any(String),
      status,
      instance: request.url,
    })
    expect(answer.statusCode).toBe(status)
    expect(answer.json().detail).toContain(detail)
  })
}

for (const { name, bytes, status } of [
  { name: 'no HTTP', bytes: 'hello\r\n\r\n', status: 400 },
  { name: 'more headers than anybody reads', bytes: `GET / HTTP/1.1\r\nx: ${'x'.repeat(40_000)}\r\n\r\n`, status: 431 },
]) {
  test(`problem details: ${name}`, async () => {
    const { port } = app.server.address() as AddressInfo
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.end(bytes)
    const answer = await text(socket)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} .*\r\ncontent-type: application/problem\\+json\r\n`))
    expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({ type: 'about:blank', status })
  })
}

test('a wrong method is told the right ones', async () => {
  const answer = await app.inject({ method: 'PUT', url: '/api/v1/machines?x=1' })
  expect(answer.headers.allow).toBe('GET, HEAD, POST')
})

test('what does not fit is named, all of it', async () => {
  const { status, body } = await post('/machines', { id: 'm', typ: 'generic', contacts: [{ name: 'a'.repeat(201) }] })
  expect(status).toBe(400)
  expect(body.errors).toEqual(
    expect.arrayContaining([
      { pointer: '#/type', detail: expect.any(String) },
      { pointer: '#/contacts/0/name', detail: expect.any(String) },
      { pointer: '#', detail: 'Unrecognized key: "typ"' },
    ]),
  )
})

const cursor = (key: unknown) => Buffer.from(JSON.stringify(key)).toString('base64url')
for (const path of ['machines', 'alarms', 'jobs', 'tickets', 'inspections', 'quarantine', 'bindings', 'audit']) {
  for (const [name, given] of [
    ['is no base64', '%%%'],
    ['is of another list', cursor({ a: 1 })],
    ['has text that no key has', cursor('a\0b c')],
    ['has a number that no key has', cursor(1e300)],
    ['is a fraction', cursor(1.5)],
  ] as const) {
    test(`${path}: a cursor that ${name} is refused`, async () => {
      const { status, body } = await get(`/${path}?cursor=${encodeURIComponent(given)}`)
      expect([status, body.detail]).toEqual([400, `'${given}' is no cursor of this list`])
    })
  }
}

for (const { name, headers, status } of [
  { name: 'no token', headers: {}, status: 401 },
  { name: 'a wrong token', headers: { authorization: 'Bearer a-secre' }, status: 401 },
  { name: 'another scheme', headers: { authorization: 'Basic a-secret' }, status: 401 },
  { name: 'the token', headers: { authorization: 'Bearer a-secret' }, status: 200 },
  { name: 'the token, scheme in small letters', headers: { authorization: 'bearer a-secret' }, status: 200 },
]) {
  test(`the API behind a token, asked with ${name}`, async () => {
    const answer = await guarded.get('/machines', headers)
    expect(answer.status).toBe(status)
    if (status === 401) expect(answer.headers['www-authenticate']).toBe('Bearer')
  })
}

for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json', '/docs/']) {
  test(`${path} needs no token`, async () => expect((await guarded.app.inject(path)).statusCode).toBe(200))
}

test('no answer says what the token is', async () => {
  const answers = await Promise.all(
    ['/api/v1/machines', '/openapi.json', '/metrics', '/readyz'].map((url) => guarded.app.inject(url)),
  )
  for (const { body } of answers) expect(body).not.toContain('a-secret')
})

test('ready is 200, not ready is 503 and names the part', async () => {
  const [ready, full, dead] = await Promise.all([app, troubled.app, broken.app].map((one) => one.inject('/readyz')))
  expect([ready?.statusCode, ready?.json()]).toEqual([200, { ready: true, parts: [{ part: 'records', ready: true }] }])
  expect(full?.statusCode).toBe(503)
  expect(full?.json()).toMatchObject({ ready: false, parts: [{ part: 'broker' }, { part: 'store', ready: false }] })
  expect([dead?.statusCode, dead?.json().parts[0].note]).toEqual([503, 'Error: the thread has ended'])
})

test('what broke here is a 500 that keeps its reason to itself', async () => {
  const answer = await broken.app.inject('/metrics')
  expect([answer.statusCode, answer.headers['content-type']]).toEqual([500, 'application/problem+json; charset=utf-8'])
  expect(answer.json()).toEqual({
    type: 'about:blank',
    title: 'Internal Server Error',
    status: 500,
    instance: '/metrics',
  })
})

test('while the records cannot be reached, lists are a 503 and what is counted elsewhere is still told', async () => {
  const nobody = new pg.Pool({ host: '/nowhere/at-all' })
  const away = await runningApi({
    db: new Kysely({ dialect: new PostgresDialect({ pool: nobody }) }),
    queueCounts: () => nobody.query('select 1') as Promise<never>,
  })
  for (const path of ['/machines', '/alarms', '/tickets'])
    expect(await away.get(path)).toMatchObject({ status: 503, body: { title: 'Service Unavailable', status: 503 } })
  const metrics = await away.app.inject('/metrics')
  expect(metrics.statusCode).toBe(200)
  expect(metrics.body).toContain('outrigger_reading_sets_received_total 10\n')
  expect(metrics.body).not.toMatch(/^outrigger_(queue_jobs|outbox_waiting)\b/m)
})

test('metrics are counters and gauges as Prometheus reads them', async () => {
  const scrapes = await Promise.all(Array.from({ length: 4 }, () => app.inject('/metrics')))
  for (const { body, headers } of scrapes) {
    expect(headers['content-type']).toContain('text/plain')
    for (const line of [
      '# TYPE outrigger_reading_sets_received_total counter',
      '# TYPE outrigger_reading_sets_waiting gauge',
      `outrigger_reading_sets_received_total ${counts.received}`,
      'outrigger_reading_sets_total{outcome="stored"} 6',
      'outrigger_reading_sets_total{outcome="duplicate"} 2',
      'outrigger_reading_sets_total{outcome="quarantined"} 1',
      'outrigger_reading_sets_waiting 1',
      'outrigger_messages_total{kind="telemetry",qos="1"} 9',
      'outrigger_values_rejected_total{reason="implausible"} 3',
      'outrigger_thread_cpu_seconds_total{thread="receiving"} 1.5',
    ])
      expect(body.split('\n')).toContain(line)
    for (const [, name, kind] of body.matchAll(/^# TYPE (outrigger_\w+) (\w+)$/gm))
      expect([name, kind]).toEqual([name, name?.endsWith('_total') ? 'counter' : 'gauge'])
  }
})

test('a list goes on where the page before ended, to its end and with nothing twice', async () => {
  const ids = Array.from({ length: 7 }, (_, i) => `page-${i}`)
  for (const id of ids) await post('/machines', { id, type: 'generic', site: 'pages' })
  const seen: string[] = []
  let next: string | null = ''
  const sizes: number[] = []
  while (next !== null) {
    const page: { items: { id: string }[]; next: string | null } = (
      await get(`/machines?site=pages&limit=3${next && `&cursor=${next}`}`)
    ).body
    seen.push(...page.items.map(({ id }) => id))
    sizes.push(page.items.length)
    next = page.next
    expect(next ?? '').toMatch(/^[\w-]*$/)
  }
  expect([seen, sizes]).toEqual([ids, [3, 3, 1]])
})

test('what people changed is in the audit log, newest first', async () => {
  await post('/machines', { id: 'audited', type: 'generic', user: 'ana', reason: 'delivered' })
  await post('/machines/audited/park', { user: 'ben', reason: 'winter' })
  const { body } = await get('/audit?subject=audited')
  const at = new Date(now).toISOString()
  expect(body.items).toMatchObject([
    {
      at,
      user: 'ben',
      action: 'machine.change',
      reason: 'winter',
      before: { state: 'in_service' },
      after: { state: 'parked' },
    },
    { at, user: 'ana', action: 'machine.register', reason: 'delivered', before: null },
  ])
  expect((await get('/audit?user=ben&limit=1')).body).toMatchObject({ items: [{ user: 'ben' }], next: null })
})
