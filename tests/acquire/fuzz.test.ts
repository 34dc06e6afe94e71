import { expect, test } from 'vitest'
import { clockMend } from '../../src/acquire/clock-policy.ts'
import { decode } from '../../src/acquire/decode.ts'
import { jsonCodec } from '../../src/acquire/json-codec.ts'
import { judge } from '../../src/acquire/judge.ts'
import { mendTime, refusalOf } from '../../src/acquire/judge-time.ts'
import { madeUpPayloads } from './made-up-payloads.ts'
import { modeCodes, modeNames, profile } from './profile-case.ts'
import { seeded } from './seeded.ts'

const receivedAt = Date.UTC(2026, 0, 1)
const random = seeded(20_260_101)
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T

const mends = [
  undefined,
  undefined,
  clockMend({ kind: 'offset', offsetMs: 3_600_000 }),
  clockMend({ kind: 'zone', zone: 'Europe/Berlin' }),
]

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
  const payload = madeUpPayloads(random, receivedAt)
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
