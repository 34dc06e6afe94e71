import type { ClockPolicies } from '../machines/clock-policies.ts'
import type { ClockBook } from './clock-book.ts'
import type { ClockPolicy } from './clock-policy.ts'
import { type BacklogEpisode, type ClockJump, clockDrift, type DeviceClock, latestOffset } from './device-clock.ts'

export const CLOCK_STATES = ['unknown', 'right', 'ahead', 'behind'] as const

/** What is known of a device's clock, after its policy has mended it. Times in epoch ms, lengths in ms. */
export interface ClockView {
  readonly device: string
  /** Whom it speaks for now. */
  readonly machine: string
  readonly policy: ClockPolicy | { readonly kind: 'as_sent' }
  /** `right` to a minute. */
  readonly state: (typeof CLOCK_STATES)[number]
  /** How far it is ahead of ours, the fastest way to us included. */
  readonly offsetMs: number | null
  readonly driftPpm: number | null
  /** How much later than the fastest a live reading comes, on average. */
  readonly latenessMs: number | null
  readonly liveAt: number | null
  readonly readings: { readonly live: number; readonly backlog: number; readonly refused: number }
  readonly jumps: number
  readonly lastJump: ClockJump | null
  readonly backlog: BacklogView | null
}

/** What it sent last of what it had kept. */
export interface BacklogView {
  readonly isUnderWay: boolean
  readonly order: 'oldest_first' | 'newest_first' | 'mixed'
  readonly since: number
  readonly until: number
  readonly readings: number
  /** Live readings that came between. */
  readonly live: number
  readonly oldest: number
  readonly newest: number
}

export interface ClockViewQuery {
  readonly device?: string | undefined
  readonly machine?: string | undefined
  readonly state?: ClockView['state'] | undefined
  /** Goes on behind this device. */
  readonly after?: string | undefined
  readonly limit: number
  readonly now: number
}

const RIGHT_MS = 60_000
const UNDER_WAY_MS = 60_000

/** Clocks in order of their devices' ids, at most `limit`. */
export function viewClocks(
  book: Pick<ClockBook, 'clock' | 'clocks'>,
  policies: Pick<ClockPolicies, 'at'>,
  query: ClockViewQuery & { readonly machineOf: (device: string, at: number) => string },
): ClockView[] {
  const { device, machine, state, after = '', limit, now, machineOf } = query
  const devices = device !== undefined ? [device] : Array.from(book.clocks(), ([id]) => id)
  const views: ClockView[] = []
  for (const id of devices.filter((one) => one > after).sort()) {
    const clock = book.clock(id)
    if (!clock || (machine !== undefined && machineOf(id, now) !== machine)) continue
    if (state !== undefined && stateOf(clock) !== state) continue
    views.push(viewOf(id, clock, machineOf(id, now), policies, now))
    if (views.length >= limit) break
  }
  return views
}

function viewOf(
  device: string,
  clock: DeviceClock,
  machine: string,
  policies: Pick<ClockPolicies, 'at'>,
  now: number,
): ClockView {
  const { lateness, liveAt, live, backlog, refused, jumps, lastJump, episode } = clock
  return {
    device,
    machine,
    policy: policies.at(device, now)?.policy ?? { kind: 'as_sent' },
    state: stateOf(clock),
    offsetMs: known(latestOffset(clock), 0),
    driftPpm: known(clockDrift(clock), 1),
    latenessMs: known(lateness, 0),
    liveAt: known(liveAt, 0),
    readings: { live, backlog, refused },
    jumps,
    lastJump: lastJump ?? null,
    backlog: episode ? backlogOf(episode, now) : null,
  }
}

function stateOf(clock: DeviceClock): ClockView['state'] {
  const offset = latestOffset(clock)
  if (Number.isNaN(offset)) return 'unknown'
  if (Math.abs(offset) <= RIGHT_MS) return 'right'
  return offset > 0 ? 'ahead' : 'behind'
}

function backlogOf(episode: BacklogEpisode, now: number): BacklogView {
  const { since, until, readings, live, oldest, newest, rising, falling } = episode
  return {
    isUnderWay: now - until <= UNDER_WAY_MS,
    order: orderOf(rising, falling),
    since,
    until,
    readings,
    live,
    oldest,
    newest,
  }
}

/** One reading out of ten may be out of line. */
function orderOf(rising: number, falling: number): BacklogView['order'] {
  if (falling * 9 <= rising) return 'oldest_first'
  return rising * 9 <= falling ? 'newest_first' : 'mixed'
}

function known(value: number, digits: number): number | null {
  return Number.isNaN(value) ? null : Number(value.toFixed(digits))
}
