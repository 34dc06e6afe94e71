import { MODE_SIGNAL, type ReadingSet, type SignalValue } from '../reading.ts'
import type { StoredReading } from '../store/telemetry-store.ts'
import { assembleEpisodes } from './episodes.ts'
import { type DetectorContext, type DetectorState, machineDetector } from './machine-detector.ts'
import { machinePlan } from './rule-plan.ts'
import type { Episode } from './transition.ts'

export interface LateContext extends DetectorContext {
  /** What the machine's detector knows by now: its normal is taken from here, and how often it sends. */
  readonly state?: DetectorState | undefined
}

/** Late readings lie in [from, to], epoch ms. */
export interface LateSpan {
  readonly from: number
  readonly to: number
  /** When the last of them was received. */
  readonly receivedAt: number
}

const MINUTE_MS = 60_000
const SHORTEST_LEAD_MS = 15 * MINUTE_MS
/** Reading a whole day for one late reading would cost more than the few windows that are longer are worth. */
const LONGEST_LEAD_MS = 2 * 60 * MINUTE_MS

/**
 * Judges the past again, now that readings of it have come late. Says only what was wrong, from the readings alone:
 * the same readings give the same episodes, in whatever order and pieces they came.
 *
 * @param readings all of the machine from `lead` before `from` to `lead` after `to`, in any order
 * @returns the episodes that reach into the span, in order of time
 */
export function judgeAgain(
  context: LateContext,
  readings: readonly StoredReading[],
  { from, to, receivedAt }: LateSpan,
): Episode[] {
  const sets = setsOf(context.machine, readings, receivedAt)
  const newest = sets.at(-1)
  if (newest === undefined) return []
  const detector = machineDetector({ ...context, learns: false }, whatIsNormal(context.state))
  return assembleEpisodes(detector.observe(sets), { from, to, until: newest.measuredAt })
}

/** How much before and after late readings has to be read to judge them: windows and delays have to fill and to run out, ms. */
export function lateLead({ profile, rules }: Pick<DetectorContext, 'profile' | 'rules'>): number {
  let longest = SHORTEST_LEAD_MS
  for (const rule of machinePlan(profile, rules).rules.values()) {
    const delays = rule.levels.map(({ onDelayMs }) => onDelayMs)
    longest = Math.max(longest, (rule.window?.lengthMs ?? 0) + Math.max(...delays) + rule.offDelayMs)
  }
  return Math.min(longest, LONGEST_LEAD_MS)
}

/** The signals that some rule, condition or mode needs: the others need not be read. */
export function lateSignals({ profile, rules }: Pick<DetectorContext, 'profile' | 'rules'>): string[] {
  const names = new Set<string>([MODE_SIGNAL])
  for (const { when } of profile.modeFrom) for (const { signal } of when) names.add(signal)
  for (const { signal, when = [], measure = {} } of rules.values()) {
    names.add(signal)
    for (const condition of when) names.add(condition.signal)
    for (const like of measure.like ?? []) names.add(like.signal)
    for (const other of [measure.difference, measure.signalPercent, measure.gapPercent, measure.per])
      if (other !== undefined) names.add(other)
  }
  return [...names]
}

/** Of all that a detector remembers, only what it has learned of the machine in general. */
function whatIsNormal(state: DetectorState | undefined): DetectorState | undefined {
  if (state === undefined) return undefined
  const rules: DetectorState['rules'] = {}
  for (const [id, { baseline }] of Object.entries(state.rules)) {
    if (baseline !== undefined) rules[id] = { value: null, flowing: false, resting: null, levels: {}, baseline }
  }
  return {
    picture: { newest: null, heldFrom: null, offline: false, offlineAt: null, signals: {} },
    receivedAt: null,
    heardAt: null,
    noData: false,
    rules,
    alarms: {},
    faults: { newest: null, codes: {}, messages: [] },
    pending: [],
  }
}

function setsOf(machine: string, readings: readonly StoredReading[], receivedAt: number): ReadingSet[] {
  const values = new Map<number, Map<string, SignalValue>>()
  for (const { measuredAt, signal, value } of readings) {
    const set = values.get(measuredAt)
    if (set === undefined) values.set(measuredAt, new Map([[signal, value]]))
    else set.set(signal, value)
  }
  return [...values]
    .sort(([a], [b]) => a - b)
    .map(([measuredAt, set]) => ({ device: machine, machine, measuredAt, receivedAt, seq: undefined, values: set }))
}
