import type { Condition, MachineFile, Measure, Part, Rule, Signal, Task } from './schema.ts'
import { type Fault, placeOf, type YamlNode } from './yaml-node.ts'

/** A concrete type or model, inheritance resolved, with the tree that knows where each value came from. */
interface Resolved {
  readonly node: YamlNode
  readonly data: MachineFile
}

type Path = readonly PropertyKey[]
type Report = (path: Path, expected: string, got: string) => void

/** Names that would be mistaken for something else: `mode` is stored beside the signals. */
const RESERVED_SIGNALS = new Set(['mode'])

const COMPARISONS = [
  'difference',
  'signalPercent',
  'gapPercent',
  'baselinePercent',
  'baselineFactor',
  'baselineDifference',
  'ratedFraction',
  'startPercent',
] as const

/** Whatever a shape alone cannot say: that names exist, numbers fit together, and files agree with each other. */
export function crossCheck(resolved: readonly Resolved[]): Fault[] {
  const faults: Fault[] = []
  const modes = agreement('the code')
  const codes = agreement('the mode')
  const parts = agreement('the same part')
  for (const { node, data } of resolved) {
    const report: Report = (path, expected, got) => {
      faults.push({ place: placeOf(node, path), path: path.map(String).join('.'), expected, got })
    }
    checkSignals(data, report)
    checkModes(data, report)
    checkFailureModes(data, report)
    checkFaults(data, report)
    for (const [id, task] of Object.entries(data.tasks ?? {})) if (task) checkTask(task, ['tasks', id], data, report)
    for (const [mode, entry] of Object.entries(data.modes ?? {})) {
      if (!entry) continue
      modes(mode, entry.code, ['modes', mode, 'code'], report)
      codes(String(entry.code), mode, ['modes', mode, 'code'], report)
    }
    for (const { part, path } of allParts(data)) {
      const { quantity: _, ...same } = part
      parts(part.number, JSON.stringify(same), path, report)
    }
  }
  return faults
}

/** Says where a key is given a value that differs from the one it was given first. */
function agreement(what: string) {
  const seen = new Map<string, string | number>()
  return (key: string, value: string | number, path: Path, report: Report) => {
    const first = seen.get(key)
    if (first === undefined) seen.set(key, value)
    if (first !== undefined && first !== value)
      report(path, `${what} that '${key}' has elsewhere, ${first}`, `${value}`)
  }
}

/** Reports a name that the file and its bases do not have. */
function known(
  kind: keyof MachineFile & ('signals' | 'components' | 'modes' | 'parameters' | 'failureModes'),
  data: MachineFile,
  report: Report,
) {
  const names: Record<string, unknown> = data[kind] ?? {}
  return (name: string | undefined, path: Path) => {
    if (name !== undefined && (!Object.hasOwn(names, name) || names[name] === null))
      report(path, `one of ${kind}`, `'${name}'`)
  }
}

function checkSignals(data: MachineFile, report: Report) {
  const component = known('components', data, report)
  const mode = known('modes', data, report)
  const spns = new Map<number, string>()
  for (const [name, signal] of Object.entries(data.signals ?? {})) {
    if (!signal) continue
    const path = ['signals', name]
    if (RESERVED_SIGNALS.has(name)) report(path, 'another name', `'${name}', which has a meaning of its own`)
    component(signal.component, [...path, 'component'])
    for (const [index, id] of signal.modes?.entries() ?? []) mode(id, [...path, 'modes', index])
    if (signal.j1939) {
      const other = spns.get(signal.j1939.spn)
      if (other) report([...path, 'j1939', 'spn'], 'an SPN of its own', `${signal.j1939.spn}, which is ${other}`)
      spns.set(signal.j1939.spn, name)
    }
    for (const [key, rule] of Object.entries(signal.rules ?? {})) {
      if (rule) checkRule(rule, signal, [...path, 'rules', key], data, report)
    }
  }
}

function checkRule(rule: Rule, signal: Signal, path: Path, data: MachineFile, report: Report) {
  const { warn, critical, direction, measure } = rule
  for (const [index, id] of rule.modes?.entries() ?? []) known('modes', data, report)(id, [...path, 'modes', index])
  checkConditions(rule.when ?? [], [...path, 'when'], data, report)
  known('failureModes', data, report)(rule.failureMode, [...path, 'failureMode'])
  if (measure) checkMeasure(measure, [...path, 'measure'], data, report)
  if (warn && critical) {
    const inside = direction === 'high' ? warn.limit < critical.limit : warn.limit > critical.limit
    const side = direction === 'high' ? 'above' : 'below'
    if (!inside)
      report([...path, 'critical', 'limit'], `a limit ${side} that of warn, ${warn.limit}`, `${critical.limit}`)
  }
  if (measure) return
  const [low, high] = signal.plausible
  for (const [key, level] of Object.entries({ warn, critical })) {
    if (!level || (level.limit >= low && level.limit <= high)) continue
    report([...path, key, 'limit'], `a limit within the plausible range ${low} to ${high}`, `${level.limit}`)
  }
}

function checkMeasure(measure: Measure, path: Path, data: MachineFile, report: Report) {
  const signal = known('signals', data, report)
  for (const key of ['difference', 'signalPercent', 'gapPercent', 'per'] as const) signal(measure[key], [...path, key])
  for (const [index, like] of measure.like?.entries() ?? []) signal(like.signal, [...path, 'like', index, 'signal'])
  known('parameters', data, report)(measure.ratedFraction, [...path, 'ratedFraction'])
  const compared = COMPARISONS.filter((key) => measure[key] !== undefined)
  if (compared.length > 1) report(path, 'at most one comparison', compared.join(' and '))
  const needsWindow = measure.stat !== undefined || measure.startPercent
  if (needsWindow && measure.windowSeconds === undefined) report(path, 'windowSeconds', 'nothing')
  if (measure.windowSeconds !== undefined && !needsWindow)
    report(path, 'stat or startPercent with windowSeconds', 'neither')
  if (measure.restart && !needsWindow) report(path, 'a window with restart', 'none')
  if ((measure.stat === 'share_above') !== (measure.level !== undefined)) {
    report(path, 'level with share_above, and only there', measure.level === undefined ? 'nothing' : `${measure.level}`)
  }
  if (measure.per !== undefined && measure.stat !== 'increase')
    report(path, 'stat: increase with per', `${measure.stat}`)
  if (measure.like && !compared.some((key) => key.startsWith('baseline')))
    report(path, 'a baseline comparison with like', 'none')
}

function checkConditions(conditions: readonly Condition[], path: Path, data: MachineFile, report: Report) {
  conditions.forEach((condition, index) => {
    known('signals', data, report)(condition.signal, [...path, index, 'signal'])
    const { above, below } = condition
    if (above !== undefined && below !== undefined && above >= below) {
      report([...path, index], 'above less than below', `${above} and ${below}`)
    }
  })
}

function checkModes(data: MachineFile, report: Report) {
  data.modeFrom?.forEach(({ mode, when }, index) => {
    known('modes', data, report)(mode, ['modeFrom', index, 'mode'])
    checkConditions(when, ['modeFrom', index, 'when'], data, report)
  })
  const counter = data.serviceCounter
  if (!counter) return
  checkConditions(counter.running, ['serviceCounter', 'running'], data, report)
  for (const [index, name] of counter.signals.entries())
    checkCounter(name, ['serviceCounter', 'signals', index], data, report)
  if (counter.volume) checkCounter(counter.volume, ['serviceCounter', 'volume'], data, report)
}

function checkCounter(name: string, path: Path, data: MachineFile, report: Report) {
  if (!data.signals?.[name]?.counter) report(path, 'a signal with counter: true', `'${name}'`)
}

function checkFailureModes(data: MachineFile, report: Report) {
  for (const [code, mode] of Object.entries(data.failureModes ?? {})) {
    if (!mode) continue
    const path = ['failureModes', code]
    known('components', data, report)(mode.component, [...path, 'component'])
    mode.effects.forEach((effect, index) => {
      known('signals', data, report)(effect.signal, [...path, 'effects', index, 'signal'])
      if (effect.factor === undefined && effect.add === undefined)
        report([...path, 'effects', index], 'factor or add', 'neither')
    })
    if (mode.severity.warn > mode.severity.critical) {
      report(
        [...path, 'severity'],
        'warn not graver than critical',
        `${mode.severity.warn} and ${mode.severity.critical}`,
      )
    }
  }
}

function checkFaults(data: MachineFile, report: Report) {
  data.faults?.forEach((fault, index) => {
    known('components', data, report)(fault.component, ['faults', index, 'component'])
    known('failureModes', data, report)(fault.failureMode, ['faults', index, 'failureMode'])
  })
}

function checkTask(task: Task, path: Path, data: MachineFile, report: Report) {
  const { points, every, calendar, window } = task
  if (points.length === 0 && !every && !calendar) report(path, 'points, every or calendar', 'none')
  if (every && every.hours === undefined && every.m3 === undefined)
    report([...path, 'every'], 'hours or m3', JSON.stringify(every))
  if (calendar && (calendar.hours !== undefined || calendar.m3 !== undefined)) {
    report([...path, 'calendar'], 'days, weeks, months or years', JSON.stringify(calendar))
  }
  const texts = points.map((point) => JSON.stringify(point))
  if (new Set(texts).size < texts.length) report([...path, 'points'], 'each point once', 'one of them twice')
  if (window && points.length > 0 && window.length !== points.length) {
    report([...path, 'window'], `a window for each of the ${points.length} points`, `${window.length}`)
  }
  const volume = every?.m3 !== undefined || points.some((point) => point.m3 !== undefined)
  if (volume && data.serviceCounter?.volume === undefined) report(path, 'a type with a volume counter', 'm3')
}

function* allParts(data: MachineFile): Generator<{ part: Part; path: Path }> {
  for (const kind of ['failureModes', 'tasks'] as const) {
    for (const [id, holder] of Object.entries(data[kind] ?? {})) {
      for (const [index, part] of holder?.parts.entries() ?? []) yield { part, path: [kind, id, 'parts', index] }
    }
  }
}
