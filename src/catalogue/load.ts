import { readdirSync, readFileSync } from 'node:fs'
import { basename, extname, join, resolve } from 'node:path'
import type { z } from 'zod'
import type { Catalogue, NamedRule, Profile } from './catalogue.ts'
import { GENERIC_TYPE } from './catalogue.ts'
import { crossCheck } from './cross-check.ts'
import { catalogueFileSchema, type MachineFile, type Signal } from './schema.ts'
import { entry, type Fault, mergeYaml, type Place, parseYaml, placeOf, plain, type YamlNode } from './yaml-node.ts'

/** The catalogue cannot be used: each line of the message is one fault, `file:line path: expected …, got …`. */
export class CatalogueInvalid extends Error {
  override readonly name = 'CatalogueInvalid'
  readonly faults: readonly string[]
  constructor(faults: readonly string[]) {
    super(faults.join('\n'))
    this.faults = faults
  }
}

/** A file as it was read, before inheritance. */
interface Source {
  readonly id: string
  readonly kind: 'type' | 'model'
  readonly abstract: boolean
  readonly bases: readonly string[]
  readonly root: YamlNode
}

/** What belongs to the file itself and is never inherited. */
const OWN_KEYS = new Set(['type', 'model', 'extends', 'abstract', 'name'])

/**
 * Reads every `*.yaml` of a folder, resolves inheritance and checks the whole.
 *
 * @param folder the catalogue's folder; its last name stands before each file in fault messages
 * @throws {CatalogueInvalid} naming every fault of every file at once
 */
export function loadCatalogue(folder: string): Catalogue {
  const faults: Fault[] = []
  const sources = readSources(folder, faults)
  const types = new Map<string, Profile>()
  const models = new Map<string, Profile>()
  const resolved: { readonly source: Source; readonly node: YamlNode; readonly data: MachineFile }[] = []

  for (const source of sources.values()) {
    const chain = inheritance(source, sources, faults)
    if (!chain) continue
    const node = chain.reduce<YamlNode | undefined>(
      (base, part) => mergeYaml(base, inheritable(part, source), faults),
      undefined,
    )
    if (!node) continue
    const parsed = catalogueFileSchema.safeParse(plain(node))
    if (!parsed.success) {
      for (const issue of parsed.error.issues) faults.push(...fromIssue(issue, node))
      continue
    }
    if (source.abstract) continue
    if (!complete(source, node, parsed.data, faults)) continue
    resolved.push({ source, node, data: parsed.data })
    const profile = toProfile(source, parsed.data)
    if (source.kind === 'type') types.set(source.id, profile)
    if (source.kind === 'model') models.set(source.id, profile)
  }
  faults.push(...crossCheck(resolved))
  const generic = types.get(GENERIC_TYPE)
  if (!generic && faults.length === 0) {
    const place = { file: basename(resolve(folder)), line: 1 }
    faults.push({ place, path: '', expected: `a file with the type ${GENERIC_TYPE}`, got: 'none' })
  }
  if (faults.length > 0 || !generic) throw new CatalogueInvalid(inOrder(faults))

  const modeCodes = new Map<string, number>()
  for (const profile of types.values()) for (const [mode, { code }] of profile.modes) modeCodes.set(mode, code)
  return {
    types,
    models,
    modeCodes,
    modeNames: new Map([...modeCodes].map(([mode, code]) => [code, mode])),
    profile(type, model) {
      const ofModel = model ? models.get(model) : undefined
      return ofModel?.type === type ? ofModel : (types.get(type) ?? generic)
    },
  }
}

function readSources(folder: string, faults: Fault[]): Map<string, Source> {
  const sources = new Map<string, Source>()
  for (const name of readdirSync(folder).sort()) {
    const file = `${basename(resolve(folder))}/${name}`
    if (extname(name) === '.yml') {
      faults.push({ place: { file, line: 1 }, path: '', expected: 'a name that ends in .yaml', got: name })
    }
    if (extname(name) !== '.yaml') continue
    const root = parseYaml(file, readFileSync(join(folder, name), 'utf8'), faults)
    const source = root && toSource(root, faults)
    if (!source) continue
    const before = sources.get(source.id)
    if (before) {
      const first = `${before.root.place.file}`
      faults.push({
        place: placeOf(source.root, [source.kind]),
        path: source.kind,
        expected: 'an id of its own',
        got: `'${source.id}', which is in ${first}`,
      })
      continue
    }
    sources.set(source.id, source)
  }
  return sources
}

function toSource(root: YamlNode, faults: Fault[]): Source | undefined {
  if (root.kind !== 'map') {
    faults.push({ place: root.place, path: '', expected: 'a map', got: describe(plain(root)) })
    return undefined
  }
  const type = plainEntry(root, 'type')
  const model = plainEntry(root, 'model')
  if ((type === undefined) === (model === undefined)) {
    const got = type === undefined ? 'neither' : 'both'
    faults.push({ place: placeOf(root, ['model']), path: '', expected: 'exactly one of type and model', got })
    return undefined
  }
  const kind = type === undefined ? 'model' : 'type'
  const id = type ?? model
  if (typeof id !== 'string') {
    faults.push({ place: placeOf(root, [kind]), path: kind, expected: 'a text', got: describe(id) })
    return undefined
  }
  const bases = [plainEntry(root, 'extends') ?? []].flat()
  const texts = bases.filter((base) => typeof base === 'string')
  if (texts.length < bases.length) {
    faults.push({
      place: placeOf(root, ['extends']),
      path: 'extends',
      expected: 'the id of a type',
      got: describe(bases),
    })
    return undefined
  }
  return { id, kind, abstract: plainEntry(root, 'abstract') === true, bases: texts, root }
}

function plainEntry(root: YamlNode, key: string): unknown {
  const node = entry(root, key)
  return node && plain(node)
}

/** The file and everything it builds on, what is inherited first, each once; undefined where that cannot be found out. */
function inheritance(source: Source, sources: ReadonlyMap<string, Source>, faults: Fault[]): Source[] | undefined {
  const place = placeOf(source.root, ['extends'])
  const wrong = (expected: string, got: string): undefined => {
    faults.push({ place, path: 'extends', expected, got })
  }
  const first = sources.get(source.bases[0] ?? '')
  if (source.kind === 'model' && (source.bases.length !== 1 || first?.abstract || first?.kind === 'model')) {
    return wrong('the type of this model, one that is not abstract', source.bases.join(', ') || 'nothing')
  }
  const chain: Source[] = []
  const under: Source[] = []
  const visit = (part: Source): boolean => {
    if (chain.includes(part)) return true
    if (under.includes(part)) {
      wrong('no circle', [...under, part].map(({ id }) => id).join(' → '))
      return false
    }
    under.push(part)
    for (const id of part.bases) {
      const base = sources.get(id)
      if (base?.kind !== 'type') {
        // said once, in the file that names it
        if (part === source) wrong('the id of a type', base ? `the model '${id}'` : `'${id}', which is no type here`)
        return false
      }
      if (!visit(base)) return false
    }
    under.pop()
    chain.push(part)
    return true
  }
  return visit(source) ? chain : undefined
}

function inheritable(part: Source, heir: Source): YamlNode {
  if (part === heir || part.root.kind !== 'map') return part.root
  return { ...part.root, entries: new Map([...part.root.entries].filter(([key]) => !OWN_KEYS.has(key))) }
}

function complete(source: Source, node: YamlNode, data: MachineFile, faults: Fault[]): boolean {
  const missing = (['components', 'modes', 'serviceCounter', 'signals'] as const).filter(
    (key) => data[key] === undefined,
  )
  for (const key of missing) {
    faults.push({
      place: placeOf(node, [source.kind]),
      path: key,
      expected: `${key}, here or inherited`,
      got: 'nothing',
    })
  }
  return missing.length === 0
}

function toProfile(source: Source, data: MachineFile): Profile {
  const signals = present(data.signals)
  return {
    type: source.kind === 'type' ? source.id : (source.bases[0] ?? GENERIC_TYPE),
    model: source.kind === 'model' ? source.id : undefined,
    name: data.name,
    components: present(data.components),
    modes: present(data.modes),
    modeFrom: data.modeFrom ?? [],
    serviceCounter: data.serviceCounter ?? { signals: [], running: [] },
    parameters: new Map(Object.entries(data.parameters ?? {})),
    signals,
    rules: new Map([...signals].flatMap(([name, signal]) => namedRules(name, signal)).map((rule) => [rule.id, rule])),
    failureModes: present(data.failureModes),
    faults: data.faults ?? [],
    tasks: present(data.tasks),
  }
}

function namedRules(name: string, signal: Signal): NamedRule[] {
  return [...present(signal.rules)].map(([key, rule]) => ({ ...rule, id: `${name}.${key}`, signal: name }))
}

function present<T>(record: Record<string, T | null> | undefined): Map<string, T> {
  const map = new Map<string, T>()
  for (const [key, value] of Object.entries(record ?? {})) if (value !== null) map.set(key, value)
  return map
}

function fromIssue(issue: z.core.$ZodIssue, node: YamlNode): Fault[] {
  const fault = (path: readonly PropertyKey[], expected: string, got: string): Fault => ({
    place: placeOf(node, path),
    path: path.map(String).join('.'),
    expected,
    got,
  })
  const got = describe(valueAt(node, issue.path))
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => fault([...issue.path, key], 'a key of the catalogue', `'${key}'`))
    case 'invalid_type':
      return [fault(issue.path, `${issue.expected}`, got)]
    case 'invalid_value':
      return [fault(issue.path, issue.values.map(String).join(' or '), got)]
    case 'invalid_key':
      return [
        fault(issue.path, issue.issues.map(({ message }) => message).join('; '), `'${String(issue.path.at(-1))}'`),
      ]
    case 'too_small':
      return [fault(issue.path, `${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}`, got)]
    case 'too_big':
      return [fault(issue.path, `${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}`, got)]
    default:
      return [fault(issue.path, issue.message.replace(/^needs /, ''), got)]
  }
}

function valueAt(node: YamlNode, path: readonly PropertyKey[]): unknown {
  let value = plain(node)
  for (const key of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[key]
  return value
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  const json = JSON.stringify(value)
  return json.length > 80 ? `${json.slice(0, 79)}…` : json
}

/** Each fault once (an inherited one shows in every heir), by file and line. */
function inOrder(faults: readonly Fault[]): string[] {
  const byPlace = (a: Place, b: Place) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1)
  const lines = [...faults]
    .sort((a, b) => byPlace(a.place, b.place))
    .map(
      ({ place, path, expected, got }) =>
        `${place.file}:${place.line}${path && ` ${path}`}: expected ${expected}, got ${got}`,
    )
  return [...new Set(lines)]
}
