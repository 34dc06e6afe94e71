import type { Profile } from '../catalogue/catalogue.ts'
import type { Condition } from '../catalogue/schema.ts'
import { highest, level, lowest, MODE_SIGNAL, type ReadingSet, type SignalValue } from '../reading.ts'
import {
  type Cadence,
  type CadenceState,
  isLearned,
  learnInterval,
  longestWithoutGap,
  restoreCadence,
  saveCadence,
  unknownCadence,
} from './cadence.ts'

/** The signals of a profile by number, so that state stands in arrays. */
export interface SignalTable {
  readonly indexOf: ReadonlyMap<string, number>
  readonly signals: readonly SignalFacts[]
  /** Ids of the modes by their code. */
  readonly modeNames: ReadonlyMap<number, string>
  readonly modeFrom: readonly { readonly mode: string; readonly when: readonly PreparedCondition[] }[]
}

interface SignalFacts {
  readonly name: string
  readonly catalogueMs: number
  /** `periodic` values age, `on_change` values hold while the machine is heard, `manual` ones until the next. */
  readonly sent: 'periodic' | 'on_change' | 'manual'
}

/** The newest reading of one signal. */
export interface SignalTrack {
  value: SignalValue
  at: number
  /** ms since the reading before, 0 when there was none. */
  elapsed: number
  /** Nothing is known between the reading before and this one. */
  gap: boolean
  readonly cadence: Cadence
}

/** What holds: true, false, or it cannot be told. */
export const HOLDS = 1
export const FAILS = 0
export const UNKNOWN = -1
export type Truth = typeof HOLDS | typeof FAILS | typeof UNKNOWN

/** A condition of the catalogue with its signal looked up; -1 for one that the profile does not have. */
export interface PreparedCondition extends Condition {
  readonly index: number
}

/** JSON of a picture: times in epoch ms, values as numbers or summaries. */
export interface PictureState {
  readonly newest: number | null
  readonly heldFrom: number | null
  readonly offline: boolean
  /** `measuredAt` of the last status that said offline. */
  readonly offlineAt: number | null
  readonly signals: Record<string, readonly [at: number, value: SignalValue, cadence: CadenceState]>
}

/** What is known of one machine as of its newest reading set. */
export interface MachinePicture {
  /** Epoch ms of the newest set, NaN before the first. */
  newest(): number
  /** Whether the machine was silent before the newest set for so long that it counted as offline. */
  returned(): boolean
  /** Age of the oldest reading that the mode was last told from; a mode that was sent is as good as new. */
  modeToldAt(): number
  /**
   * Whether a set belongs to the past. A little behind it does not, if all of its signals are news: two controllers of
   * one machine, or two ways to the broker, are never quite in step.
   */
  isLate(set: ReadingSet): boolean
  /** @param set one that is not late */
  take(set: ReadingSet): void
  /** The machine or its will says whether it is online; offline, values sent on change are no longer known. */
  status(measuredAt: number, online: boolean): void
  track(index: number): SignalTrack | undefined
  /** How many signals were ever read. */
  signalCount(): number
  /** The signal's value at `at`, when it is still known then. */
  asOf(index: number, at: number): SignalValue | undefined
  holds(condition: PreparedCondition, at: number): Truth
  /** Id of the mode at `at`: as sent, else as it follows from signals. */
  mode(at: number): string | undefined
  /** Whether the machine, silent since its newest set, still counts as heard at `at`. */
  heardAt(at: number): boolean
  state(): PictureState
}

const tables = new WeakMap<Profile, SignalTable>()

export function signalTable(profile: Profile): SignalTable {
  const known = tables.get(profile)
  if (known !== undefined) return known
  const signals: SignalFacts[] = [...profile.signals].map(([name, signal]) => ({
    name,
    catalogueMs: signal.intervalSeconds * 1_000,
    sent: name === MODE_SIGNAL ? 'on_change' : signal.sent,
  }))
  if (!profile.signals.has(MODE_SIGNAL)) signals.push({ name: MODE_SIGNAL, catalogueMs: 60_000, sent: 'on_change' })
  const indexOf = new Map(signals.map(({ name }, index) => [name, index]))
  const modeNames = new Map([...profile.modes].map(([id, { code }]) => [code, id]))
  const modeFrom = profile.modeFrom.map(({ mode, when }) => ({
    mode,
    when: when.map((condition) => prepareCondition({ indexOf }, condition)),
  }))
  const table = { signals, indexOf, modeNames, modeFrom }
  tables.set(profile, table)
  return table
}

export function prepareCondition({ indexOf }: Pick<SignalTable, 'indexOf'>, condition: Condition): PreparedCondition {
  return { ...condition, index: indexOf.get(condition.signal) ?? -1 }
}

/** A machine that is silent for less is not taken as offline, whatever it has taught before. */
const SHORTEST_SILENCE_MS = 120_000
const OFFLINE_INTERVALS = 3
const OUT_OF_STEP_MS = 30_000

export function machinePicture(profile: Profile, state?: PictureState): MachinePicture {
  const table = signalTable(profile)
  const { signals, indexOf, modeNames, modeFrom } = table
  const modeIndex = table.indexOf.get(MODE_SIGNAL) as number
  let signalCount = 0
  const tracks: (SignalTrack | undefined)[] = new Array(signals.length).fill(undefined)
  for (const [name, [at, value, cadence]] of Object.entries(state?.signals ?? {})) {
    const index = indexOf.get(name)
    if (index === undefined) continue
    tracks[index] = { at, value, elapsed: 0, gap: false, cadence: restoreCadence(cadence) }
    signalCount++
  }
  let newest = state?.newest ?? Number.NaN
  let heldFrom = state?.heldFrom ?? Number.NEGATIVE_INFINITY
  let offline = state?.offline ?? false
  let offlineAt = state?.offlineAt ?? null
  let returned = false
  let takenAt = 0
  let modeToldAt = Number.POSITIVE_INFINITY

  return {
    newest: () => newest,
    returned: () => returned,
    modeToldAt: () => modeToldAt,

    isLate({ measuredAt, values }) {
      const behind = newest - measuredAt
      if (!(behind > 0)) return false
      if (behind > OUT_OF_STEP_MS) return true
      for (const name of values.keys()) {
        const track = tracks[indexOf.get(name) ?? -1]
        if (track !== undefined && track.at >= measuredAt) return true
      }
      return false
    },

    take({ measuredAt, values }) {
      returned = offline || !heardAt(measuredAt)
      if (returned) heldFrom = measuredAt
      offline = false
      if (!(measuredAt < newest)) newest = measuredAt
      takenAt = measuredAt
      values.forEach(takeNamed)
    },

    status(measuredAt, online) {
      // a retained status comes again with every new subscription
      if (!online && measuredAt === offlineAt) return
      // what held before it went may have changed meanwhile
      if (online && offline && !Number.isNaN(newest)) heldFrom = newest + 1
      offline = !online
      if (offline) offlineAt = measuredAt
    },

    track: (index) => tracks[index],
    signalCount: () => signalCount,
    asOf,
    holds,

    mode(at) {
      const sent = asOf(modeIndex, at)
      const name = sent === undefined ? undefined : modeNames.get(level(sent))
      modeToldAt = Number.POSITIVE_INFINITY
      if (name !== undefined) return name
      for (const { mode, when } of modeFrom) if (allHold(when, at)) return mode
      return undefined
    },

    heardAt,

    state() {
      const known: PictureState['signals'] = {}
      tracks.forEach((track, index) => {
        if (track === undefined) return
        known[(signals[index] as SignalFacts).name] = [track.at, track.value, saveCadence(track.cadence)]
      })
      return {
        newest: Number.isNaN(newest) ? null : newest,
        heldFrom: Number.isFinite(heldFrom) ? heldFrom : null,
        offline,
        offlineAt,
        signals: known,
      }
    },
  }

  function takeNamed(value: SignalValue, name: string): void {
    const index = indexOf.get(name)
    if (index !== undefined) takeValue(index, value, takenAt)
  }

  function takeValue(index: number, value: SignalValue, at: number): void {
    const track = tracks[index]
    if (track === undefined) {
      tracks[index] = { value, at, elapsed: 0, gap: false, cadence: unknownCadence() }
      signalCount++
      return
    }
    const delta = at - track.at
    const { sent, catalogueMs } = signals[index] as SignalFacts
    track.elapsed = delta
    if (sent === 'periodic') {
      track.gap = delta > longestWithoutGap(track.cadence, catalogueMs)
      if (delta > 0) learnInterval(track.cadence, delta)
    }
    if (sent === 'on_change') track.gap = track.at < heldFrom
    track.value = value
    track.at = at
  }

  function asOf(index: number, at: number): SignalValue | undefined {
    const track = tracks[index]
    if (track === undefined) return undefined
    const { sent, catalogueMs } = signals[index] as SignalFacts
    if (sent === 'manual') return track.value
    if (sent === 'on_change') return track.at >= heldFrom && !offline ? track.value : undefined
    return at - track.at <= longestWithoutGap(track.cadence, catalogueMs) ? track.value : undefined
  }

  function holds(condition: PreparedCondition, at: number): Truth {
    const value = condition.index < 0 ? undefined : asOf(condition.index, at)
    if (value === undefined) return condition.orUnknown ? HOLDS : UNKNOWN
    return isInside(condition, lowest(value), highest(value))
  }

  function allHold(when: readonly PreparedCondition[], at: number): boolean {
    let oldest = Number.POSITIVE_INFINITY
    for (const condition of when) {
      if (holds(condition, at) !== HOLDS) return false
      const track = tracks[condition.index]
      const ages = track !== undefined && signals[condition.index]?.sent === 'periodic'
      if (ages && track.at < oldest) oldest = track.at
    }
    modeToldAt = oldest
    return true
  }

  function heardAt(at: number): boolean {
    const silence = at - newest
    if (!(silence > SHORTEST_SILENCE_MS)) return true
    let longest = 0
    for (let i = 0; i < tracks.length; i++) {
      const track = tracks[i]
      if (track === undefined || (signals[i] as SignalFacts).sent !== 'periodic' || !isLearned(track.cadence)) continue
      if (track.cadence.expected > longest) longest = track.cadence.expected
    }
    // without any periodic signal, silence says nothing
    return longest === 0 || silence <= OFFLINE_INTERVALS * longest
  }
}

/** A summary holds when all of it does, fails when none of it does, and otherwise cannot be told. */
function isInside({ above, below, equals }: Condition, low: number, high: number): Truth {
  let truth: Truth = HOLDS
  if (above !== undefined && !(low > above)) truth = high > above ? UNKNOWN : FAILS
  if (truth !== FAILS && below !== undefined && !(high < below)) truth = low < below ? UNKNOWN : FAILS
  if (truth !== FAILS && equals !== undefined && !(low === equals && high === equals))
    truth = low <= equals && equals <= high ? UNKNOWN : FAILS
  return truth
}
