import type { SignalValue } from '../reading.ts'

/** One value of one signal of one machine at one instant. (machine, signal, measuredAt) is its identity. */
export interface StoredReading {
  readonly machine: string
  readonly signal: string
  readonly measuredAt: number
  readonly value: SignalValue
}

/** What one machine measured at one instant, as it is appended. */
export interface StoredSet {
  readonly machine: string
  readonly measuredAt: number
  readonly values: ReadonlyMap<string, SignalValue>
}

export interface ReadingIdentity {
  readonly machine: string
  readonly signal: string
  readonly measuredAt: number
}

export type BucketFunction = 'mean' | 'min' | 'max' | 'last' | 'count'

export interface RangeQuery {
  readonly machine: string
  readonly signal: string
  /** Inclusive, epoch ms. */
  readonly from: number
  /** Exclusive, epoch ms. */
  readonly to: number
}

export interface BucketQuery extends RangeQuery {
  /** Width of a bucket in ms; aligned to the epoch, or to site-local midnight where `timeZone` is given. */
  readonly everyMs: number
  readonly fn: BucketFunction
  /** IANA zone; only for whole days. Buckets of several days are counted from 1970-01-01. */
  readonly timeZone?: string | undefined
}

/** Epoch ms of the reading (or of the bucket's start) and the value; a raw summary's value is its mean. */
export type Point = readonly [measuredAt: number, value: number]

export interface LatestReading {
  readonly signal: string
  readonly measuredAt: number
  readonly value: SignalValue
}

/**
 * Where readings stand for good. Both adapters give the same answers.
 * Every method throws when the engine cannot be reached; trying again is right, nothing was half done.
 */
export interface TelemetryStore {
  /**
   * Makes the readings durable, all or none. The caller has decided what is new: no identity occurs twice in one
   * batch. Those in `replacing` exist already with another value, which is overwritten. After it resolves, every read sees them.
   */
  append(sets: readonly StoredSet[], replacing?: readonly StoredReading[]): Promise<void>

  /** The stored values of those identities that are in the store, in any order; absent ones are left out. */
  find(identities: readonly ReadingIdentity[]): Promise<StoredReading[]>

  /** Newest `measuredAt` per (machine, signal), to judge what is new after a restart; to be walked through at once. */
  highWaterMarks(): Promise<Iterable<ReadingIdentity>>

  /** Raw points in order of time, at most `limit`; a caller that gets `limit` of them knows there may be more. */
  range(query: RangeQuery, limit: number): Promise<Point[]>

  /** Raw readings (summaries whole) of several signals of one machine in order of time: what a late judgement reads. */
  history(query: { machine: string; signals?: readonly string[]; from: number; to: number }): Promise<StoredReading[]>

  /**
   * One point per bucket that holds readings, in order of time, under the start of the bucket, which may lie before
   * `from`. `count` counts samples: a summary counts its n, and its min, mean and max take part as such; `last` is the
   * newest reading's mean.
   */
  buckets(query: BucketQuery): Promise<Point[]>

  /** The newest reading of each signal of a machine. */
  latest(machine: string): Promise<LatestReading[]>

  /** Deletes what was measured before `before` (epoch ms) and says how many readings that were. */
  dropBefore(before: number): Promise<number>

  /**
   * Moves the readings of one machine (those with `measuredFrom` ≤ measuredAt < `measuredTo`) to another and says how
   * many these were; where both hold an identity, the target's stays and the other is dropped. Used when two machines
   * are merged.
   */
  reassign(query: { from: string; to: string; measuredFrom?: number; measuredTo?: number }): Promise<number>

  close(): Promise<void>
}
