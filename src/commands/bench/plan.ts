import type { BenchOptions } from './options.ts'

/** How long and how large each part of a run is. */
export interface Plan {
  readonly connections: number
  /** Messages in flight per connection under full load. */
  readonly window: number
  readonly manyConnections: number
  readonly warmUpSeconds: number
  readonly fullSeconds: number
  readonly halfSeconds: number
  /** The service and the bare brokers take turns so often, each for so long. */
  readonly rounds: number
  readonly sliceSeconds: number
  readonly rawStoreSeconds: number
  /** Numbers of machines with state at which memory is looked at. */
  readonly fleets: readonly number[]
  /** Sets of all signals that each of them sends. */
  readonly setsEach: number
  /** Before memory is looked at, and before the service is killed under load. */
  readonly settleSeconds: number
  /** When what has not begun by then is left out. */
  readonly endsWithinMs: number
  /** Of that, kept free for counting what was stored, and for the fleet: a store that falls behind must not take it. */
  readonly countMs: number
  readonly fleetMs: number
}

const DEFAULT_SECONDS = 60

export function planOf({ quick, seconds, connections }: BenchOptions): Plan {
  const same = { connections, window: 20, fullSeconds: seconds, countMs: 40_000, fleetMs: 100_000 }
  if (quick)
    return {
      ...same,
      manyConnections: 200,
      warmUpSeconds: 1,
      halfSeconds: 1,
      rounds: 1,
      sliceSeconds: 1,
      rawStoreSeconds: 1,
      fleets: [200],
      setsEach: 2,
      settleSeconds: 1,
      endsWithinMs: 455_000,
    }
  return {
    ...same,
    manyConnections: 1_000,
    warmUpSeconds: 5,
    halfSeconds: 20,
    rounds: 3,
    sliceSeconds: 5,
    rawStoreSeconds: 8,
    fleets: [1_000, 10_000],
    setsEach: 5,
    settleSeconds: 3,
    endsWithinMs: (455 + Math.max(0, seconds - DEFAULT_SECONDS)) * 1_000,
  }
}
