import type { Profile } from '../catalogue/catalogue.ts'
import type { Condition } from '../catalogue/schema.ts'
import { level, type ReadingSet } from '../reading.ts'

/** A gap is more than three expected intervals, and never less than this is one. */
const LONGEST_STEP_MS = 15 * 60_000
/** How long a first step is believed, when nothing is known yet of how often the machine sends. */
const FIRST_STEP_MS = 120_000
const STEPS_KEPT = 8

/** What running time is derived from. JSON. */
export interface RunningState {
  /** Event time of the last set that counted, epoch ms. */
  at: number
  running: boolean
  /** The last steps between sets, ms: their median is the expected interval. */
  steps: number[]
  /** The last value of each signal the conditions name, and its time. */
  values: Record<string, [value: number, at: number]>
}

/**
 * Derives how long a machine ran, for machines that send no counter: a step between two sets counts when the machine
 * ran at its beginning. What happened in a gap is unknown, so it counts nothing. Late sets are ignored.
 */
export function runningTime({ serviceCounter, signals }: Profile) {
  const conditions = serviceCounter.running
  const names = [...new Set(conditions.map((condition) => condition.signal))]
  const onChange = new Set(names.filter((name) => signals.get(name)?.sent === 'on_change'))

  return {
    /** @returns the state after the set, and the running ms since `from`, the time of the state before */
    observe(
      state: RunningState | undefined,
      set: ReadingSet,
    ): { state: RunningState | undefined; ranMs: number; from: number } {
      const at = set.measuredAt
      const tells = onChange.size > 0 || names.some((name) => set.values.has(name))
      if (!tells || (state && at <= state.at)) return { state, ranMs: 0, from: at }

      const next: RunningState = state ?? { at, running: false, steps: [], values: {} }
      const step = at - next.at
      const from = next.at
      const ranMs = next.running && step <= longestStep(next.steps) ? step : 0
      if (step > 0) next.steps = [...next.steps.slice(1 - STEPS_KEPT), step]
      for (const name of names) {
        const value = set.values.get(name)
        if (value !== undefined) next.values[name] = [level(value), at]
      }
      next.at = at
      next.running = conditions.every((condition) => holds(condition, next))
      return { state: next, ranMs, from }
    },

    /** Whether the machine has ever told what running time needs: one that never did has not stood still, it is unknown. */
    isTold: ({ values }: RunningState): boolean =>
      conditions.every(({ signal, orUnknown }) => orUnknown || values[signal] !== undefined),
  }

  function holds({ signal, above, below, equals, orUnknown }: Condition, { at, steps, values }: RunningState): boolean {
    const known = values[signal]
    const usual = Math.max(longestStep(steps), 3_000 * (signals.get(signal)?.intervalSeconds ?? 0))
    if (!known || (!onChange.has(signal) && at - known[1] > usual)) return orUnknown === true
    const [value] = known
    if (above !== undefined && value <= above) return false
    if (below !== undefined && value >= below) return false
    return equals === undefined || value === equals
  }
}

function longestStep(steps: readonly number[]): number {
  if (steps.length === 0) return FIRST_STEP_MS
  const sorted = [...steps].sort((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0
  return Math.min(LONGEST_STEP_MS, 3 * median)
}
