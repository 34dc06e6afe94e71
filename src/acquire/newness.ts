import type { ReadingSet, SignalValue } from '../reading.ts'
import type { ReadingIdentity, StoredReading } from '../store/telemetry-store.ts'
import { type SequenceCounts, trackSequence } from './sequence.ts'

/** A judged set with what of it was not known before. */
interface NewnessOfSet {
  readonly set: ReadingSet
  /** Values that are new, or that replace another one under the same identity. */
  readonly newValues: ReadonlyMap<string, SignalValue>
  /** `stored` when any of its values is new, `duplicate` when none is. */
  readonly outcome: 'stored' | 'duplicate'
}

/** A batch whose newness is decided; nothing is remembered of it before `commit`. */
export interface NewnessOfBatch {
  /** In the order in which the sets were given. */
  readonly sets: readonly NewnessOfSet[]
  /** What the store does not have; no identity twice. */
  readonly append: readonly StoredReading[]
  /** What the store has with another value. */
  readonly replacing: readonly StoredReading[]
  /** How often a value met another one under its identity. */
  readonly conflicts: number
  /** The store has taken it: its readings are known from now on. */
  commit(): void
  /** The store has not taken it: the batch may be judged again. */
  rollback(): void
}

export interface Newness {
  /**
   * Decides what of a batch is new. Identity is (machine, signal, measuredAt); of two values under one identity the
   * later received wins. One batch at a time: the one before must be committed or rolled back.
   * @param sets in the order of receipt
   * @throws whatever the store throws; then nothing has changed
   */
  judge(sets: readonly ReadingSet[]): Promise<NewnessOfBatch>
  /** Takes over marks of readings that came into the store by another way (two machines merged). */
  raise(marks: readonly ReadingIdentity[]): void
  /** Numbers skipped, filled late and repeated in `seq`, over all committed batches. */
  sequence(): SequenceCounts
}

export interface NewnessStore {
  find(identities: readonly ReadingIdentity[]): Promise<readonly StoredReading[]>
  highWaterMarks(): Promise<readonly ReadingIdentity[]>
}

const FIND_AT_ONCE = 20_000 // a backlog of an offline week must not become one statement

/**
 * Exact recognition of readings that came before. What is newer than anything known of its machine and signal needs
 * no look into the store, and nearly everything is.
 */
export async function openNewness(store: NewnessStore): Promise<Newness> {
  const marks = openMarks()
  for (const mark of await store.highWaterMarks()) marks.raise(mark.machine, mark.signal, mark.measuredAt)
  const sequence = trackSequence()
  let open = false

  const findStored = async (identities: readonly ReadingIdentity[]) => {
    const found: StoredReading[] = []
    for (let from = 0; from < identities.length; from += FIND_AT_ONCE) {
      found.push(...(await store.find(identities.slice(from, from + FIND_AT_ONCE))))
    }
    return found
  }

  return {
    async judge(sets) {
      if (open) throw new Error('the batch before must be committed or rolled back first')
      open = true
      try {
        // received out of order is often still new: in order of measuring only what is really old needs the store
        let order = sets
        let old = notNewer(order, marks)
        if (old.size > 0) {
          order = [...sets].sort((a, b) => a.measuredAt - b.measuredAt)
          old = notNewer(order, marks)
        }
        const stored = old.size > 0 ? await findStored([...old.values()]) : []
        const decided = decide(order, old, stored)
        const bySet = new Map(decided.sets.map((item) => [item.set, item]))
        return {
          ...decided,
          sets: order === sets ? decided.sets : sets.map((set) => bySet.get(set) as NewnessOfSet),
          commit() {
            for (const { machine, signal, measuredAt } of decided.append) marks.raise(machine, signal, measuredAt)
            for (const { machine, seq, measuredAt } of order) {
              if (seq !== undefined) sequence.note(machine, seq, measuredAt)
            }
            open = false
          },
          rollback() {
            open = false
          },
        }
      } catch (error) {
        open = false
        throw error
      }
    },
    raise(found) {
      for (const mark of found) marks.raise(mark.machine, mark.signal, mark.measuredAt)
    },
    sequence: sequence.counts,
  }
}

/** Newest `measuredAt` per machine and signal: one number each, in one block, for 300,000 and more of them. */
function openMarks() {
  const machines = new Map<string, Map<string, number>>() // machine → signal → place in `newest`
  let newest = new Float64Array(1024)
  let used = 0

  return {
    /** @returns −Infinity where nothing is known */
    get(machine: string, signal: string): number {
      const place = machines.get(machine)?.get(signal)
      return place === undefined ? Number.NEGATIVE_INFINITY : (newest[place] as number)
    },
    raise(machine: string, signal: string, measuredAt: number): void {
      let places = machines.get(machine)
      if (!places) {
        places = new Map()
        machines.set(machine, places)
      }
      const place = places.get(signal)
      if (place !== undefined) {
        if (measuredAt > (newest[place] as number)) newest[place] = measuredAt
        return
      }
      if (used === newest.length) {
        const larger = new Float64Array(used * 2)
        larger.set(newest)
        newest = larger
      }
      places.set(signal, used)
      newest[used++] = measuredAt
    },
  }
}

type Marks = ReturnType<typeof openMarks>

function keyOf(machine: string, signal: string, measuredAt: number): string {
  return `${machine}/${measuredAt}/${signal}` // an id of a machine has no slash
}

/** The identities that are not newer than everything before them, in the marks or in the batch itself. */
function notNewer(sets: readonly ReadingSet[], marks: Marks): Map<string, ReadingIdentity> {
  const old = new Map<string, ReadingIdentity>()
  const batch = new Map<string, Map<string, number>>()
  for (const { machine, measuredAt, values } of sets) {
    let newest = batch.get(machine)
    if (!newest) {
      newest = new Map()
      batch.set(machine, newest)
    }
    for (const signal of values.keys()) {
      const mark = newest.get(signal) ?? marks.get(machine, signal)
      if (measuredAt > mark) newest.set(signal, measuredAt)
      else old.set(keyOf(machine, signal, measuredAt), { machine, signal, measuredAt })
    }
  }
  return old
}

/** A reading on its way, whose value a later one of the batch may still overwrite. */
type Draft = { -readonly [K in keyof StoredReading]: StoredReading[K] }

function decide(
  sets: readonly ReadingSet[],
  old: ReadonlyMap<string, ReadingIdentity>,
  stored: readonly StoredReading[],
) {
  const known = new Map<string, { value: SignalValue; draft: Draft | undefined }>()
  for (const { machine, signal, measuredAt, value } of stored) {
    known.set(keyOf(machine, signal, measuredAt), { value, draft: undefined })
  }
  const append: StoredReading[] = []
  const replacing: StoredReading[] = []
  let conflicts = 0

  const judged = sets.map((set): NewnessOfSet => {
    const { machine, measuredAt, values } = set
    const newValues = new Map<string, SignalValue>()
    for (const [signal, value] of values) {
      const key = old.size > 0 ? keyOf(machine, signal, measuredAt) : ''
      const doubtful = old.has(key)
      const before = doubtful ? known.get(key) : undefined
      if (!before) {
        const draft: Draft = { machine, signal, measuredAt, value }
        append.push(draft)
        if (doubtful) known.set(key, { value, draft })
        newValues.set(signal, value)
        continue
      }
      if (sameValue(before.value, value)) continue

      conflicts++
      newValues.set(signal, value)
      before.value = value
      if (before.draft) {
        before.draft.value = value
        continue
      }
      before.draft = { machine, signal, measuredAt, value }
      replacing.push(before.draft)
    }
    return { set, newValues, outcome: newValues.size > 0 ? 'stored' : 'duplicate' }
  })
  return { sets: judged, append, replacing, conflicts }
}

function sameValue(a: SignalValue, b: SignalValue): boolean {
  if (typeof a === 'number' || typeof b === 'number') return a === b
  return a.min === b.min && a.mean === b.mean && a.max === b.max && a.n === b.n
}
