import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type ParsedNode, parseDocument } from 'yaml'

/** Where something stands: the file as shown to people, and its line from 1. */
export interface Place {
  readonly file: string
  readonly line: number
}

/** A value of a YAML file that still knows where it came from, so that an inherited fault is shown where it was made. */
export type YamlNode =
  | { readonly kind: 'map'; readonly place: Place; readonly entries: ReadonlyMap<string, YamlNode> }
  | { readonly kind: 'list'; readonly place: Place; readonly items: readonly YamlNode[] }
  | { readonly kind: 'scalar'; readonly place: Place; readonly value: unknown }

/** Something wrong in a file; `path` is empty for the file as a whole. */
export interface Fault {
  readonly place: Place
  readonly path: string
  readonly expected: string
  readonly got: string
}

/**
 * Reads one YAML document.
 *
 * @param file the name under which its places are shown
 * @returns its tree, or undefined where it is no YAML; `faults` then says why. Duplicate keys are faults.
 */
export function parseYaml(file: string, source: string, faults: Fault[]): YamlNode | undefined {
  const lines = new LineCounter()
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })
  for (const error of document.errors) {
    const duplicate = error.code === 'DUPLICATE_KEY'
    faults.push({
      place: { file, line: lines.linePos(error.pos[0]).line },
      path: '',
      expected: duplicate ? 'each key once' : 'YAML',
      got: duplicate ? 'a key that stands there already' : error.message,
    })
  }
  if (document.errors.length > 0 || document.contents === null) {
    if (document.errors.length === 0)
      faults.push({ place: { file, line: 1 }, path: '', expected: 'a map', got: 'nothing' })
    return undefined
  }
  return convert(document, document.contents, { file, line: 1 }, lines)
}

function convert(document: Document.Parsed, node: ParsedNode | null, at: Place, lines: LineCounter): YamlNode {
  if (isAlias(node)) return convert(document, (node.resolve(document) ?? null) as ParsedNode | null, at, lines)
  if (isMap(node)) {
    const entries = new Map<string, YamlNode>()
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : String(key)
      entries.set(name, convert(document, value, { file: at.file, line: lineOf(key, lines) ?? at.line }, lines))
    }
    return { kind: 'map', place: at, entries }
  }
  if (isSeq(node)) {
    const items = node.items.map((item) =>
      convert(document, item, { file: at.file, line: lineOf(item, lines) ?? at.line }, lines),
    )
    return { kind: 'list', place: at, items }
  }
  return { kind: 'scalar', place: at, value: isScalar(node) ? node.value : null }
}

function lineOf(node: ParsedNode | null, lines: LineCounter): number | undefined {
  return node?.range ? lines.linePos(node.range[0]).line : undefined
}

/** The entry of a map, undefined for everything else. */
export function entry(node: YamlNode | undefined, key: string): YamlNode | undefined {
  return node?.kind === 'map' ? node.entries.get(key) : undefined
}

/**
 * Lays a file over what it inherits: maps merge at every depth, `null` removes, everything else replaces. The list
 * under `faults` at the top goes before the inherited one instead.
 */
export function mergeYaml(
  base: YamlNode | undefined,
  over: YamlNode,
  faults: Fault[],
  path: readonly string[] = [],
): YamlNode {
  if (over.kind === 'list' && base?.kind === 'list' && path.length === 1 && path[0] === 'faults') {
    return { ...over, items: [...over.items, ...base.items] }
  }
  if (over.kind !== 'map') return over
  const inherited = base?.kind === 'map' ? base.entries : new Map<string, YamlNode>()
  const entries = new Map(inherited)
  for (const [key, value] of over.entries) {
    const here = [...path, key]
    if (value.kind !== 'scalar' || value.value !== null) {
      entries.set(key, mergeYaml(inherited.get(key), value, faults, here))
      continue
    }
    if (!entries.delete(key)) {
      faults.push({
        place: value.place,
        path: here.join('.'),
        expected: 'a value, or something inherited to remove',
        got: 'null',
      })
    }
  }
  return { kind: 'map', place: over.place, entries }
}

/** The tree as plain values. Objects have no prototype, so that no key means more than it says. */
export function plain(node: YamlNode): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(plain)
  const object: Record<string, unknown> = Object.create(null)
  for (const [key, value] of node.entries) object[key] = plain(value)
  return object
}

/** The place of what a path names, or of the nearest thing above it that exists. */
export function placeOf(node: YamlNode, path: readonly PropertyKey[]): Place {
  let current = node
  for (const key of path) {
    const next = current.kind === 'list' ? current.items[Number(key)] : entry(current, String(key))
    if (next === undefined) break
    current = next
  }
  return current.place
}
