import { expect, test } from 'vitest'
import { clockMend } from '../../src/acquire/clock-policy.ts'
import { decode } from '../../src/acquire/decode.ts'
import { jsonCodec } from '../../src/acquire/json-codec.ts'
import { judge } from '../../src/acquire/judge.ts'
import { mendTime, refusalOf } from '../../src/acquire/judge-time.ts'
import { modeCodes, modeNames, profile } from './profile-case.ts'
import { seeded } from './seeded.ts'

const receivedAt = Date.UTC(2026, 0, 1)
const random = seeded(20_260_101)
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T

const SCALARS = ['1', '-0', '1e400', 'null', 'true', '"NaN"', '""', '"\\ud800"', '215', '4294967295', 'NaN', '1e-320']
const NAMES = [
  'coolant_temp_c',
  'engine_hours_h',
  'a',
  '__proto__',
  'constructor',
  'mode',
  'ts',
  '',
  '\\u0000',
  'signals',
]
const TIMES = [
  String(receivedAt),
  '"2026-01-01T00:00:00Z"',
  '0',
  '1e300',
  'null',
  '"x"',
  '[]',
  String(receivedAt + 1e9),
  '"2026-01-01T00:00:00"',
]
const mends = [
  undefined,
  undefined,
  clockMend({ kind: 'offset', offsetMs: 3_600_000 }),
  clockMend({ kind: 'zone', zone: 'Europe/Berlin' }),
]

function value(depth: number): string {
  const kind = random()
  if (depth > 4 || kind < 0.6) return pick(SCALARS)
  if (kind < 0.75) return `[${Array.from({ length: Math.floor(random() * 4) }, () => value(depth + 1)).join()}]`
  return object(NAMES, depth + 1)
}

function object(names: readonly string[], depth: number): string {
  const entries = Array.from({ length: Math.floor(random() * 5) }, () => `"${pick(names)}":${value(depth)}`)
  return `{${entries.join()}}`
}

function set(): string {
  return `{"ts":${random() < 0.7 ? receivedAt : pick(TIMES)},"mode":${pick(['"idle"', '"?"', '7', 'null'])},"signals":${random() < 0.8 ? object(NAMES, 1) : value(0)},"machine":${pick(['"m"', '"+"', '1'])}}`
}

function payload(): Buffer {
  const kind = random()
  const text = kind < 0.5 ? set() : kind < 0.7 ? `[${set()},${value(0)},${set()}]` : value(0)
  const bytes = Buffer.from(text)
  for (let flips = random() < 0.4 ? 1 + Math.floor(random() * 4) : 0; flips > 0 && bytes.length > 0; flips--) {
    bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
  }
  return random() < 0.1 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes
}

test('20,000 payloads: nothing throws, every set comes out once, usable or with a reason', () => {
  const codecs = [jsonCodec()]
  const topics = [
    'machines/m/telemetry',
    'machines/n/telemetry',
    'machines/m/faults',
    'machines/m/status',
    'gateways/g/telemetry',
    'x/y',
  ]
  const seen = new Map<string, number>()
  const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)
  let usable = 0

  for (let i = 0; i < 20_000; i++) {
    const decoded = decode(codecs, pick(topics), payload())
    count(decoded.kind === 'undecodable' ? decoded.reason : decoded.kind)
    if (decoded.kind !== 'telemetry') continue
    expect(decoded.sets.length).toBeGreaterThan(0)
    for (const raw of decoded.sets) {
      if ('reason' in raw) {
        expect(raw.detail).not.toBe('')
        expect(raw.bytes()).toBeInstanceOf(Buffer)
        continue
      }
      const mend = pick(mends)
      const measuredAt = mendTime(raw, mend, receivedAt)
      const refusal = refusalOf(measuredAt, raw, mend !== undefined, receivedAt)
      if (refusal) {
        count(refusal.reason)
        continue
      }
      expect(measuredAt).toBeLessThanOrEqual(receivedAt + 300_000)
      const judged = judge(raw, {
        machine: 'm',
        profile,
        modeCodes,
        modeNames,
        measuredAt,
        isArrival: false,
        receivedAt,
      })
      for (const found of judged.set?.values.values() ?? []) {
        const numbers = typeof found === 'number' ? [found] : [found.min, found.mean, found.max, found.n]
        if (!numbers.every(Number.isFinite)) throw new Error('a value that is not finite came through')
      }
      if (judged.set) usable++
    }
  }
  expect(usable).toBeGreaterThan(1_000)
  for (const kind of ['telemetry', 'topic', 'encoding', 'empty', 'shape', 'time', 'clock'])
    expect(seen.get(kind)).toBeGreaterThan(20)
})
