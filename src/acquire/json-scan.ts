/**
 * A look at JSON text beside `JSON.parse`: how deep it nests, before a parser is let near it, and which keys occur
 * twice, which the parser hides by keeping the last.
 */

const QUOTE = 34
const BACKSLASH = 92
const COLON = 58

/** Nesting and number of keys of a text that may or may not be JSON. */
export function measureJson(text: string): { depth: number; keys: number } {
  let depth = 0
  let deepest = 0
  let keys = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) i = endOfString(text, i)
    else if (code === COLON) keys++
    else if (code === 123 || code === 91) {
      depth++
      if (depth > deepest) deepest = depth
    } else if (code === 125 || code === 93) depth--
  }
  return { depth: deepest, keys }
}

/** Number of keys in a parsed value; equal to those in its text unless a key occurs twice. */
export function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let keys = 0
  if (Array.isArray(value)) {
    for (const item of value) keys += countKeys(item)
    return keys
  }
  for (const key in value) keys += 1 + countKeys((value as Record<string, unknown>)[key])
  return keys
}

/** One element of a top-level array, or the whole of a text that is none. */
export interface JsonElement {
  readonly start: number
  readonly end: number
  /** Keys of the element itself that occur twice. */
  readonly repeatedOwn: number
  /** Keys further inside that occur twice. */
  readonly repeatedInside: number
}

/**
 * Where the elements stand in the text, and their repeated keys.
 * @param text valid JSON
 */
export function jsonElements(text: string): JsonElement[] {
  const elements: JsonElement[] = []
  const isArray = firstOf(text, 0) === 91
  const top = isArray ? 1 : 0
  const open: (Set<string> | undefined)[] = [] // the keys seen so far of each object that is open; none for an array
  let start = -1
  let end = 0
  let repeatedOwn = 0
  let repeatedInside = 0

  const finish = () => {
    if (start >= 0) elements.push({ start, end, repeatedOwn, repeatedInside })
    start = -1
    repeatedOwn = 0
    repeatedInside = 0
  }

  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code <= 32) continue
    if (isArray && open.length === 1 && code === 44) {
      finish()
      continue
    }
    const closesTop = isArray && open.length === 1 && code === 93
    const opensTop = isArray && open.length === 0
    if (start < 0 && !closesTop && !opensTop) start = i
    if (code === QUOTE) {
      const close = endOfString(text, i)
      const keys = open.at(-1)
      if (keys && firstOf(text, close + 1) === COLON) {
        const quoted = text.slice(i, close + 1)
        const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1)
        if (keys.has(key)) {
          if (open.length === top + 1) repeatedOwn++
          else repeatedInside++
        }
        keys.add(key)
      }
      i = close
    } else if (code === 123) open.push(new Set())
    else if (code === 91) open.push(undefined)
    else if (code === 125 || code === 93) open.pop()
    if (!closesTop && !opensTop) end = i + 1
  }
  finish()
  return elements
}

/** @returns index of the closing quote, or of the last character where there is none */
function endOfString(text: string, open: number): number {
  let i = open + 1
  for (; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === BACKSLASH) i++
    else if (code === QUOTE) return i
  }
  return text.length - 1
}

function firstOf(text: string, from: number): number {
  let i = from
  while (text.charCodeAt(i) <= 32) i++
  return text.charCodeAt(i)
}
