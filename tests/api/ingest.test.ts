import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { now, runningApi } from './running-api.ts'

const MAX = 1 << 16
const TOKEN = 'a-secret-of-the-api'
let full = false
const taken: { topic: string; text: string }[] = []
const { app } = await runningApi({
  config: { OUTRIGGER_API_TOKEN: TOKEN, MQTT_MAX_PACKET_BYTES: MAX, MQTT_TOPIC_PREFIX: 'fleet/' },
  take: async (topic, bytes) => {
    if (full) throw new Error('the spool takes nothing')
    taken.push({ topic, text: Buffer.from(bytes).toString() })
  },
  admit: async ({ username, password }, machine) => {
    if (password !== 'right') return { refused: 'wrong_secret' }
    const isOwn = machine === undefined || machine === username
    return isOwn ? { topic: `fleet/machines/${username}/telemetry` } : { refused: 'not_authorized' }
  },
})

const set = JSON.stringify({ ts: now, signals: { hyd_oil_temp_c: 60 } })
const bearer = { authorization: `Bearer ${TOKEN}` }
const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })
const json = { 'content-type': 'application/json' }

async function send(path: string, payload: string | Buffer, headers: Record<string, string> = { ...bearer, ...json }) {
  const before = taken.length
  const answer = await app.inject({ method: 'POST', url: `/api/v1${path}`, payload, headers })
  return { status: answer.statusCode, body: answer.json(), headers: answer.headers, taken: taken.slice(before) }
}

for (const { name, path, payload, headers, topic, text = String(payload) } of [
  { name: 'of one machine', path: '/ingest/pump-1', payload: set, topic: 'machines/pump-1' },
  { name: 'of a machine in the query', path: '/ingest?machine=pump-1', payload: set, topic: 'machines/pump-1' },
  { name: 'that name their machines', path: '/ingest', payload: `[${set}]`, topic: 'gateways/http' },
  {
    name: 'compressed',
    path: '/ingest/p',
    payload: gzipSync(set),
    headers: { 'content-encoding': 'gzip' },
    topic: 'machines/p',
    text: set,
  },
  {
    name: 'with a charset',
    path: '/ingest/p',
    payload: set,
    headers: { 'content-type': 'application/json; charset=utf-8' },
    topic: 'machines/p',
  },
  { name: 'that are none', path: '/ingest/p', payload: '{"ts":', topic: 'machines/p' },
  { name: 'that are not UTF-8', path: '/ingest/p', payload: Buffer.from([0x7b, 0x7d]), topic: 'machines/p' },
  { name: 'without a byte', path: '/ingest/p', payload: '', topic: 'machines/p' },
  { name: 'of its own', path: '/ingest', payload: set, headers: basic('crane-2:right'), topic: 'machines/crane-2' },
  {
    name: 'of its own by name',
    path: '/ingest/crane-2',
    payload: set,
    headers: basic('crane-2:right'),
    topic: 'machines/crane-2',
  },
] as {
  name: string
  path: string
  payload: string | Buffer
  headers?: Record<string, string>
  topic: string
  text?: string
}[])
  test(`sets ${name} are taken as they come`, async () => {
    const answer = await send(path, payload, { ...bearer, ...json, ...headers })
    expect(answer).toMatchObject({
      status: 202,
      body: { receivedAt: new Date(now).toISOString(), bytes: text.length },
      taken: [{ topic: `fleet/${topic}/telemetry`, text }],
    })
  })

for (const { name, path = '/ingest/pump-1', payload = set, headers, status } of [
  { name: 'without token or credentials', headers: json, status: 401 },
  { name: 'with a wrong token', headers: { ...json, authorization: 'Bearer wrong' }, status: 401 },
  { name: 'with a wrong secret', headers: { ...json, ...basic('pump-1:wrong') }, status: 401 },
  { name: 'with credentials that are none', headers: { ...json, authorization: 'Basic ::' }, status: 401 },
  { name: 'of another machine', headers: { ...json, ...basic('crane-2:right') }, status: 403 },
  { name: 'of a machine that is no id', path: '/ingest/a%2Fb', status: 400 },
  { name: 'that are too large', payload: 'x'.repeat(MAX + 1), status: 413 },
  {
    name: 'that are too large decompressed',
    payload: gzipSync(Buffer.alloc(MAX + 1)),
    headers: { ...bearer, ...json, 'content-encoding': 'gzip' },
    status: 413,
  },
  { name: 'that are no gzip', headers: { ...bearer, ...json, 'content-encoding': 'gzip' }, status: 400 },
  { name: 'in an encoding that nobody knows', headers: { ...bearer, ...json, 'content-encoding': 'br' }, status: 415 },
  { name: 'as a form', headers: { ...bearer, 'content-type': 'application/x-www-form-urlencoded' }, status: 415 },
  { name: 'with a misspelt parameter', path: '/ingest?device=pump-1', status: 400 },
] as { name: string; path?: string; payload?: string | Buffer; headers?: Record<string, string>; status: number }[])
  test(`sets ${name} are refused with ${status}`, async () => {
    const answer = await send(path, payload, headers)
    expect(answer).toMatchObject({ status, taken: [], body: { status, detail: expect.any(String) } })
    if (status === 401) expect(answer.headers['www-authenticate']).toContain('Basic')
  })

test('what cannot be made durable is a 503 that says when to try again', async () => {
  full = true
  const answer = await send('/ingest/pump-1', set)
  full = false
  expect(answer).toMatchObject({
    status: 503,
    headers: { 'retry-after': '5' },
    body: { detail: expect.stringContaining('send it again') },
  })
})

test('other routes do not take credentials of machines', async () => {
  const answer = await app.inject({ method: 'GET', url: '/api/v1/machines', headers: basic('crane-2:right') })
  expect(answer.statusCode).toBe(401)
})
