import type { Payload } from './payload.ts'

/** What the generator is asked to publish, each machine over a connection of its own. */
export interface Load {
  readonly port: number
  readonly machines: readonly string[]
  /** Per machine: the number of its first message. */
  readonly first: readonly number[]
  /** Messages of a machine that may be unacknowledged. */
  readonly window: number
  readonly payload: Payload
  /** Time of each machine's message 0, epoch ms. */
  readonly startMs: number
  /** When it ends: after so long, or when each machine has published so much. */
  readonly until: { readonly seconds: number } | { readonly messagesEach: number }
  /** In all; without it, as fast as they are acknowledged. */
  readonly messagesPerSecond?: number | undefined
}

/** What came of a load. */
export interface LoadOutcome {
  /** Until no more was published; the acknowledgements that were still due were awaited after that. */
  readonly seconds: number
  /** Of all machines within these seconds. */
  readonly acknowledgedWithin: number
  /** Per machine, what was still due included. */
  readonly sent: readonly number[]
  readonly acknowledged: readonly number[]
  /** Times to the acknowledgement, see `latency-histogram.ts`. */
  readonly latencies: Uint32Array
  /** CPU time of the generator's process within these seconds. */
  readonly cpuSeconds: number
  /** Why connections were lost; empty: none was. */
  readonly lostConnections: readonly string[]
}

/** What the generator's process says. */
export type GeneratorNotice =
  | { readonly kind: 'ready' }
  | { readonly kind: 'started' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'outcome'; readonly outcome: LoadOutcome }
  | { readonly kind: 'failed'; readonly reason: string }
