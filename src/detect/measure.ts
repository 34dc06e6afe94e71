import { baselineOf, learnBaseline, learnFirstReading } from '../features/baseline.ts'
import type { MachinePicture, SignalTrack } from '../features/machine-picture.ts'
import {
  extendWindow,
  type OperatingWindow,
  startAndEnd,
  statisticOf,
  type WindowSpec,
} from '../features/operating-window.ts'
import { highest, level, lowest, type SignalValue } from '../reading.ts'
import type { Comparison, RulePlan } from './rule-plan.ts'
import { isBeyond, type RuleRun } from './rule-run.ts'

/** What is known around the reading that a rule looks at. */
export interface Surroundings {
  readonly picture: MachinePicture
  /** Epoch ms of the reading. */
  readonly at: number
  /** Whether the machine may teach the rule what is normal: nothing of its component is in alarm. */
  readonly healthy: boolean
}

/** The value itself, as far out as the direction asks for: of a summary the highest or the lowest. */
export function plainValue({ high, comparison }: RulePlan, value: SignalValue): number {
  const outermost = high ? highest(value) : lowest(value)
  return comparison.kind === 'rated' ? outermost / comparison.rating : outermost
}

/** Takes a reading into the rule's windows; `applies` says whether the rule is meant now. */
export function rememberReading(
  run: RuleRun,
  track: SignalTrack,
  applies: boolean,
  { picture, at }: Surroundings,
): void {
  const { plan, window, besideWindow } = run
  const flowed = run.flowing
  run.flowing = applies || plan.counts
  if (window === undefined || plan.window === undefined || !run.flowing) return
  const spec = plan.window
  const passed = flowed && (plan.counts || !track.gap) ? track.elapsed : 0
  const elapsed = isNoisy(plan) ? Math.min(passed, standsFor(track.value, spec)) : passed
  const wasReset = plan.counter && fell(window, track.value)
  const isBroken = plan.counts ? elapsed >= spec.lengthMs : track.gap || (plan.restarts && !flowed)
  const isLost = wasReset || isBroken
  if (isLost) restart(window)
  extendWindow(window, spec, track.value, isLost ? 0 : elapsed)
  if (besideWindow === undefined || plan.beside === undefined) return
  const other = picture.asOf(plan.beside, at)
  const otherLost = other === undefined || (plan.per !== undefined && fell(besideWindow, other))
  if (isLost || otherLost) restart(besideWindow)
  if (other !== undefined) extendWindow(besideWindow, spec, other, isLost ? 0 : elapsed)
}

/**
 * What a rule compares with its limits, in the rule's unit. Learns the machine's normal on the way.
 *
 * @returns undefined where too little is known to say it
 */
export function comparedValue(run: RuleRun, track: SignalTrack, around: Surroundings): number | undefined {
  const { plan, window } = run
  const { comparison } = plan
  if (comparison.kind === 'start') return startPercent(run)
  const spec = plan.window
  const base = window && spec ? windowValue(run, window, spec) : baseValue(plan, track.value)
  if (base === undefined) return undefined
  switch (comparison.kind) {
    case 'none':
      return base
    case 'rated':
      return base / comparison.rating
    case 'difference':
    case 'signalPercent':
    case 'gapPercent': {
      const other = otherValue(run, comparison.other, around)
      return other === undefined ? undefined : compareWithSignal(comparison.kind, base, other)
    }
    default:
      return compareWithBaseline(run, track, base, around, comparison)
  }
}

/** A comparison is of like with like, mean with mean; only a limit or a difference asks for the outermost value. */
function baseValue(plan: RulePlan, value: SignalValue): number {
  const { kind } = plan.comparison
  if (kind === 'none' || kind === 'rated' || kind === 'difference') return plan.high ? highest(value) : lowest(value)
  return level(value)
}

function windowValue({ plan, besideWindow }: RuleRun, window: OperatingWindow, spec: WindowSpec): number | undefined {
  const value = statisticOf(window, spec)
  if (value === undefined || plan.per === undefined || besideWindow === undefined) return value
  const per = statisticOf(besideWindow, spec)
  return per === undefined || per <= 0 ? undefined : value / per
}

/** The signal to compare with: over a window the same of it, otherwise its level as it was last. */
function otherValue({ plan, besideWindow }: RuleRun, index: number, { picture, at }: Surroundings): number | undefined {
  if (besideWindow !== undefined && plan.window !== undefined) return statisticOf(besideWindow, plan.window)
  const other = picture.asOf(index, at)
  return other === undefined ? undefined : level(other)
}

function startPercent({ plan, window }: RuleRun): number | undefined {
  if (window === undefined || plan.window === undefined) return undefined
  const ends = startAndEnd(window, plan.window)
  return ends === undefined ? undefined : changePercent(ends.end, ends.start)
}

function compareWithSignal(
  kind: 'difference' | 'signalPercent' | 'gapPercent',
  value: number,
  other: number,
): number | undefined {
  if (kind === 'difference') return value - other
  if (kind === 'signalPercent') return changePercent(value, other)
  const larger = Math.max(Math.abs(value), Math.abs(other))
  return larger === 0 ? 0 : (100 * Math.abs(value - other)) / larger
}

function changePercent(value: number, reference: number): number | undefined {
  return reference === 0 ? undefined : (100 * (value - reference)) / Math.abs(reference)
}

function compareWithBaseline(
  run: RuleRun,
  track: SignalTrack,
  value: number,
  { picture, at, healthy }: Surroundings,
  comparison: Extract<Comparison, { like: unknown }>,
): number | undefined {
  const { baseline, plan } = run
  if (baseline === undefined) return undefined
  const cell = cellOf(picture, at, plan, comparison.like)
  if (cell === undefined) return undefined
  if (plan.sent === 'manual' && healthy) learnFirstReading(baseline, cell, value)
  const normal = baselineOf(baseline, cell)
  const compared = normal === undefined ? undefined : deviation(comparison.kind, value, normal)
  const isNormal = compared === undefined || !isBeyond(plan, compared, plan.mildest)
  if (plan.sent !== 'manual' && healthy && isNormal) learnBaseline(baseline, cell, value, track.gap ? 0 : track.elapsed)
  return compared
}

function deviation(
  kind: 'baselinePercent' | 'baselineFactor' | 'baselineDifference',
  value: number,
  normal: number,
): number | undefined {
  if (kind === 'baselineDifference') return value - normal
  if (kind === 'baselinePercent') return changePercent(value, normal)
  return normal === 0 ? undefined : value / normal
}

/** Mode and bands in which values are alike; undefined where one of them is not known. */
function cellOf(
  picture: MachinePicture,
  at: number,
  plan: RulePlan,
  like: readonly { readonly index: number; readonly band: number }[],
): string | undefined {
  // what people measure at a standstill belongs to no mode
  const mode = plan.sent === 'manual' ? '' : picture.mode(at)
  if (mode === undefined) return undefined
  let cell = mode
  for (const { index, band } of like) {
    const value = picture.asOf(index, at)
    if (value === undefined) return undefined
    cell += `|${Math.floor(level(value) / band)}`
  }
  return cell
}

/** A single reading says little of where a fluctuating signal lies against its normal. */
function isNoisy({ comparison, counter }: RulePlan): boolean {
  return 'like' in comparison && !counter
}

const FEWEST_READINGS = 10

/** The most of a window that a reading may fill: a machine that reports seldom needs longer, and is not judged by two readings. */
function standsFor(value: SignalValue, { lengthMs }: WindowSpec): number {
  return (lengthMs / FEWEST_READINGS) * (typeof value === 'number' ? 1 : value.n)
}

/** A counter that fell was reset or exchanged: what it counted before has no bearing on it. */
function fell(window: OperatingWindow, value: SignalValue): boolean {
  const last = window.slots.at(-1)
  return last !== undefined && level(value) < last.last
}

function restart(window: OperatingWindow): void {
  window.slots.length = 0
  window.before = null
  window.start = window.clock
}
