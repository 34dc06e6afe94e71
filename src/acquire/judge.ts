import type { Profile } from '../catalogue/catalogue.ts'
import type { Signal } from '../catalogue/schema.ts'
import { ARRIVAL_SIGNAL, MODE_SIGNAL, type ReadingSet, type SignalValue, type Summary } from '../reading.ts'
import type { RawSet } from './message.ts'

/** Why a value counts as no value. */
export type RejectionReason =
  | 'not_finite' // NaN, Infinity, or their names as text
  | 'implausible' // outside what the signal can be, or a summary that contradicts itself
  | 'error_code' // J1939: the sensor or its line is faulty
  | 'not_available' // J1939: there is no such sensor, or it has nothing yet; also JSON null
  | 'wrong_type' // text, list, or an object that is no summary
  | 'bad_name' // no name for a signal
  | 'mode' // not a mode of the catalogue
  | 'duplicate_key' // overwritten by a later value under the same name in the same set

export interface Rejection {
  readonly signal: string
  readonly reason: RejectionReason
}

export interface Judgement {
  /** undefined: no usable value, the set belongs in quarantine as `values`. */
  readonly set: ReadingSet | undefined
  readonly rejected: readonly Rejection[]
  /** Values of signals that the catalogue does not know; they are stored. */
  readonly unknownSignals: number
}

export interface JudgementContext {
  /** The machine bound to the set's device at `measuredAt`, and what holds for it. */
  readonly machine: string
  readonly profile: Profile
  /** Mode id → code, over all types. */
  readonly modeCodes: ReadonlyMap<string, number>
  readonly modeNames: ReadonlyMap<number, string>
  /** When it was measured, as its clock was judged, epoch ms. */
  readonly measuredAt: number
  /** The device has no clock: `measuredAt` is when the set was received. */
  readonly isArrival: boolean
  readonly receivedAt: number
}

/**
 * Judges each value by itself: what cannot be true counts as no value and takes nothing else with it. Never throws.
 * A finite number of a signal that the catalogue does not know is usable.
 */
export function judge(raw: RawSet, context: JudgementContext): Judgement {
  const { signals } = context.profile
  const values = new Map<string, SignalValue>()
  const rejected: Rejection[] = []
  let unknownSignals = 0

  for (const name in raw.signals) {
    if (name === MODE_SIGNAL) continue
    const value = raw.signals[name]
    const signal = signals.get(name)
    if (!signal && !isSignalName(name)) {
      rejected.push({ signal: shown(name), reason: 'bad_name' })
      continue
    }
    const verdict = judgeValue(value, signal)
    if (typeof verdict === 'string') {
      rejected.push({ signal: name, reason: verdict })
      continue
    }
    if (!signal) unknownSignals++
    values.set(name, verdict)
  }

  const mode = judgeMode(raw, context)
  if (mode !== undefined && mode >= 0) values.set(MODE_SIGNAL, mode)
  if (mode === NO_MODE) rejected.push({ signal: MODE_SIGNAL, reason: 'mode' })
  for (let i = 0; i < raw.repeated; i++) rejected.push({ signal: '', reason: 'duplicate_key' })

  const { device, seq } = raw
  const { machine, measuredAt, receivedAt, isArrival } = context
  if (isArrival && values.size > 0) values.set(ARRIVAL_SIGNAL, 1)
  const set = values.size > 0 ? { device, machine, measuredAt, receivedAt, seq, values } : undefined
  return { set, rejected, unknownSignals }
}

/** What was wrong, in words for a person who looks into quarantine. */
export function describeRejections(rejected: readonly Rejection[]): string {
  if (rejected.length === 0) return 'no values'
  const first = rejected.slice(0, 5).map(({ signal, reason }) => (signal ? `${signal}: ${reason}` : reason))
  return rejected.length > 5 ? `${first.join(', ')} and ${rejected.length - 5} more` : first.join(', ')
}

const SIGNAL_NAME = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]([\p{L}\p{M}\p{N}\p{P}\p{S} ]{0,62}[\p{L}\p{M}\p{N}\p{P}\p{S}])?$/u

/** 1–64 letters, digits, punctuation marks and symbols of any script; spaces inside only. */
export function isSignalName(name: string): boolean {
  return SIGNAL_NAME.test(name)
}

function shown(name: string): string {
  return name.slice(0, 64)
}

const NO_MODE = -1

/** @returns the mode's code; NO_MODE for one that no type knows; undefined where the set has none */
function judgeMode(raw: RawSet, { modeCodes, modeNames }: JudgementContext): number | undefined {
  if (raw.mode !== undefined) return modeCodes.get(raw.mode) ?? NO_MODE
  const value = raw.signals[MODE_SIGNAL]
  if (value === undefined) return undefined
  if (typeof value === 'string') return modeCodes.get(value) ?? NO_MODE
  return typeof value === 'number' && modeNames.has(value) ? value : NO_MODE
}

const NUMBER_WORD = /^[+-]?(nan|inf|infinity)$/i

function judgeValue(value: unknown, signal: Signal | undefined): SignalValue | RejectionReason {
  if (typeof value === 'number') return judgeNumber(value, signal) ?? value
  if (typeof value === 'boolean') return judgeNumber(Number(value), signal) ?? Number(value)
  if (value === null || value === undefined) return 'not_available'
  if (typeof value === 'string') return NUMBER_WORD.test(value.trim()) ? 'not_finite' : 'wrong_type'
  return judgeSummary(value, signal)
}

function judgeSummary(value: object, signal: Signal | undefined): Summary | RejectionReason {
  const { min, mean, max, n } = value as Record<string, unknown>
  for (const part of [min, mean, max]) {
    if (typeof part === 'string' && NUMBER_WORD.test(part.trim())) return 'not_finite'
  }
  if (typeof min !== 'number' || typeof mean !== 'number' || typeof max !== 'number') return 'wrong_type'
  if (!Number.isSafeInteger(n) || (n as number) < 1) return 'wrong_type'
  const wrong =
    judgeNumber(max, signal) ?? judgeNumber(min, signal) ?? (Number.isFinite(mean) ? undefined : 'not_finite')
  if (wrong) return wrong

  // a mean of equal samples may differ from them in its last digits
  const slack = 1e-6 * Math.max(Math.abs(min), Math.abs(max))
  if (min > max || mean < min - slack || mean > max + slack) return 'implausible'
  return { min, mean: Math.min(Math.max(mean, min), max), max, n: n as number }
}

/** @returns why the number is no value; undefined where it is one */
function judgeNumber(value: number, signal: Signal | undefined): RejectionReason | undefined {
  if (!Number.isFinite(value)) return 'not_finite'
  if (!signal) return undefined
  const { j1939, plausible } = signal
  const outside = value < plausible[0] || value > plausible[1]
  if (j1939) {
    const code = fillCode((value - j1939.offset) / j1939.resolution, j1939.bytes)
    if (code) return code
    if (outside) return fillCode(value, j1939.bytes) ?? 'implausible'
  }
  return outside ? (rawFillCode(value) ?? 'implausible') : undefined
}

/**
 * J1939 keeps the highest raw values: 0xFE (0xFExx, 0xFExxxxxx) says error, 0xFF… says not available.
 * @param raw as on the bus; may be off by rounding where it was scaled and scaled back
 * @see SAE J1939-71, transmitted signal ranges
 */
function fillCode(raw: number, bytes: 1 | 2 | 4): 'error_code' | 'not_available' | undefined {
  const unit = 256 ** (bytes - 1)
  const nearest = Math.round(raw)
  if (bytes === 1 && Math.abs(raw - nearest) > 1e-3) return undefined
  if (nearest < 0xfe * unit || nearest >= 0x100 * unit) return undefined
  return nearest < 0xff * unit ? 'error_code' : 'not_available'
}

/** A raw code under a signal of which nobody said how wide it is on the bus. */
function rawFillCode(value: number): 'error_code' | 'not_available' | undefined {
  if (!Number.isInteger(value)) return undefined
  return fillCode(value, 1) ?? fillCode(value, 2) ?? fillCode(value, 4)
}
