import { type Baseline, emptyBaseline } from '../features/baseline.ts'
import { emptyWindow, type OperatingWindow } from '../features/operating-window.ts'
import type { LevelPlan, RulePlan } from './rule-plan.ts'

/** What one machine's rule remembers. */
export interface RuleRun {
  readonly plan: RulePlan
  /** What was compared last, in the rule's unit. */
  value: number | null
  /** Whether the rule applied at the signal's reading before. */
  flowing: boolean
  readonly levels: LevelRun[]
  readonly window: OperatingWindow | undefined
  readonly perWindow: OperatingWindow | undefined
  readonly baseline: Baseline | undefined
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
  /** By `<rule>/<warn|critical>`; quiet levels are left out. */
  readonly levels: Record<string, LevelRun>
  readonly window?: OperatingWindow | undefined
  readonly perWindow?: OperatingWindow | undefined
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
    levels: plan.levels.map(({ id }) => saved?.levels[id] ?? { since: null, active: false, clearing: null }),
    window: plan.window && (saved?.window ?? emptyWindow()),
    perWindow: plan.per === undefined ? undefined : (saved?.perWindow ?? emptyWindow()),
    baseline: compares ? (saved?.baseline ?? emptyBaseline()) : undefined,
  }
}

export function saveRun({ plan, value, flowing, levels, window, perWindow, baseline }: RuleRun): RuleRunState {
  const busy = plan.levels.flatMap(({ id, place }) => {
    const level = levels[place] as LevelRun
    return level.since === null ? [] : [[id, level] as const]
  })
  return structuredClone({ value, flowing, levels: Object.fromEntries(busy), window, perWindow, baseline })
}

export function isQuiet({ levels }: RuleRun): boolean {
  for (const level of levels) if (level.since !== null) return false
  return true
}

/** What came before is unknown: a delay that was running, on or off, starts anew. */
export function forgetDelays({ levels }: RuleRun): void {
  for (const level of levels) {
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
 * Judges every level of a rule at one instant.
 *
 * @param value what is compared, or null where the limit is known not to be meant now: that is as good as normal
 * @param confirmed whether what the condition depends on has been read since then
 * @param changes takes what became active or quiet
 */
export function judgeLevels(
  run: RuleRun,
  at: number,
  value: number | null,
  confirmed: (since: number) => boolean,
  changes: LevelChange[],
): void {
  const { plan, levels } = run
  for (const level of plan.levels) {
    const state = levels[level.place] as LevelRun
    if (state.active) judgeActive(run, level, state, at, value, changes)
    else judgeQuiet(run, level, state, at, value, confirmed, changes)
  }
}

function judgeQuiet(
  { plan }: RuleRun,
  level: LevelPlan,
  state: LevelRun,
  at: number,
  value: number | null,
  confirmed: (since: number) => boolean,
  changes: LevelChange[],
): void {
  if (value === null || !isBeyond(plan, value, level.limit)) {
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
  value: number | null,
  changes: LevelChange[],
): void {
  if (value !== null && !isBackInside(plan, value, level.limit)) {
    state.clearing = null
    return
  }
  state.clearing ??= at
  const { clearing } = state
  if (at - clearing < plan.offDelayMs) return
  const since = state.since as number
  state.since = null
  state.active = false
  state.clearing = null
  changes.push({ level, active: false, at: clearing + plan.offDelayMs, since, value })
}

function isBackInside(plan: RulePlan, value: number, limit: number): boolean {
  if (isBeyond(plan, value, limit)) return false
  return plan.high ? value <= limit - plan.deadband : value >= limit + plan.deadband
}
