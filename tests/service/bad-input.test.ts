import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { connectClient, dataFolder, publish, startService, until } from './running-service.ts'
import { settledCounts } from './set-counts.ts'

const now = Date.now()
const good = (at: number) => ({ ts: at, signals: { hyd_oil_temp_c: 60 } })
const telemetry = 'machines/bad-1/telemetry'

/** What ends in quarantine, sent once each. */
const refused: { name: string; topic?: string; payload: string | Buffer | object; reason: string }[] = [
  { name: 'no JSON', payload: 'temperature 63', reason: 'encoding' },
  { name: 'not UTF-8', payload: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), reason: 'encoding' },
  { name: 'nothing', payload: '', reason: 'empty' },
  { name: '1 MB of text', payload: 'x'.repeat(1 << 20), reason: 'encoding' },
  { name: 'deep nesting', payload: '['.repeat(50_000) + ']'.repeat(50_000), reason: 'encoding' },
  { name: 'an array without sets', payload: '[]', reason: 'empty' },
  { name: 'a number', payload: '42', reason: 'shape' },
  { name: 'signals of the wrong type', payload: { ts: now, signals: 'all good' }, reason: 'shape' },
  { name: 'values of the wrong type', payload: { ts: now, signals: { a: 'x', b: {}, c: [1] } }, reason: 'values' },
  { name: 'NaN and Infinity as text', payload: { ts: now, signals: { a: 'NaN', b: '-Infinity' } }, reason: 'values' },
  { name: 'a number beyond range', payload: `{"ts":${now},"signals":{"a":1e999}}`, reason: 'values' },
  { name: 'no time', payload: { signals: { a: 1 } }, reason: 'time' },
  { name: 'a time of long ago', payload: { ts: 12, signals: { a: 1 } }, reason: 'time' },
  { name: 'a time that is none', payload: { ts: 'yesterday', signals: { a: 1 } }, reason: 'time' },
  { name: 'a time without zone', payload: { ts: '2026-01-01T00:00:00', signals: { a: 1 } }, reason: 'time' },
  { name: 'an hour ahead', payload: { ts: now + 3_600_000, signals: { a: 1 } }, reason: 'clock' },
  { name: 'an unknown topic', topic: 'kitchen/toaster', payload: good(now), reason: 'topic' },
  {
    name: 'a machine id of 65 characters',
    topic: `machines/${'a'.repeat(65)}/telemetry`,
    payload: good(now),
    reason: 'topic',
  },
  { name: 'a machine id with a slash', topic: 'machines/a/b/telemetry', payload: good(now), reason: 'topic' },
  { name: 'a machine id that is not ASCII', topic: 'machines/泵车/telemetry', payload: good(now), reason: 'topic' },
  { name: 'a status without online', topic: 'machines/bad-1/status', payload: { ts: now }, reason: 'shape' },
  { name: 'faults without codes', topic: 'machines/bad-1/faults', payload: { ts: now, codes: 1 }, reason: 'shape' },
]

test('bad input is counted, kept with its reason, and harms nobody else', { timeout: 90_000 }, async () => {
  const service = await startService(await dataFolder())
  const [bad, other] = [await connectClient(service), await connectClient(service)]
  let goodSets = 0
  const others = async () => {
    await publish(other, 'machines/good-1/telemetry', good(now - 60_000 + goodSets))
    goodSets++
  }

  for (const { topic = telemetry, payload } of refused) {
    await publish(bad, topic, payload)
    await others()
  }
  const counts = await settledCounts(service)
  expect(counts).toMatchObject({ stored: goodSets, quarantined: refused.length, duplicate: 0 })
  const held = (await service.get('/quarantine?limit=1000')).items.reverse()
  expect(held.map(({ reason }: { reason: string }) => reason)).toEqual(refused.map(({ reason }) => reason))
  const text = await service.get(`/quarantine/${held[0].id}`)
  expect(Buffer.from(text.bytes, 'base64').toString()).toBe('temperature 63')
  expect(text).toMatchObject({ topic: telemetry })

  // names that would do harm in a careless program, a key twice, a retained message, a large array
  await publish(
    bad,
    telemetry,
    `{"ts":${now},"signals":{"__proto__":7,"constructor":8,"hyd_oil_temp_c":60,"hyd_oil_temp_c":61}}`,
  )
  await bad.publishAsync(telemetry, JSON.stringify({ ts: now - 1, signals: { hyd_oil_temp_c: 59 } }), {
    qos: 1,
    retain: true,
  })
  const many = Array.from({ length: 100_000 }, (_, i) => `{"ts":${now - 200_000 + i},"signals":{"x":${i}}}`)
  await publish(bad, 'machines/bad-2/telemetry', `[${many.join(',')}]`)
  await others()
  const after = await settledCounts(service)
  expect(after).toMatchObject({ stored: goodSets + 100_002, quarantined: refused.length })
  expect((await service.get('/machines/bad-1/latest')).signals).toMatchObject({
    constructor: { value: 8 },
    hyd_oil_temp_c: { value: 61 },
  })
  const proto = await service.get('/machines/bad-1/readings?signal=__proto__')
  expect(proto.points).toEqual([[now, 7]])
  expect(
    (await service.get('/machines/bad-2/readings?signal=x&every=1h&fn=count')).points.reduce(
      (n: number, [, c]: number[]) => n + (c ?? 0),
      0,
    ),
  ).toBe(100_000)

  // a client that vanishes in the middle of a packet, and one that never spoke MQTT
  for (const bytes of [Buffer.from([0x10, 0x20, 0x00, 0x04, 0x4d]), Buffer.from('GET / HTTP/1.1\r\n\r\n')]) {
    const socket = connect(Number(new URL(service.broker).port), '127.0.0.1')
    await once(socket, 'connect')
    socket.on('error', () => {})
    socket.write(bytes)
    socket.destroy()
  }
  await others()
  expect((await settledCounts(service)).stored).toBe(goodSets + 100_002)

  // replayed it is received again; discarded it is gone from the list
  await service.post(`/quarantine/${held[0].id}/replay`)
  const replayed = await until(async () => {
    const found = await settledCounts(service)
    return found.quarantined === refused.length + 1 ? found : undefined
  })
  expect(replayed.received).toBe(after.received + 2)
  await service.post(`/quarantine/${held[1].id}/discard`, { user: 'eve', reason: 'rubbish' })
  expect((await service.request('POST', `/api/v1/quarantine/${held[1].id}/discard`, {})).status).toBe(409)
  const ids = (await service.get('/quarantine?limit=1000')).items.map(({ id }: { id: number }) => id)
  expect(ids).not.toContain(held[0].id)
  expect(ids).not.toContain(held[1].id)
})
