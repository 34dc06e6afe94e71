import { isUtf8 } from 'node:buffer'
import { countKeys, type JsonElement, jsonElements, measureJson } from './json-scan.ts'
import { isZoneless, parseMeasuredAt } from './measured-at.ts'
import type { Codec, Decoded, FaultCode, RawSet, Refusal, UndecodedSet } from './message.ts'
import { isId, parseTopic } from './topics.ts'

type JsonObject = Record<string, unknown>

const MAX_DEPTH = 32 // an honest payload has 4: array, set, signals, summary
const MAX_SETS = 500_000 // 16 MiB of the shortest honest sets; beyond it, it is rubbish and stays one piece
const MAX_CODES = 500 // active on one machine; DM1 itself ends at about 430
const MAX_LAMP_LENGTH = 64

/** The native JSON of the contract with the machines, see `docs/contract.md`. */
export function jsonCodec({ prefix = '' }: { prefix?: string } = {}): Codec {
  return {
    name: 'json',
    decode(topic, payload) {
      const parsed = parseTopic(topic, prefix)
      if (!parsed || parsed.kind === 'advice') return undefined
      const document = parseDocument(payload)
      if ('reason' in document) return { kind: 'undecodable', ...document }

      if (parsed.kind === 'faults') return faults(parsed.device, document)
      if (parsed.kind === 'status') return status(parsed.device, document)
      return telemetry(parsed.kind === 'telemetry' ? parsed.device : undefined, document)
    },
  }
}

interface Document {
  readonly value: unknown
  readonly text: string
  /** Keys in the text; more than in the value when one occurs twice. */
  readonly keys: number
}

function parseDocument(payload: Buffer): Document | Refusal {
  if (payload.length === 0) return { reason: 'empty', detail: 'no bytes' }
  if (!isUtf8(payload)) return { reason: 'encoding', detail: 'not UTF-8' }
  const raw = payload.toString()
  const text = raw.charCodeAt(0) === 0xfeff ? raw.slice(1) : raw // some gateways put a byte order mark first
  const { depth, keys } = measureJson(text)
  if (depth > MAX_DEPTH) return { reason: 'encoding', detail: `nested deeper than ${MAX_DEPTH}` }
  try {
    return { value: parseJson(text), text, keys }
  } catch {
    if (text.trim() === '') return { reason: 'empty', detail: 'white space only' }
    return { reason: 'encoding', detail: 'not JSON' }
  }
}

const NUMBER_WORDS = /"[^"\\]*(?:\\[\s\S][^"\\]*)*"|-?\b(?:NaN|Infinity)\b/g

/**
 * JSON, or what Python and others write for it where a sensor is broken: bare `NaN` and `Infinity`. They become text,
 * which is judged as no value, so that the sound values beside them are not lost.
 */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (!text.includes('NaN') && !text.includes('Infinity')) throw error
    return JSON.parse(text.replace(NUMBER_WORDS, (token) => (token.startsWith('"') ? token : `"${token}"`)))
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @param device whose topic it is; undefined for a gateway, where each set names its machine */
function telemetry(device: string | undefined, document: Document): Decoded {
  const { value, text } = document
  const repeats = countKeys(value) !== document.keys
  if (!Array.isArray(value) && !repeats) {
    return { kind: 'telemetry', sets: [readSet(device, value, 0, () => Buffer.from(text))] }
  }
  const entries: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (entries.length === 0) return { kind: 'undecodable', reason: 'empty', detail: 'an array without sets' }
  if (entries.length > MAX_SETS) {
    return { kind: 'undecodable', reason: 'shape', detail: `more than ${MAX_SETS} sets in one message` }
  }

  let elements: JsonElement[] | undefined
  const locate = (index: number): JsonElement | undefined => {
    elements ??= jsonElements(text)
    return elements[index]
  }
  const sets = entries.map((entry, index): RawSet | UndecodedSet => {
    const bytes = () => {
      const element = locate(index)
      return Buffer.from(element ? text.slice(element.start, element.end) : text)
    }
    const element = repeats ? locate(index) : undefined
    if (element && element.repeatedOwn > 0) {
      return { reason: 'shape', detail: 'a key of the set occurs twice', bytes, ...(device && { device }) }
    }
    return readSet(device, entry, element?.repeatedInside ?? 0, bytes)
  })
  return { kind: 'telemetry', sets }
}

function readSet(
  topicDevice: string | undefined,
  entry: unknown,
  repeated: number,
  bytes: () => Buffer,
): RawSet | UndecodedSet {
  if (!isObject(entry)) return { reason: 'shape', detail: 'a reading set is an object', bytes }
  const device = topicDevice ?? entry.machine
  if (!isId(device)) return { reason: 'topic', detail: 'the set names no valid machine', bytes }

  const { signals } = entry
  const mode = readMode(entry.mode)
  if (signals === undefined ? mode === undefined : !isObject(signals)) {
    return { reason: 'shape', detail: 'signals must be an object', device, bytes }
  }

  return {
    device,
    measuredAt: parseMeasuredAt(entry.ts),
    zoneless: isZoneless(entry.ts),
    seq: Number.isSafeInteger(entry.seq) && (entry.seq as number) >= 0 ? (entry.seq as number) : undefined,
    mode,
    signals: signals === undefined ? {} : (signals as JsonObject),
    repeated,
    bytes,
  }
}

/** What is no text is no mode of any machine; it is judged like an unknown one. */
function readMode(mode: unknown): string | undefined {
  if (mode === undefined || mode === null) return undefined
  return typeof mode === 'string' ? mode : ''
}

/** Faults and status are one piece: what is wrong in them makes the whole of it undecodable. */
function single(document: Document, name: string): { readonly object: JsonObject } | Refusal {
  const { value } = document
  if (!isObject(value)) return { reason: 'shape', detail: `${name} must be an object` }
  if (countKeys(value) !== document.keys) return { reason: 'shape', detail: 'a key occurs twice' }
  return { object: value }
}

function faults(device: string, document: Document): Decoded {
  const piece = single(document, 'a fault list')
  if ('reason' in piece) return { kind: 'undecodable', ...piece }
  const value = piece.object
  if (!Array.isArray(value.codes)) return { kind: 'undecodable', reason: 'shape', detail: 'codes must be an array' }
  if (value.codes.length > MAX_CODES) {
    return { kind: 'undecodable', reason: 'shape', detail: `more than ${MAX_CODES} codes in one message` }
  }
  const codes: FaultCode[] = []
  for (const entry of value.codes as unknown[]) {
    const code = readCode(entry)
    if (!code) return { kind: 'undecodable', reason: 'shape', detail: 'a code needs spn 0–524287 and fmi 0–31' }
    if (code.spn !== 0 || code.fmi !== 0) codes.push(code) // SPN 0 with FMI 0 is DM1's way to say: none active
  }
  return { kind: 'faults', device, measuredAt: parseMeasuredAt(value.ts), zoneless: isZoneless(value.ts), codes }
}

function readCode(entry: unknown): FaultCode | undefined {
  if (!isObject(entry)) return undefined
  const { spn, fmi, oc, sa, lamp } = entry
  if (!isInteger(spn, 524_287) || !isInteger(fmi, 31)) return undefined
  if (oc !== undefined && !isInteger(oc, 127)) return undefined
  if (sa !== undefined && !isInteger(sa, 255)) return undefined
  if (lamp !== undefined && (typeof lamp !== 'string' || lamp.length > MAX_LAMP_LENGTH)) return undefined
  return { spn, fmi, oc, sa, lamp }
}

function isInteger(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
}

function status(device: string, document: Document): Decoded {
  const piece = single(document, 'a status')
  if ('reason' in piece) return { kind: 'undecodable', ...piece }
  const value = piece.object
  if (typeof value.online !== 'boolean') {
    return { kind: 'undecodable', reason: 'shape', detail: 'online must be true or false' }
  }
  // a will is written when the connection begins and cannot know when it will be sent
  if (value.ts === undefined && !value.online) return { kind: 'will', device }
  const { ts, online } = value
  return { kind: 'status', device, measuredAt: parseMeasuredAt(ts), zoneless: isZoneless(ts), online }
}
