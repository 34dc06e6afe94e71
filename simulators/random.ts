/** A repeatable source of randomness. Streams with other names are independent of each other. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** Uniform in [low, high). */
  between(low: number, high: number): number
  /** Standard normal, cut at ±3 so that a healthy value never strays out of its band by luck alone. */
  normal(): number
  /** 1 on average, `spread` its standard deviation, cut at ±2: how one unit differs from its sisters. */
  factor(spread: number): number
  /** true with this probability. */
  chance(probability: number): boolean
  /** Another stream of the same seed: how often one is used moves nothing in the other. */
  stream(name: string): Random
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0
}

/**
 * @param seed the same seed gives the same numbers on every machine and version of Node
 * @see https://github.com/bryc/code/blob/master/jshash/PRNGs.md, splitmix32
 */
export function seededRandom(seed: number | string): Random {
  const name = String(seed)
  let state = hash(name)

  function next(): number {
    state = (state + 0x9e3779b9) | 0
    let t = state ^ (state >>> 16)
    t = Math.imul(t, 0x21f0aaad)
    t ^= t >>> 15
    t = Math.imul(t, 0x735a2d97)
    return ((t ^ (t >>> 15)) >>> 0) / 4_294_967_296
  }

  function normal(): number {
    const value = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
    return Math.max(-3, Math.min(3, value))
  }

  return {
    next,
    normal,
    between: (low, high) => low + (high - low) * next(),
    factor: (spread) => 1 + spread * Math.max(-2, Math.min(2, normal())),
    chance: (probability) => next() < probability,
    stream: (child) => seededRandom(`${name}/${child}`),
  }
}
