import type { Profile } from '../catalogue/catalogue.ts'
import { highest, type ReadingSet } from '../reading.ts'
import {
  type CounterLimits,
  type CounterState,
  type Doubt,
  type DoubtKind,
  decideDoubt,
  hourLimits,
  newCounter,
  type Resolution,
  readCounter,
  total,
  volumeLimits,
} from './hours-ledger-counter.ts'
import { type RunningState, runningTime } from './hours-ledger-running.ts'
import { addUse, type UseDay } from './hours-ledger-use.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Signals arrive in sets of their own: for so long a better counter still replaces the one that was seen first. */
const SETTLE_MS = 15 * 60_000
/** A counter that was silent for so long, while the machine was heard, hands over to the next one. */
const SILENT_MS = 3 * DAY_MS
/** What a service counter moves before it is worth recording again: the resolution of the SAE J1939 hour counters. */
const WORTH_HOURS = 0.05
const WORTH_M3 = 1

/** Where service hours come from when it is no signal. */
const RUNNING_SOURCE = 'running_time'
const METER_SOURCE = 'meter_reading'

export interface CounterReading {
  /** In total, earlier controllers included. */
  readonly value: number
  /** Event time of the last good reading, epoch ms. */
  readonly at: number
  /** It fell or jumped, and nobody has decided yet: it stays at its last good value. */
  readonly inDoubt: boolean
}

/** Service hours and volume as they stand; times are event times in epoch ms. */
export interface LedgerHours {
  /** undefined: no counter, no running time, no meter reading known yet. */
  readonly hours: number | undefined
  /** A signal, `running_time` or `meter_reading`. */
  readonly source: string | undefined
  readonly at: number | undefined
  readonly volumeM3: number | undefined
}

/** What the ledger of a machine says. */
export interface LedgerStatus extends LedgerHours {
  /** The first hour reading: what lies before it is unknown. */
  readonly start: { readonly hours: number; readonly at: number } | undefined
  readonly startVolumeM3: number | undefined
  readonly hoursUse: readonly UseDay[]
  readonly volumeUse: readonly UseDay[]
  readonly counters: Readonly<Record<string, CounterReading>>
}

/** A data-quality event begins, or settles because the counter came back to what its last good value makes plausible. */
export type LedgerEvent =
  | {
      readonly type: 'doubt'
      readonly kind: DoubtKind
      readonly signal: string
      readonly at: number
      readonly value: number
      readonly previous: number
      readonly detail: string
    }
  | { readonly type: 'settled'; readonly kind: DoubtKind; readonly signal: string; readonly at: number }

/** What a person says: how a doubt is decided, or what the hour meter shows. */
export type CounterCorrection =
  | {
      readonly kind: 'doubt'
      readonly signal: string
      /** Event time of the doubt. */
      readonly doubtAt: number
      readonly resolution: Resolution
      /** For `set`. */
      readonly value: number | undefined
    }
  | { readonly kind: 'meter'; readonly hours: number; readonly at: number }

interface MeterState {
  hours: number
  at: number
  doubt?: Doubt | undefined
}

/** JSON-serialisable. */
export interface LedgerState {
  /** The type whose service counter is kept. */
  type: string
  /** Event time up to which the machine was heard, epoch ms. */
  heardAt?: number | undefined
  /** Until then a better source begins anew; later it goes on from where the last one stood. */
  settlesAt?: number | undefined
  /** The type was changed and the machine has not been heard since: the time to settle begins with its next word. */
  beginsAnew?: true | undefined
  counters: Record<string, CounterState>
  running?: RunningState | undefined
  /** Running time derived so far, and since when. */
  derived?: { hours: number; since: number } | undefined
  meter?: MeterState | undefined
  /** Service hours are the source's total + shift. `metered`: they rest on an hour reading, not on running time alone. */
  service?: { source: string; shift: number; metered: boolean; start: { hours: number; at: number } } | undefined
  startVolumeM3?: number | undefined
  hoursUse: UseDay[]
  volumeUse: UseDay[]
}

/** What decides whether a status is worth recording. */
interface Marks {
  readonly hours: number | undefined
  readonly volumeM3: number | undefined
  readonly source: string | undefined
  readonly startHours: number | undefined
  readonly counters: number
  readonly doubts: number
  readonly day: string | undefined
}

export interface HoursLedger {
  /** Takes judged sets of this machine, in any order; counters move forward in event time only. */
  observe(sets: readonly ReadingSet[]): LedgerEvent[]
  /** Applies what a person said. A decision about a doubt that has settled meanwhile changes nothing. */
  apply(correction: CounterCorrection): LedgerEvent[]
  status(): LedgerStatus
  hours(): LedgerHours
  /** The status, when it moved by 0.05 h or 1 m³, or a source, doubt or day changed, since it was taken last. */
  takeStatus(): LedgerStatus | undefined
  state(): LedgerState
}

/**
 * Keeps the hour counters and the volume of one machine, which never fall and never jump by themselves, and its service
 * hours: those of the first counter in the profile's list that the machine sends, else the running time, else what
 * people read off the meter. A change of source goes on from where the hours stand.
 *
 * @param kept what `state()` gave before; it is taken over and changed
 */
export function hoursLedger(profile: Profile, kept?: LedgerState): HoursLedger {
  const state: LedgerState = kept ?? { type: profile.type, counters: {}, hoursUse: [], volumeUse: [] }
  const { signals: serviceSignals, volume } = profile.serviceCounter
  const running = runningTime(profile)
  const tracked = trackedCounters(profile)
  let recorded: Marks | undefined

  if (state.type !== profile.type) {
    // another type counts by another counter: its programme begins with that one
    state.type = profile.type
    state.beginsAnew = true
    chooseSource()
  }

  return {
    observe(sets) {
      const events: LedgerEvent[] = []
      const inOrder = sets.every((set, i) => i === 0 || (sets[i - 1]?.measuredAt ?? 0) <= set.measuredAt)
      const ordered = inOrder ? sets : [...sets].sort((a, b) => a.measuredAt - b.measuredAt)
      for (const set of ordered) observeSet(set, events)
      return events
    },

    apply(correction) {
      if (correction.kind === 'meter') return readMeter(correction.hours, correction.at)
      if (correction.signal === METER_SOURCE) decideMeter(correction)
      else decideCounter(correction)
      return []
    },

    status,
    hours,

    takeStatus() {
      const now = marks()
      if (recorded && !movedEnough(recorded, now)) return undefined
      recorded = now
      return status()
    },

    state: () => state,
  }

  function observeSet(set: ReadingSet, events: LedgerEvent[]): void {
    const at = set.measuredAt
    state.heardAt = Math.max(state.heardAt ?? at, at)
    if (state.beginsAnew) state.settlesAt = at + SETTLE_MS
    state.beginsAnew = undefined
    for (const { signal, limits } of tracked) {
      const value = set.values.get(signal)
      if (value !== undefined) observeCounter(signal, highest(value), at, limits, events)
    }
    // running time is worth its while only where no counter counts
    if (bestCounter() === undefined) observeRunning(set)
    chooseSource()
  }

  function observeCounter(signal: string, raw: number, at: number, limits: CounterLimits, events: LedgerEvent[]): void {
    const counter = state.counters[signal]
    if (!counter) {
      state.counters[signal] = newCounter(raw, at)
      if (signal === volume) state.startVolumeM3 = raw
      return
    }
    const outcome = readCounter(counter, raw, at, limits)
    if (outcome.kind === 'doubt') events.push(doubtEvent(signal, outcome.doubt, outcome.previous, unitOf(signal)))
    if (outcome.kind !== 'progress') return
    if (outcome.settled) {
      events.push({ type: 'settled', kind: outcome.settled.kind, signal, at: outcome.settled.at })
    }
    countUse(signal, outcome.used, outcome.from, at)
  }

  function countUse(signal: string, used: number, from: number, to: number): void {
    if (signal === state.service?.source) addUse(state.hoursUse, used, from, to)
    if (signal === volume) addUse(state.volumeUse, used, from, to)
  }

  function observeRunning(set: ReadingSet): void {
    const observed = running.observe(state.running, set)
    state.running = observed.state
    if (!state.derived && observed.state && running.isTold(observed.state)) {
      state.derived = { hours: 0, since: set.measuredAt }
    }
    if (!state.derived || observed.state?.at !== set.measuredAt) return
    state.derived.hours += observed.ranMs / HOUR_MS
    // many machines send nothing with the engine off: a night is part of a usual day, a silent day is unknown
    const known = set.measuredAt - observed.from <= DAY_MS
    if (known) countUse(RUNNING_SOURCE, observed.ranMs / HOUR_MS, observed.from, set.measuredAt)
  }

  function chooseSource(): void {
    const best = bestCounter()
    if (best === undefined) chooseRunning()
    if (best !== undefined && best !== state.service?.source) takeSource(best)
  }

  /** The first counter of the list that was heard lately. */
  function bestCounter(): string | undefined {
    const { heardAt = 0, counters } = state
    return serviceSignals.find((signal) => heardAt - (counters[signal]?.heardAt ?? -Infinity) <= SILENT_MS)
  }

  function chooseRunning(): void {
    const { heardAt = 0, derived, running, service } = state
    if (service?.source === RUNNING_SOURCE || !derived || !running) return
    const waited = heardAt - derived.since >= SETTLE_MS
    if (waited && heardAt - running.at <= SILENT_MS) takeSource(RUNNING_SOURCE)
  }

  /** The new source goes on where the old one stood, unless the old one was no hour reading or was hardly begun. */
  function takeSource(source: string): void {
    const { service, heardAt = 0 } = state
    const { value, at } = sourceTotal(source)
    const settling = state.beginsAnew || (state.settlesAt !== undefined && heardAt <= state.settlesAt)
    if (!service || settling || !service.metered) {
      const start = source === RUNNING_SOURCE ? { hours: 0, at: state.derived?.since ?? at } : { hours: value, at }
      state.service = { source, shift: 0, metered: source !== RUNNING_SOURCE, start }
      state.settlesAt ??= heardAt + SETTLE_MS
      state.hoursUse = source === RUNNING_SOURCE ? state.hoursUse : []
      return
    }
    service.shift = serviceHours(service) - value
    service.source = source
  }

  function sourceTotal(source: string): { value: number; at: number } {
    if (source === RUNNING_SOURCE) return { value: state.derived?.hours ?? 0, at: state.running?.at ?? 0 }
    if (source === METER_SOURCE) return { value: state.meter?.hours ?? 0, at: state.meter?.at ?? 0 }
    const counter = state.counters[source]
    return counter ? { value: total(counter), at: counter.at } : { value: 0, at: 0 }
  }

  function serviceHours(service: { source: string; shift: number }): number {
    return sourceTotal(service.source).value + service.shift
  }

  /**
   * The first reading of the meter is the starting point, unless a counter was one before. Later ones have to be
   * plausible against the one before, and correct the running time; a counter of the machine's own knows better.
   */
  function readMeter(hours: number, at: number): LedgerEvent[] {
    const { service } = state
    if (!service?.metered) {
      state.meter = { hours, at }
      const source = service?.source ?? METER_SOURCE
      const shift = source === METER_SOURCE ? 0 : hours - sourceTotal(source).value
      state.service = { source, shift, metered: true, start: { hours, at } }
      return []
    }
    const before = state.meter ?? service.start
    const now = serviceHours(service)
    const possible = before.hours + (at - before.at) / HOUR_MS + hourLimits.slack
    const kind =
      hours < now - hourLimits.slack ? 'counter_fall' : hours > Math.max(possible, now) ? 'counter_jump' : null
    if (kind) {
      const doubt: Doubt = { kind, at, value: hours, raw: hours, rawAt: at, progress: 0 }
      state.meter = { ...before, doubt }
      return [doubtEvent(METER_SOURCE, doubt, now, 'h')]
    }
    takeMeter(hours, at)
    return []
  }

  function takeMeter(hours: number, at: number): void {
    const { service } = state
    if (!service || isSignal(service.source)) return
    const now = serviceHours(service)
    const before = state.meter ?? { hours: now, at }
    if (service.source === METER_SOURCE) addUse(state.hoursUse, Math.max(0, hours - now), before.at, at)
    state.meter = { hours, at }
    service.shift = service.source === METER_SOURCE ? 0 : hours - sourceTotal(service.source).value
  }

  function decideMeter({ doubtAt, resolution, value }: CounterCorrection & { kind: 'doubt' }): void {
    const { meter, service } = state
    if (!meter?.doubt || meter.doubt.at !== doubtAt || !service) return
    const { value: read, at } = meter.doubt
    meter.doubt = undefined
    if (resolution === 'continue') return
    const hours = resolution === 'set' ? (value ?? read) : read
    state.meter = { hours, at }
    service.shift = service.source === METER_SOURCE ? 0 : hours - sourceTotal(service.source).value
  }

  function decideCounter({ signal, doubtAt, resolution, value }: CounterCorrection & { kind: 'doubt' }): void {
    const counter = state.counters[signal]
    if (!counter?.doubt || counter.doubt.at !== doubtAt) return
    const { used, from, to } = decideDoubt(counter, counter.doubt, resolution, value)
    countUse(signal, used, from, to)
    // a first reading that was wrong is no starting point
    const { service, settlesAt = 0 } = state
    if (service?.source !== signal || doubtAt > settlesAt || resolution === 'continue') return
    service.start = { hours: serviceHours(service), at: counter.at }
  }

  function marks(): Marks {
    const { service, counters } = state
    const volumeCounter = volume === undefined ? undefined : counters[volume]
    const all = Object.values(counters)
    return {
      hours: service && serviceHours(service),
      volumeM3: volumeCounter && total(volumeCounter),
      source: service?.source,
      startHours: service?.start.hours,
      counters: all.length,
      doubts: all.filter((counter) => counter.doubt).length,
      day: state.hoursUse.at(-1)?.[0],
    }
  }

  function hours(): LedgerHours {
    const { service } = state
    const volumeCounter = volume === undefined ? undefined : state.counters[volume]
    return {
      hours: service && serviceHours(service),
      source: service?.source,
      at: service && sourceTotal(service.source).at,
      volumeM3: volumeCounter && total(volumeCounter),
    }
  }

  function status(): LedgerStatus {
    const now = hours()
    return {
      ...now,
      start: state.service?.start,
      startVolumeM3: now.volumeM3 === undefined ? undefined : state.startVolumeM3,
      hoursUse: structuredClone(state.hoursUse),
      volumeUse: structuredClone(state.volumeUse),
      counters: Object.fromEntries(
        Object.entries(state.counters).map(([signal, counter]) => [
          signal,
          { value: total(counter), at: counter.at, inDoubt: counter.doubt !== undefined },
        ]),
      ),
    }
  }

  function unitOf(signal: string): string {
    return signal === volume ? 'm³' : 'h'
  }
}

interface TrackedCounter {
  readonly signal: string
  readonly limits: CounterLimits
}

const trackedOf = new WeakMap<Profile, readonly TrackedCounter[]>()

/** The hour counters of a profile and its volume, with what they can do at most. */
function trackedCounters(profile: Profile): readonly TrackedCounter[] {
  const known = trackedOf.get(profile)
  if (known) return known
  const { serviceCounter, signals } = profile
  const hours = [...signals].filter(([, { counter, unit }]) => counter && unit === 'h').map(([name]) => name)
  const limits = new Map([...serviceCounter.signals, ...hours].map((name) => [name, hourLimits]))
  if (serviceCounter.volume !== undefined) limits.set(serviceCounter.volume, volumeLimits)
  const tracked = Array.from(limits, ([signal, most]) => ({ signal, limits: most }))
  trackedOf.set(profile, tracked)
  return tracked
}

function isSignal(source: string | undefined): boolean {
  return source !== undefined && source !== RUNNING_SOURCE && source !== METER_SOURCE
}

function doubtEvent(signal: string, { kind, at, value }: Doubt, previous: number, unit: string): LedgerEvent {
  const what =
    kind === 'counter_fall' ? 'it fell, and a counter never falls' : 'it rose faster than the time that passed allows'
  const detail = `${signal} went from ${previous} ${unit} to ${value} ${unit}: ${what}; it stays at ${previous} ${unit} until somebody decides`
  return { type: 'doubt', kind, signal, at, value, previous, detail }
}

function movedEnough(before: Marks, now: Marks): boolean {
  if (Math.abs((now.hours ?? 0) - (before.hours ?? 0)) >= WORTH_HOURS) return true
  if (Math.abs((now.volumeM3 ?? 0) - (before.volumeM3 ?? 0)) >= WORTH_M3) return true
  return (['source', 'startHours', 'counters', 'doubts', 'day'] as const).some((mark) => before[mark] !== now[mark])
}
