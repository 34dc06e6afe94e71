import { type Baseline, emptyBaseline } from '../features/baseline.ts'
import { emptyWindow, type OperatingWindow } from '../features/operating-window.ts'
import type { LevelPlan, RulePlan } from './rule-plan.ts'

/** What one machine's rule remembers. */
export interface RuleRun {
  readonly plan: RulePlan
  /** What was compared last, in the rule's unit. */
  value: number | null
  /** Whether the rule was meant at the signal's reading before. */
  flowing: boolean
  /** The rule is known not to be meant; null while it is or nobody knows. */
  resting: Rest | null
  readonly levels: LevelRun[]
  readonly window: OperatingWindow | undefined
  readonly besideWindow: OperatingWindow | undefined
  readonly baseline: Baseline | undefined
}

export interface Rest {
  /** Epoch ms. */
  readonly since: number
  /** How long such a rest may be before it ends alarms. */
  readonly longestMs: number
}

/** One limit: quiet, waiting for its on-delay (`since`), active, or active and waiting for its off-delay (`clearing`). */
export interface LevelRun {
  /** Epoch ms when the condition began to hold, null while it does not. */
  since: number | null
  active: boolean
  /** Epoch ms since which an active level is back inside its clear level. */
  clearing: number | null
}

/** JSON of a run. */
export interface RuleRunState {
  readonly value: number | null
  readonly flowing: boolean
  readonly resting: Rest | null
  /** By `<rule>/<warn|critical>`; quiet levels are left out. */
  readonly levels: Record<string, LevelRun>
  readonly window?: OperatingWindow | undefined
  readonly besideWindow?: OperatingWindow | undefined
  readonly baseline?: Baseline | undefined
}

/** A level that became active or quiet, at the end of its delay. */
export interface LevelChange {
  readonly level: LevelPlan
  readonly active: boolean
  readonly at: number
  /** When the condition began to hold. */
  readonly since: number
  readonly value: number | null
}

export function startRun(plan: RulePlan, state?: RuleRunState): RuleRun {
  const saved = structuredClone(state)
  const compares = 'like' in plan.comparison
  return {
    plan,
    value: saved?.value ?? null,
    flowing: saved?.flowing ?? false,
    resting: saved?.resting ?? null,
    levels: plan.levels.map(({ id }) => saved?.levels[id] ?? { since: null, active: false, clearing: null }),
    window: plan.window && (saved?.window ?? emptyWindow()),
    besideWindow: plan.beside === undefined ? undefined : (saved?.besideWindow ?? emptyWindow()),
    baseline: compares ? (saved?.baseline ?? emptyBaseline()) : undefined,
  }
}

export function saveRun({
  plan,
  value,
  flowing,
  resting,
  levels,
  window,
  besideWindow,
  baseline,
}: RuleRun): RuleRunState {
  const busy = plan.levels.flatMap(({ id, place }) => {
    const level = levels[place] as LevelRun
    return level.since === null ? [] : [[id, level] as const]
  })
  return { value, flowing, resting, levels: Object.fromEntries(busy), window, besideWindow, baseline }
}

export function isQuiet({ levels }: RuleRun): boolean {
  for (const level of levels) if (level.since !== null) return false
  return true
}

/** What came before is unknown: a delay that was running, on or off, starts anew. */
export function forgetDelays(run: RuleRun): void {
  run.resting = null
  for (const level of run.levels) {
    if (!level.active) level.since = null
    level.clearing = null
  }
}

/** Whether a value is over the limit, in the rule's direction. */
export function isBeyond({ high, inclusive }: RulePlan, value: number, limit: number): boolean {
  if (value === limit) return inclusive
  return high ? value > limit : value < limit
}

/**
 * Judges every level of a rule by what is compared at one instant.
 *
 * @param confirmed whether what the rule's conditions depend on has been read since then
 * @param changes takes what became active or quiet
 */
export function judgeLevels(
  run: RuleRun,
  at: number,
  value: number,
  confirmed: (since: number) => boolean,
  changes: LevelChange[],
): void {
  run.resting = null
  for (const level of run.plan.levels) {
    const state = run.levels[level.place] as LevelRun
    if (state.active) judgeActive(run, level, state, at, value, changes)
    else judgeQuiet(run, level, state, at, value, confirmed, changes)
  }
}

/**
 * The limit is known not to be meant now. That is no proof that the fault is gone: between two strokes of work an alarm
 * stays, and what it has seen of normal values stays too. It ends when the rest has lasted.
 */
export function judgeRest(run: RuleRun, at: number, longestMs: number, changes: LevelChange[]): void {
  // a pause that becomes the end of work counts from there
  const since = run.resting === null || longestMs < run.resting.longestMs ? at : run.resting.since
  run.resting = { since, longestMs }
  for (const level of run.plan.levels) {
    const state = run.levels[level.place] as LevelRun
    if (!state.active) state.since = null
    else if (at - since >= longestMs) clear(level, state, since + longestMs, null, changes)
  }
}

function judgeQuiet(
  { plan }: RuleRun,
  level: LevelPlan,
  state: LevelRun,
  at: number,
  value: number,
  confirmed: (since: number) => boolean,
  changes: LevelChange[],
): void {
  if (!isBeyond(plan, value, level.limit)) {
    state.since = null
    return
  }
  state.since ??= at
  const { since } = state
  if (at - since < level.onDelayMs || !confirmed(since)) return
  state.active = true
  changes.push({ level, active: true, at: since + level.onDelayMs, since, value })
}

function judgeActive(
  { plan }: RuleRun,
  level: LevelPlan,
  state: LevelRun,
  at: number,
  value: number,
  changes: LevelChange[],
): void {
  if (!isBackInside(plan, value, level.limit)) {
    state.clearing = null
    return
  }
  state.clearing ??= at
  if (at - state.clearing >= plan.offDelayMs) clear(level, state, state.clearing + plan.offDelayMs, value, changes)
}

function clear(level: LevelPlan, state: LevelRun, at: number, value: number | null, changes: LevelChange[]): void {
  changes.push({ level, active: false, at, since: state.since as number, value })
  state.since = null
  state.active = false
  state.clearing = null
}

function isBackInside(plan: RulePlan, value: number, limit: number): boolean {
  if (isBeyond(plan, value, limit)) return false
  return plan.high ? value <= limit - plan.deadband : value >= limit + plan.deadband
}
