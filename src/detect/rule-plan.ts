import type { NamedRule, Profile } from '../catalogue/catalogue.ts'
import { ruleSeverity } from '../catalogue/rules.ts'
import type { Measure, Severity, Signal } from '../catalogue/schema.ts'
import { type PreparedCondition, prepareCondition, type SignalTable, signalTable } from '../features/machine-picture.ts'
import type { WindowSpec } from '../features/operating-window.ts'

/** The rules of one machine, looked up and ordered once, so that judging a reading set looks nothing up by name. */
export interface MachinePlan {
  readonly table: SignalTable
  readonly rules: ReadonlyMap<string, RulePlan>
  /** By number of the signal that the rule is about. */
  readonly bySignal: readonly (readonly RulePlan[])[]
  readonly groups: ReadonlyMap<string, GroupPlan>
}

/** All rules of one signal in one direction: together they are one alarm. */
export interface GroupPlan {
  /** `<signal>.<high|low>` */
  readonly key: string
  readonly signal: string
  readonly component: string
  readonly levels: LevelPlan[]
}

export interface LevelPlan {
  /** `<rule>/<warn|critical>`, unique in the plan. */
  readonly id: string
  readonly rule: RulePlan
  /** Place in `rule.levels`. */
  readonly place: number
  readonly limit: number
  readonly onDelayMs: number
  readonly severity: Severity
}

export type Comparison =
  | { readonly kind: 'none' }
  | { readonly kind: 'start' }
  | { readonly kind: 'difference' | 'signalPercent' | 'gapPercent'; readonly other: number }
  | { readonly kind: 'rated'; readonly rating: number }
  | {
      readonly kind: 'baselinePercent' | 'baselineFactor' | 'baselineDifference'
      readonly like: readonly { readonly index: number; readonly band: number }[]
    }

export interface RulePlan {
  readonly id: string
  readonly group: GroupPlan
  readonly signalIndex: number
  readonly sent: Signal['sent']
  readonly high: boolean
  readonly inclusive: boolean
  /** warn before critical. */
  readonly levels: readonly LevelPlan[]
  /** Nothing at or inside of this limit concerns any level. */
  readonly mildest: number
  readonly deadband: number
  readonly offDelayMs: number
  readonly modes: ReadonlySet<string> | undefined
  /** Where the signal means something; an unknown mode counts as one of them. */
  readonly signalModes: ReadonlySet<string> | undefined
  readonly when: readonly PreparedCondition[]
  readonly window: WindowSpec | undefined
  /** The increase of a counter is looked at: where it falls, it was reset. */
  readonly counter: boolean
  /** A counter goes on while nobody looks: the window of its increase alone runs in event time and over gaps. */
  readonly counts: boolean
  /** The window is empty again whenever the rule was not meant in between. */
  readonly restarts: boolean
  /** The increase of this counter is the measure for the signal's own. */
  readonly per: number | undefined
  /** The signal of which the same window has to be kept: means are compared with means. */
  readonly beside: number | undefined
  readonly comparison: Comparison
  /** The value itself is compared, or a fraction of a rating, without anything to remember. */
  readonly plain: boolean
  readonly component: string
  readonly failureMode: string
  /** Unit of what is compared. */
  readonly unit: string
}

const plansOfProfiles = new WeakMap<Profile, MachinePlan>()

/** @param rules the machine's effective rules; one that names what the profile does not have is left out */
export function machinePlan(profile: Profile, rules: ReadonlyMap<string, NamedRule>): MachinePlan {
  if (!isUnchanged(profile, rules)) return compile(profile, rules)
  const known = plansOfProfiles.get(profile)
  if (known !== undefined) return known
  const plan = compile(profile, rules)
  plansOfProfiles.set(profile, plan)
  return plan
}

/** Most machines have no rule of their own: they share one plan. */
function isUnchanged(profile: Profile, rules: ReadonlyMap<string, NamedRule>): boolean {
  if (rules === profile.rules) return true
  if (rules.size !== profile.rules.size) return false
  for (const [id, rule] of rules) if (profile.rules.get(id) !== rule) return false
  return true
}

function compile(profile: Profile, rules: ReadonlyMap<string, NamedRule>): MachinePlan {
  const table = signalTable(profile)
  const bySignal: RulePlan[][] = table.signals.map(() => [])
  const groups = new Map<string, GroupPlan>()
  const plans = new Map<string, RulePlan>()
  for (const rule of rules.values()) {
    const signal = profile.signals.get(rule.signal)
    const signalIndex = table.indexOf.get(rule.signal)
    if (signal === undefined || signalIndex === undefined) continue
    const comparison = comparisonOf(profile, table, rule.measure)
    if (comparison === undefined) continue
    const key = `${rule.signal}.${rule.direction}`
    const group = groups.get(key) ?? { key, signal: rule.signal, component: signal.component, levels: [] }
    groups.set(key, group)
    const plan = rulePlan(profile, table, { rule, signal, signalIndex, comparison, group })
    group.levels.push(...plan.levels)
    bySignal[signalIndex]?.push(plan)
    plans.set(rule.id, plan)
  }
  return { table, rules: plans, bySignal, groups }
}

interface RuleParts {
  readonly rule: NamedRule
  readonly signal: Signal
  readonly signalIndex: number
  readonly comparison: Comparison
  readonly group: GroupPlan
}

function rulePlan(profile: Profile, table: SignalTable, parts: RuleParts): RulePlan {
  const { rule, signal, signalIndex, comparison, group } = parts
  const high = rule.direction === 'high'
  const measure = rule.measure ?? {}
  const window = windowOf(measure, high)
  const per = measure.per === undefined ? undefined : table.indexOf.get(measure.per)
  const levels: LevelPlan[] = []
  const plan: RulePlan = {
    id: rule.id,
    group,
    signalIndex,
    sent: signal.sent,
    high,
    inclusive: rule.inclusive,
    levels,
    mildest: mildestLimit(rule, high),
    deadband: rule.deadband,
    offDelayMs: rule.offDelaySeconds * 1_000,
    modes: rule.modes && new Set(rule.modes),
    signalModes: signal.modes && new Set(signal.modes),
    when: (rule.when ?? []).map((condition) => prepareCondition(table, condition)),
    window,
    counter: signal.counter && measure.stat === 'increase',
    counts: signal.counter && measure.stat === 'increase' && per === undefined,
    restarts: measure.restart === true,
    per,
    beside: per ?? (window !== undefined && 'other' in comparison ? comparison.other : undefined),
    comparison,
    plain: window === undefined && (comparison.kind === 'none' || comparison.kind === 'rated'),
    component: profile.failureModes.get(rule.failureMode ?? '')?.component ?? signal.component,
    failureMode: rule.failureMode ?? `limit.${rule.signal}.${rule.direction}`,
    unit: unitOf(measure, signal.unit, measure.per === undefined ? undefined : profile.signals.get(measure.per)?.unit),
  }
  for (const name of ['warn', 'critical'] as const) {
    const given = rule[name]
    if (given === undefined) continue
    levels.push({
      id: `${rule.id}/${name}`,
      rule: plan,
      place: levels.length,
      limit: given.limit,
      onDelayMs: given.onDelaySeconds * 1_000,
      severity: ruleSeverity(profile, rule, name),
    })
  }
  return plan
}

function mildestLimit({ warn, critical }: NamedRule, high: boolean): number {
  const limits = [warn, critical].flatMap((level) => (level === undefined ? [] : [level.limit]))
  return high ? Math.min(...limits) : Math.max(...limits)
}

/** undefined: what it compares with is not there, so that nothing can be said. */
function comparisonOf(profile: Profile, table: SignalTable, measure: Measure = {}): Comparison | undefined {
  const { difference, signalPercent, gapPercent, ratedFraction, per } = measure
  for (const name of [difference, signalPercent, gapPercent, per]) {
    if (name !== undefined && !table.indexOf.has(name)) return undefined
  }
  const other = (name: string) => table.indexOf.get(name) as number
  if (difference !== undefined) return { kind: 'difference', other: other(difference) }
  if (signalPercent !== undefined) return { kind: 'signalPercent', other: other(signalPercent) }
  if (gapPercent !== undefined) return { kind: 'gapPercent', other: other(gapPercent) }
  if (ratedFraction !== undefined) {
    const rating = profile.parameters.get(ratedFraction)
    return rating ? { kind: 'rated', rating } : undefined
  }
  const like = (measure.like ?? []).map(({ signal, band }) => ({ index: table.indexOf.get(signal) ?? -1, band }))
  if (measure.baselinePercent) return { kind: 'baselinePercent', like }
  if (measure.baselineFactor) return { kind: 'baselineFactor', like }
  if (measure.baselineDifference) return { kind: 'baselineDifference', like }
  if (measure.startPercent) return { kind: 'start' }
  return { kind: 'none' }
}

/**
 * How much of the window has to be filled: nothing where one reading is proof enough (a maximum over a high limit),
 * all of it where the absence of something is what counts (no peak within half an hour), otherwise half.
 */
function windowOf(measure: Measure, high: boolean): WindowSpec | undefined {
  const statistic = measure.stat ?? (measure.startPercent ? 'increase' : undefined)
  if (statistic === undefined || measure.windowSeconds === undefined) return undefined
  return {
    statistic,
    lengthMs: measure.windowSeconds * 1_000,
    level: measure.level ?? Number.POSITIVE_INFINITY,
    fill: fillOf(statistic, measure, high),
  }
}

function fillOf(statistic: WindowSpec['statistic'], measure: Measure, high: boolean): number {
  const compared = measure.baselinePercent || measure.baselineFactor || measure.baselineDifference
  const half = compared || measure.per !== undefined || measure.startPercent
  if (half || statistic === 'mean' || statistic === 'slope_per_h' || statistic === 'share_above') return 0.5
  const provenByOne = statistic === 'min' ? !high : high
  return provenByOne ? 0 : 1
}

function unitOf(measure: Measure, unit: string, perUnit: string | undefined): string {
  if (measure.gapPercent || measure.signalPercent || measure.baselinePercent || measure.startPercent) return '%'
  if (measure.baselineFactor || measure.ratedFraction) return '×'
  if (measure.stat === 'share_above') return '%'
  if (measure.stat === 'slope_per_h') return `${unit}/h`
  return perUnit === undefined ? unit : `${unit}/${perUnit}`
}
