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

/**
 * Payloads that a sound machine, a careless one and a broken one might send, valid sets among them.
 *
 * @param random numbers from 0 to 1: the same ones make the same payloads
 * @param at time of the sets whose time is right, epoch ms
 */
export function madeUpPayloads(random: () => number, at: number): () => Buffer {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const times = [
    String(at),
    '"2026-01-01T00:00:00Z"',
    '0',
    '1e300',
    'null',
    '"x"',
    '[]',
    String(at + 1e9),
    '"2026-01-01T00:00:00"',
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
    return `{"ts":${random() < 0.7 ? at : pick(times)},"mode":${pick(['"idle"', '"?"', '7', 'null'])},"signals":${random() < 0.8 ? object(NAMES, 1) : value(0)},"machine":${pick(['"m"', '"+"', '1'])}}`
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

  return payload
}
