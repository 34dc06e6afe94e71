import { expect, test } from 'vitest'
import { z } from 'zod'
import { problemSchema } from '../../src/api/problem.ts'
import { runningApi } from './running-api.ts'
import { fillRecords } from './story.ts'

const REQUESTS_PER_OPERATION = 40

const api = await runningApi()
await fillRecords(api)
const document = (await api.app.inject('/openapi.json')).json()

/** mulberry32: the same requests in every run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const known = [
  'pump-1',
  'hyd_oil_temp_c',
  'hyd_oil_temp_c.high',
  'boom_pump',
  'A-000001',
  'J-000001',
  'T-000001',
  '1',
  '2',
]
// biome-ignore format: a list of words
const texts = [
  '', ' ', '0', '-1', 'a\0b', '__proto__', 'constructor', '../..', 'a/b', '%', '%00', "'; drop table machines; --",
  '\ud800', '😀', '中文', 'x'.repeat(99), 'x'.repeat(2_000), 'null', 'NaN', '1e400', 'true', '2026-07-01T00:00:00Z',
  '9999-12-31T23:59:59.999Z', '0001-01-01T00:00:00Z', '1767225600000', '1h', '3650d', '1s', 'Europe/Berlin', 'Bogus/Zone',
  'IiI', 'WzFd', 'MQ', 'LTE', '9007199254740991',
]
const numbers = [0, -0, 1, -1, 1.5, 90, 1e6, 1e15, 1e300, -1e300, 2 ** 53, 2 ** 31, Number.MIN_VALUE]

type Schema = {
  type?: string | string[]
  enum?: string[]
  anyOf?: Schema[]
  properties?: Record<string, Schema>
  items?: Schema
  required?: string[]
}

test('no request that can be built from the description is answered with a 500, and each answer is as described', {
  timeout: 120_000,
}, async () => {
  const random = seeded(42)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T

  function anything(): unknown {
    return pick([null, true, [], {}, [[]], pick(texts), pick(numbers), { a: { b: pick(texts) } }])
  }
  function value(schema: Schema): unknown {
    if (random() < 0.06) return anything()
    if (schema.anyOf) return value(pick(schema.anyOf))
    if (schema.enum) return pick(schema.enum)
    const type = Array.isArray(schema.type) ? pick(schema.type) : schema.type
    if (type === 'object') return object(schema)
    if (type === 'array') return Array.from({ length: Math.floor(random() * 3) }, () => value(schema.items ?? {}))
    if (type === 'number' || type === 'integer') return random() < 0.5 ? pick([1, 2, 10]) : pick(numbers)
    if (type === 'boolean') return random() < 0.5
    if (type === 'null') return null
    return random() < 0.75 ? pick(known) : pick(texts)
  }
  function object({ properties = {}, required = [] }: Schema): object {
    const entries = Object.entries(properties).filter(([name]) => random() < (required.includes(name) ? 0.95 : 0.3))
    return Object.fromEntries(entries.map(([name, schema]) => [name, value(schema)]))
  }

  const outcomes = new Map<string, number>()
  for (const [path, methods] of Object.entries<Record<string, any>>(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const body: Schema | undefined = operation.requestBody?.content['application/json'].schema
      for (let i = 0; i < REQUESTS_PER_OPERATION; i++) {
        let url = path
        const query = new URLSearchParams()
        for (const { in: place, name, schema, required } of operation.parameters ?? []) {
          const given = value(schema)
          const text = typeof given === 'object' ? JSON.stringify(given) : String(given)
          if (place === 'path') url = url.replace(`{${name}}`, encodeURIComponent(text.replace(/\p{Surrogate}/u, '')))
          else if (required || random() < 0.35) query.append(name, text)
        }
        const request = {
          method: method.toUpperCase() as 'GET',
          url: `${url}?${query}`,
          ...(body && { payload: value(body) as object }),
        }
        const answer = await api.app.inject({
          ...request,
          headers: body ? { 'content-type': 'application/json' } : {},
          payload: body && JSON.stringify(request.payload),
        })
        const what = `${JSON.stringify(request)} → ${answer.statusCode} ${answer.body.slice(0, 300)}`
        expect(answer.statusCode, what).toBeLessThan(500)
        outcomes.set(`${answer.statusCode}`, (outcomes.get(`${answer.statusCode}`) ?? 0) + 1)
        if (answer.statusCode >= 400) {
          expect(problemSchema.safeParse(answer.json()).error, what).toBeUndefined()
          continue
        }
        const described = operation.responses[answer.statusCode]
        expect(described, what).toBeDefined()
        const schema = described.content?.['application/json']?.schema
        if (schema) expect(z.fromJSONSchema(schema).safeParse(answer.json()).error, what).toBeUndefined()
      }
    }
  }
  // or it would prove nothing
  expect(outcomes.get('200')).toBeGreaterThan(100)
  expect(outcomes.get('201')).toBeGreaterThan(3)
  expect(outcomes.get('400')).toBeGreaterThan(100)
})
