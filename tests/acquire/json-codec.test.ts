import { expect, test } from 'vitest'
import { decode } from '../../src/acquire/decode.ts'
import { jsonCodec } from '../../src/acquire/json-codec.ts'
import type { Decoded, RawSet, UndecodedSet } from '../../src/acquire/message.ts'

const ts = Date.UTC(2026, 0, 1)
const codecs = [jsonCodec()]

function decodeText(text: string | Buffer, topic = 'machines/pump-1/telemetry'): Decoded {
  return decode(codecs, topic, Buffer.from(text))
}

function setsOf(text: string, topic?: string): readonly (RawSet | UndecodedSet)[] {
  const decoded = decodeText(text, topic)
  if (decoded.kind !== 'telemetry') throw new Error(JSON.stringify(decoded))
  return decoded.sets
}

function onlySet(text: string, topic?: string): RawSet {
  const [set] = setsOf(text, topic)
  if (!set || 'reason' in set) throw new Error(`${set?.reason}: ${set?.detail}`)
  return set
}

function reasonOf(decoded: Decoded): string {
  if (decoded.kind === 'undecodable') return decoded.reason
  if (decoded.kind !== 'telemetry') return decoded.kind
  return decoded.sets.map((set) => ('reason' in set ? set.reason : 'good')).join()
}

test('a reading set comes out as the contract says', () => {
  const set = onlySet(
    `{"ts":${ts},"seq":4711,"mode":"pumping","signals":{"hyd_oil_temp_c":63.5,"p":{"min":35,"mean":182.1,"max":212.4,"n":5},"on":true}}`,
  )
  expect(set).toMatchObject({ device: 'pump-1', measuredAt: ts, seq: 4711, mode: 'pumping', repeated: 0 })
  expect(Object.entries(set.signals)).toEqual([
    ['hyd_oil_temp_c', 63.5],
    ['p', { min: 35, mean: 182.1, max: 212.4, n: 5 }],
    ['on', true],
  ])
})

test('each set of an array stands for itself, with its own bytes as they came', () => {
  const good = `{ "ts": ${ts}, "signals": {"a": 1.50, "text": "},{[\\"" } }`
  const sets = setsOf(` [ ${good} , 7,{"ts":"yesterday","signals":{}} ] `)
  expect(sets.map((set) => ('reason' in set ? set.reason : 'good'))).toEqual(['good', 'shape', 'good'])
  expect(sets.map((set) => set.bytes().toString())).toEqual([good, '7', '{"ts":"yesterday","signals":{}}'])
})

test('a gateway names the machine of each set', () => {
  const sets = setsOf(
    JSON.stringify([
      { machine: 'crane-1', ts, signals: { a: 1 } },
      { machine: 'crane/2', ts, signals: { a: 1 } },
      { ts, signals: { a: 1 } },
    ]),
    'gateways/g-1/telemetry',
  )
  expect(sets.map((set) => ('reason' in set ? set.reason : set.device))).toEqual(['crane-1', 'topic', 'topic'])
})

test('a time is handed on as it is stated: who reads it knows the clock', () => {
  const stated = (ts: string) => onlySet(`{${ts}"signals":{"a":1}}`)
  expect(stated('"ts":"2026-01-01T08:00:00.250+08:00",')).toMatchObject({ measuredAt: ts + 250, zoneless: false })
  expect(stated('"ts":"2026-01-01T08:00:00",')).toMatchObject({ measuredAt: ts + 8 * 3_600_000, zoneless: true })
  expect(stated('"ts":NaN,')).toMatchObject({ measuredAt: Number.NaN })
  expect(stated('')).toMatchObject({ measuredAt: Number.NaN, zoneless: false })
})

const nested = (depth: number) => `{"ts":${ts},"signals":{"b":1,"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`
for (const { name, payload, topic, reason } of [
  { name: 'no bytes', payload: '', reason: 'empty' },
  { name: 'white space', payload: ' \n', reason: 'empty' },
  { name: 'an empty array', payload: '[]', reason: 'empty' },
  { name: 'not JSON', payload: '{"ts":', reason: 'encoding' },
  { name: 'not UTF-8', payload: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), reason: 'encoding' },
  { name: 'UTF-16', payload: Buffer.from('{"ts":1}', 'utf16le'), reason: 'encoding' },
  { name: '1 MB of text', payload: 'lorem ipsum '.repeat(90_000), reason: 'encoding' },
  { name: '1 MB of text as JSON', payload: JSON.stringify('lorem ipsum '.repeat(90_000)), reason: 'shape' },
  { name: 'a million brackets', payload: '['.repeat(1_000_000), reason: 'encoding' },
  { name: 'valid nesting without end', payload: '['.repeat(500_000) + ']'.repeat(500_000), reason: 'encoding' },
  { name: 'a value nested too deep', payload: nested(40), reason: 'encoding' },
  { name: 'a value nested deep', payload: nested(10), reason: 'good' },
  { name: 'a number', payload: '5', reason: 'shape' },
  { name: 'null', payload: 'null', reason: 'shape' },
  { name: 'an array of arrays', payload: '[[],[]]', reason: 'shape,shape' },
  { name: 'no signals', payload: `{"ts":${ts}}`, reason: 'shape' },
  { name: 'signals as an array', payload: `{"ts":${ts},"signals":[1]}`, reason: 'shape' },
  { name: 'signals as null', payload: `{"ts":${ts},"mode":"x","signals":null}`, reason: 'shape' },
  { name: 'a mode alone', payload: `{"ts":${ts},"mode":"pumping"}`, reason: 'good' },
  { name: 'a byte order mark', payload: `\ufeff{"ts":${ts},"signals":{"a":1}}`, reason: 'good' },
  { name: 'ts twice', payload: `{"ts":${ts},"ts":${ts - 1},"signals":{"a":1}}`, reason: 'shape' },
  { name: 'ts twice, once escaped', payload: `{"ts":${ts},"\\u0074s":${ts - 1},"signals":{"a":1}}`, reason: 'shape' },
  { name: 'nobody’s topic', payload: '{}', topic: 'machines/pump-1/telemetrie', reason: 'topic' },
  { name: 'a topic without id', payload: '{}', topic: 'machines//telemetry', reason: 'topic' },
  { name: 'an id of 65 characters', payload: '{}', topic: `machines/${'x'.repeat(65)}/telemetry`, reason: 'topic' },
  { name: 'an id with a slash', payload: '{}', topic: 'machines/a/b/telemetry', reason: 'topic' },
  { name: 'an id with NUL', payload: '{}', topic: 'machines/a\0b/telemetry', reason: 'topic' },
  { name: 'an id that is not ASCII', payload: '{}', topic: 'machines/泵车/telemetry', reason: 'topic' },
  { name: 'a gateway id with +', payload: '{}', topic: 'gateways/a+b/telemetry', reason: 'topic' },
  { name: 'what we send ourselves', payload: '{}', topic: 'machines/pump-1/advice', reason: 'topic' },
]) {
  test(`${name}: ${reason}`, () => expect(reasonOf(decodeText(payload, topic))).toBe(reason))
}

test('a signal that occurs twice keeps its last value and is counted, in its own set only', () => {
  const sets = setsOf(`[{"ts":${ts},"signals":{"a":1,"b":2,"a":3}},{"ts":${ts},"signals":{"a":1}}]`) as RawSet[]
  expect(sets.map(({ repeated }) => repeated)).toEqual([1, 0])
  expect(Object.entries(sets[0]?.signals ?? {})).toEqual([
    ['a', 3],
    ['b', 2],
  ])
})

test('text that looks like keys is no repeated key', () => {
  expect(onlySet(`{"ts":${ts},"note":"\\"ts\\":1,\\"ts\\":2","signals":{"a:\\"b":1,"a":2}}`).repeated).toBe(0)
})

test('names that JavaScript gives a meaning are names like any other', () => {
  const set = onlySet(`{"ts":${ts},"signals":{"__proto__":1,"constructor":2,"toString":3}}`)
  expect(Object.entries(set.signals)).toEqual([
    ['__proto__', 1],
    ['constructor', 2],
    ['toString', 3],
  ])
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  expect(reasonOf(decodeText('{"__proto__":{"ts":1,"signals":{}}}'))).toBe('shape')
})

test('bare NaN and Infinity, as Python writes them, take no other value with them', () => {
  const set = onlySet(`{"ts":${ts},"signals":{"a":NaN,"b":-Infinity,"c":1,"NaN":2,"d":{"min":NaN}}}`)
  expect(Object.entries(set.signals)).toEqual([
    ['a', 'NaN'],
    ['b', '-Infinity'],
    ['c', 1],
    ['NaN', 2],
    ['d', { min: 'NaN' }],
  ])
})

for (const { seq, expected } of [
  { seq: '0', expected: 0 },
  { seq: '-1', expected: undefined },
  { seq: '1.5', expected: undefined },
  { seq: '"7"', expected: undefined },
  { seq: '1e300', expected: undefined },
]) {
  test(`seq ${seq} is ${expected}`, () =>
    expect(onlySet(`{"ts":${ts},"seq":${seq},"signals":{"a":1}}`).seq).toBe(expected))
}

test('a mode that is no text is kept apart from a missing one', () => {
  expect(onlySet(`{"ts":${ts},"mode":{"toString":1},"signals":{"a":1}}`).mode).toBe('')
  expect(onlySet(`{"ts":${ts},"mode":null,"signals":{"a":1}}`).mode).toBeUndefined()
})

test('100,000 sets in one message', () => {
  const sets = setsOf(
    JSON.stringify(Array.from({ length: 100_000 }, (_, i) => ({ ts: ts - i * 1000, signals: { a: i } }))),
  )
  expect(sets).toHaveLength(100_000)
  expect(sets[99_999]?.bytes().toString()).toBe(`{"ts":${ts - 99_999_000},"signals":{"a":99999}}`)
})

test('more elements than sets fit into a packet are one piece of rubbish', () => {
  expect(reasonOf(decodeText(`[${'0,'.repeat(600_000)}0]`))).toBe('shape')
})

const faults = (text: string) => decodeText(text, 'machines/pump-1/faults')
test('fault codes', () => {
  expect(
    faults(`{"ts":${ts},"codes":[{"spn":100,"fmi":1,"oc":3,"sa":0,"lamp":"red_stop"},{"spn":0,"fmi":0}]}`),
  ).toEqual({
    kind: 'faults',
    device: 'pump-1',
    measuredAt: ts,
    zoneless: false,
    codes: [{ spn: 100, fmi: 1, oc: 3, sa: 0, lamp: 'red_stop' }],
  })
  expect(faults(`{"ts":${ts},"codes":[]}`)).toMatchObject({ kind: 'faults', codes: [] })
})

for (const { text, reason } of [
  { text: `{"ts":${ts}}`, reason: 'shape' },
  { text: `{"ts":${ts},"codes":[{"spn":100}]}`, reason: 'shape' },
  { text: `{"ts":${ts},"codes":[{"spn":524288,"fmi":1}]}`, reason: 'shape' },
  { text: `{"ts":${ts},"codes":[{"spn":100,"fmi":32}]}`, reason: 'shape' },
  { text: `{"ts":${ts},"codes":[{"spn":"100","fmi":1}]}`, reason: 'shape' },
  { text: `{"ts":${ts},"codes":[null]}`, reason: 'shape' },
  { text: `[{"ts":${ts},"codes":[]}]`, reason: 'shape' },
  { text: `{"ts":${ts},"ts":1,"codes":[]}`, reason: 'shape' },
  { text: '{"codes":[]}', reason: 'faults' }, // its time is judged behind the codec
  { text: `{"kind":"undecodable","reason":"none","detail":"","ts":${ts},"codes":[]}`, reason: 'faults' },
]) {
  test(`faults ${text}: ${reason}`, () => expect(reasonOf(faults(text))).toBe(reason))
}

test('faults: more codes than a machine can have are one piece of rubbish, not as many alarms', () => {
  const codes = Array.from({ length: 501 }, (_, spn) => ({ spn: spn + 1, fmi: 3 }))
  const message = (listed: unknown[]) => faults(JSON.stringify({ ts, codes: listed }))
  expect(message(codes.slice(0, 500)).kind).toBe('faults')
  expect(reasonOf(message(codes))).toBe('shape')
  expect(reasonOf(message([{ spn: 1, fmi: 3, lamp: 'x'.repeat(65) }]))).toBe('shape')
})

const status = (text: string) => decodeText(text, 'machines/pump-1/status')
test('status, and a will that cannot know its time', () => {
  const stated = { kind: 'status', device: 'pump-1', measuredAt: ts, zoneless: false }
  expect(status(`{"ts":${ts},"online":true}`)).toEqual({ ...stated, online: true })
  expect(status('{"online":false}')).toEqual({ kind: 'will', device: 'pump-1' })
  expect(status('{"online":true}')).toEqual({ ...stated, measuredAt: Number.NaN, online: true })
  expect(reasonOf(status(`{"ts":${ts},"online":"yes"}`))).toBe('shape')
  expect(reasonOf(status(''))).toBe('empty')
})

test('a prefix belongs to the topic', () => {
  const prefixed = [jsonCodec({ prefix: 'fleet/' })]
  const payload = Buffer.from(`{"ts":${ts},"signals":{"a":1}}`)
  expect(reasonOf(decode(prefixed, 'fleet/machines/m/telemetry', payload))).toBe('good')
  expect(reasonOf(decode(prefixed, 'machines/m/telemetry', payload))).toBe('topic')
})
