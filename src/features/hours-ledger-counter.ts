const HOUR_MS = 3_600_000
/** What floating point may take away from a counter that stood still. */
const ROUNDING = 1e-6

/** How fast a counter can rise at most, in its unit per hour of event time, and what it may be ahead of that. */
export interface CounterLimits {
  readonly perHour: number
  readonly slack: number
  /** The step of a counter that only ever shows whole numbers: it may come all at once. 0: none is known. */
  readonly wholeStep: number
}

/** h: a machine cannot run longer than time passes; 0.1 h for rounding and clocks. */
export const hourLimits: CounterLimits = { perHour: 1, slack: 0.1, wholeStep: 1 }

/** m³: no concrete pump delivers more than 300 m³/h; 10 m³ for counters that step per stroke or per load. */
export const volumeLimits: CounterLimits = { perHour: 300, slack: 10, wholeStep: 0 }

export type DoubtKind = 'counter_fall' | 'counter_jump'
export type Resolution = 'accept' | 'continue' | 'set'

/** A step that cannot be use of the machine. The counter goes on along a line of its own until somebody decides. */
export interface Doubt {
  readonly kind: DoubtKind
  /** Event time of the step, epoch ms. */
  readonly at: number
  /** What was read then. */
  readonly value: number
  /** Where the doubtful line stands now, and since when. */
  raw: number
  rawAt: number
  /** Plausible progress along the doubtful line. */
  progress: number
}

/** One counter of one machine; what it says in total is `raw + offset`. JSON. */
export interface CounterState {
  /** The last good reading, as the machine sent it, and its event time. */
  raw: number
  at: number
  /** When anything of it was heard last, doubtful readings included. */
  heardAt: number
  /** What earlier controllers had counted. */
  offset: number
  /** When it rose last; undefined: never seen to. */
  changedAt?: number | undefined
  /** Only whole numbers so far. */
  whole: boolean
  doubt?: Doubt | undefined
}

/** What one reading did: progress that is use of the machine, a new doubt, or a doubt that settled by itself. */
export type CounterOutcome =
  | { readonly kind: 'progress'; readonly used: number; readonly from: number; readonly settled: Doubt | undefined }
  | { readonly kind: 'doubt'; readonly doubt: Doubt; readonly previous: number }
  | { readonly kind: 'nothing' }

const NOTHING: CounterOutcome = { kind: 'nothing' }

/** A counter with its first reading. */
export function newCounter(raw: number, at: number): CounterState {
  return { raw, at, heardAt: at, offset: 0, whole: Number.isInteger(raw) }
}

export function total(counter: CounterState): number {
  return counter.raw + counter.offset
}

/**
 * Takes the next reading of a counter. One that is not newer than the last is ignored: counters move forward in event
 * time only. A fall, or a rise beyond what the elapsed event time allows, moves nothing; the counter stays where it was
 * until {@link decideDoubt}, or until it reads again what its last good value makes plausible.
 */
export function readCounter(counter: CounterState, raw: number, at: number, limits: CounterLimits): CounterOutcome {
  if (at <= counter.heardAt) return NOTHING
  counter.heardAt = at
  const { doubt } = counter
  const step = judgeStep(counter, raw, at, limits)
  if (step === undefined && (!doubt || hasComeBack(counter, doubt, raw, limits))) {
    const used = Math.max(0, raw - counter.raw)
    const from = counter.at
    // a doubt made good by time is about a step that had come earlier
    if (used > ROUNDING) counter.changedAt = doubt && raw === doubt.value ? doubt.at : at
    counter.whole = counter.whole && Number.isInteger(raw)
    counter.raw = Math.max(raw, counter.raw)
    counter.at = at
    counter.doubt = undefined
    return { kind: 'progress', used, from, settled: doubt }
  }
  if (doubt) {
    followDoubt(doubt, raw, at, limits)
    return NOTHING
  }
  counter.doubt = { kind: step ?? 'counter_jump', at, value: raw, raw, rawAt: at, progress: 0 }
  return { kind: 'doubt', doubt: counter.doubt, previous: counter.raw }
}

/**
 * Somebody has decided about a doubt.
 *
 * `accept`: the counter was right, at the step its total was what it read. `continue`: another controller counts now,
 * the total goes on from the last good one. `set`: at the step, the total was `value`. What the counter gained since
 * the step is added; what it jumped or fell since, nobody was asked about.
 *
 * @returns the plausible progress since the step, which is use of the machine, and the time it took
 */
export function decideDoubt(
  counter: CounterState,
  doubt: Doubt,
  resolution: Resolution,
  value: number | undefined,
): { used: number; from: number; to: number } {
  const settled = {
    accept: doubt.value + counter.offset + doubt.progress,
    continue: total(counter) + doubt.progress,
    set: (value ?? doubt.raw) + doubt.progress,
  }[resolution]
  counter.offset = settled - doubt.raw
  counter.raw = doubt.raw
  counter.at = doubt.rawAt
  counter.changedAt = doubt.rawAt
  counter.whole = counter.whole && Number.isInteger(doubt.raw)
  counter.doubt = undefined
  return { used: doubt.progress, from: doubt.at, to: doubt.rawAt }
}

/** @returns why this step cannot be use of the machine; undefined: it can */
function judgeStep(
  counter: CounterState,
  raw: number,
  at: number,
  { perHour, slack, wholeStep }: CounterLimits,
): DoubtKind | undefined {
  const step = raw - counter.raw
  if (step < -ROUNDING) return 'counter_fall'
  const possible = ((at - counter.at) / HOUR_MS) * perHour
  if (step <= possible + slack + ROUNDING) return undefined
  // A display of whole hours shows nothing for an hour and then all of it: it is the time since its last step that counts.
  const showsWhole = counter.whole && Number.isInteger(raw) && counter.changedAt !== undefined
  const sinceChange = showsWhole ? ((at - (counter.changedAt ?? at)) / HOUR_MS) * perHour : 0
  if (showsWhole && step <= possible + wholeStep && step <= sinceChange + slack) return undefined
  return 'counter_jump'
}

/**
 * After a jump, time alone must not make the jump plausible: the counter has to read less than it did then. Only the
 * first step of a counter of whole numbers, which may have stood just below it, is made good by time.
 */
function hasComeBack(counter: CounterState, doubt: Doubt, raw: number, { wholeStep }: CounterLimits): boolean {
  if (doubt.kind === 'counter_fall') return true
  const firstWholeStep = counter.whole && Number.isInteger(raw) && raw - counter.raw <= wholeStep
  return raw < doubt.raw - ROUNDING || firstWholeStep
}

function followDoubt(doubt: Doubt, raw: number, at: number, { perHour, slack }: CounterLimits): void {
  const step = raw - doubt.raw
  const plausible = step >= 0 && step <= ((at - doubt.rawAt) / HOUR_MS) * perHour + slack
  if (plausible) doubt.progress += step
  doubt.raw = raw
  doubt.rawAt = at
}
