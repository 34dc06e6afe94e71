import { median } from './median.ts'

/**
 * What arrival says of a device's clock. A reading cannot arrive before it was measured, so of all readings those that
 * came fastest show the clock best: `offset` is the highest of measuredAt − receivedAt, over half an hour to an hour.
 * What comes later than that is backlog, or a clock that was put back: only the second keeps pace with our time.
 */

/** Readings this close to the fastest ones are live, ms. */
const BAND_MS = 60_000
/** What comes so much later than the fastest ones is backlog, ms. */
const BACKLOG_MS = 5 * 60_000
/** A new place of the clock is believed when readings stay this close to it, … */
const STEADY_MS = 30_000
/** … this many where they come from the future, which no backlog does, … */
const AHEAD_READINGS = 3
/** … and otherwise this many over so long. */
const BEHIND_READINGS = 5
const BEHIND_MS = 60_000
/** A place that nothing has spoken for in so long was a mistake. */
const STALE_MS = 3_600_000
/** A backlog of which nothing comes for so long is over. */
const BACKLOG_PAUSE_MS = 60_000
const WINDOW_MS = 30 * 60_000
const WINDOWS = 48
const LEAST_WINDOWS = 4
const LATENESS_WEIGHT = 1 / 64

/** Times in epoch ms, lengths in ms; numbers of what is not known yet are NaN. */
export interface DeviceClock {
  /** How far the clock is ahead of ours, the fastest way to us included; negative: behind. */
  offset: number
  /** Whether it has ever been right to a minute. */
  wasRight: boolean
  /** How much later than the fastest a live reading comes, on average. */
  lateness: number
  /** Receipt of the newest reading, and of the newest live one. */
  heardAt: number
  liveAt: number
  live: number
  backlog: number
  /** Readings that were refused as being ahead. */
  refused: number
  jumps: number
  /** Receipt that made the last jump certain which was not one of many. */
  jumpedAt: number
  lastJump: ClockJump | undefined
  /** The last time that it sent what it had kept. */
  episode: BacklogEpisode | undefined
  /** Highest offset in the running window, in the one before (−Infinity: none), and in each of the last day (NaN: none). */
  best: number
  bestBefore: number
  window: number
  readonly history: Float64Array
  /** A place at which the clock may be by now. */
  candidate: number
  candidateSince: number
  candidateAt: number
  candidates: number
}

/** The clock was put somewhere else. */
export interface ClockJump {
  /** Receipt of the first reading after it. */
  readonly at: number
  /** Offsets before and after. */
  readonly from: number
  readonly to: number
}

/** Readings that were kept on the way to us, until a minute passes without any. */
export interface BacklogEpisode {
  /** Receipt of the first and of the last one. */
  readonly since: number
  until: number
  readings: number
  /** Times of measuring. */
  oldest: number
  newest: number
  last: number
  /** How often one was newer than the one before it, and older. */
  rising: number
  falling: number
  /** Live readings that came between. */
  live: number
}

export function deviceClock(): DeviceClock {
  return {
    offset: Number.NaN,
    wasRight: false,
    lateness: Number.NaN,
    heardAt: Number.NaN,
    liveAt: Number.NaN,
    live: 0,
    backlog: 0,
    refused: 0,
    jumps: 0,
    jumpedAt: Number.NaN,
    lastJump: undefined,
    episode: undefined,
    best: Number.NEGATIVE_INFINITY,
    bestBefore: Number.NEGATIVE_INFINITY,
    window: Number.NaN,
    history: new Float64Array(WINDOWS).fill(Number.NaN),
    candidate: Number.NaN,
    candidateSince: Number.NaN,
    candidateAt: Number.NaN,
    candidates: 0,
  }
}

/** Begins anew where the clock is read in another way; what was counted stays. */
export function restartClock({ live, backlog, refused, jumps, lastJump, episode }: DeviceClock): DeviceClock {
  return { ...deviceClock(), live, backlog, refused, jumps, lastJump, episode }
}

/**
 * Takes a reading set into account, in the order of receipt.
 *
 * @returns the jump that it makes certain
 */
export function hearClock(clock: DeviceClock, measuredAt: number, receivedAt: number): ClockJump | undefined {
  const offset = measuredAt - receivedAt
  clock.heardAt = receivedAt
  if (Math.abs(offset - clock.offset) <= BAND_MS) {
    hearLive(clock, offset, receivedAt)
    return undefined
  }
  if (isBacklog(clock, offset)) hearBacklog(clock, measuredAt, receivedAt)
  else clock.live++
  return weigh(clock, offset, receivedAt)
}

/** How far the clock is ahead by the newest word of it, certain or not; NaN where there is none. */
export function latestOffset(clock: DeviceClock): number {
  const isNewer = clock.candidates > 0 && !isBacklog(clock, clock.candidate) // a live reading would have taken it away
  return isNewer ? clock.candidate : clock.offset
}

/** How far the place where the clock may be by now lies from the known one; NaN where there is no such place. */
export function candidateShift({ offset, candidate, candidates }: DeviceClock): number {
  return candidates > 0 ? candidate - offset : Number.NaN
}

/**
 * How fast the clock gains on ours: the median of the slopes between half-hours of the last day.
 *
 * @returns parts per million, 11.6 of which are a second a day; NaN where less than two hours are known
 */
export function clockDrift({ history, window, best }: DeviceClock): number {
  const known: [number, number][] = []
  for (let age = WINDOWS - 1; age > 0; age--) {
    const offset = history[slotOf(window - age)] as number
    if (!Number.isNaN(offset)) known.push([window - age, offset])
  }
  if (Number.isFinite(best)) known.push([window, best])
  if (known.length < LEAST_WINDOWS) return Number.NaN
  const slopes = known.flatMap(([at, offset], index) =>
    known.slice(index + 1).map(([laterAt, laterOffset]) => (laterOffset - offset) / (laterAt - at)),
  )
  return (median(slopes) / WINDOW_MS) * 1e6
}

/** Whether a reading comes later than its clock alone can explain. */
function isBacklog({ offset: known }: DeviceClock, offset: number): boolean {
  return offset < (Number.isNaN(known) ? 0 : known) - BACKLOG_MS
}

function hearLive(clock: DeviceClock, offset: number, receivedAt: number): void {
  clock.live++
  clock.liveAt = receivedAt
  clock.candidates = 0
  const window = Math.floor(receivedAt / WINDOW_MS)
  if (window > clock.window) turnTo(clock, window)
  clock.best = Math.max(clock.best, offset)
  clock.offset = Math.max(clock.best, clock.bestBefore)
  clock.lateness += (clock.offset - offset - clock.lateness) * LATENESS_WEIGHT
  if (clock.episode && receivedAt - clock.episode.until <= BACKLOG_PAUSE_MS) clock.episode.live++
}

function turnTo(clock: DeviceClock, window: number): void {
  clock.history[slotOf(clock.window)] = Number.isFinite(clock.best) ? clock.best : Number.NaN
  for (let gone = Math.max(clock.window + 1, window - WINDOWS + 1); gone <= window; gone++) {
    clock.history[slotOf(gone)] = Number.NaN
  }
  clock.bestBefore = clock.best
  clock.best = Number.NEGATIVE_INFINITY
  clock.window = window
}

function slotOf(window: number): number {
  return ((window % WINDOWS) + WINDOWS) % WINDOWS
}

function hearBacklog(clock: DeviceClock, measuredAt: number, receivedAt: number): void {
  clock.backlog++
  const { episode } = clock
  if (!episode || receivedAt - episode.until > BACKLOG_PAUSE_MS) {
    clock.episode = {
      since: receivedAt,
      until: receivedAt,
      readings: 1,
      oldest: measuredAt,
      newest: measuredAt,
      last: measuredAt,
      rising: 0,
      falling: 0,
      live: 0,
    }
    return
  }
  episode.until = receivedAt
  episode.readings++
  if (measuredAt > episode.last) episode.rising++
  else if (measuredAt < episode.last) episode.falling++
  if (measuredAt > episode.newest) episode.newest = measuredAt
  if (measuredAt < episode.oldest) episode.oldest = measuredAt
  episode.last = measuredAt
}

/** Whether a reading away from the known place speaks for another one. A higher place is taken up at once: backlog lies below. */
function weigh(clock: DeviceClock, offset: number, receivedAt: number): ClockJump | undefined {
  if (clock.candidates > 0 && Math.abs(offset - clock.candidate) <= STEADY_MS) {
    clock.candidates++
    clock.candidateAt = receivedAt
    const isAhead = clock.candidate > clock.offset
    const enough = isAhead
      ? clock.candidates >= AHEAD_READINGS
      : clock.candidates >= BEHIND_READINGS && receivedAt - clock.candidateSince >= BEHIND_MS
    return enough ? settle(clock, offset, receivedAt) : undefined
  }
  const isStale = receivedAt - clock.candidateAt > STALE_MS
  if (clock.candidates > 0 && offset < clock.candidate && !isStale) return undefined
  clock.candidate = offset
  clock.candidateSince = receivedAt
  clock.candidateAt = receivedAt
  clock.candidates = 1
  return undefined
}

/** Goes on at the new place, from which what came meanwhile was no backlog. */
function settle(clock: DeviceClock, offset: number, receivedAt: number): ClockJump | undefined {
  const { offset: before, candidate, candidateSince, candidates } = clock
  if (isBacklog(clock, candidate)) {
    clock.backlog -= candidates
    clock.live += candidates
    clock.episode = undefined
  }
  clock.offset = Math.max(candidate, offset)
  clock.best = clock.offset
  clock.bestBefore = Number.NEGATIVE_INFINITY
  clock.window = Math.floor(receivedAt / WINDOW_MS)
  clock.history.fill(Number.NaN)
  clock.lateness = 0
  clock.liveAt = receivedAt
  clock.candidates = 0
  if (Math.abs(clock.offset) <= BAND_MS) clock.wasRight = true
  return Number.isNaN(before) ? undefined : { at: candidateSince, from: before, to: clock.offset }
}
