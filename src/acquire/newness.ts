import { pairSlots } from '../pair-slots.ts'
import type { ReadingSet, SignalValue } from '../reading.ts'
import type { ReadingIdentity, StoredReading, StoredSet } from '../store/telemetry-store.ts'
import { type KnownGaps, knownGaps } from './known-gaps.ts'
import { type MachineSequence, type SequenceCounts, trackSequence } from './sequence.ts'

/** A judged set with what of it was not known before. */
interface NewnessOfSet {
  readonly set: ReadingSet
  /** Values that are new, or that replace another one under the same identity; the set's own where all of them are. */
  readonly newValues: ReadonlyMap<string, SignalValue>
  /** `stored` when any of its values is new, `duplicate` when none is. */
  readonly outcome: 'stored' | 'duplicate'
}

/** A batch whose newness is decided; nothing is remembered of it before `commit`. */
export interface NewnessOfBatch {
  /** In the order in which the sets were given. */
  readonly sets: readonly NewnessOfSet[]
  /** What the store does not have; no identity twice. */
  readonly append: readonly StoredSet[]
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
  raise(marks: Iterable<ReadingIdentity>): void
  /** Numbers skipped, filled late and repeated in `seq`, over all committed batches. */
  sequence(): SequenceCounts
  /** The same of one machine; undefined where it numbers nothing. */
  sequenceOf(machine: string): MachineSequence | undefined
}

export interface NewnessStore {
  find(identities: readonly ReadingIdentity[]): Promise<readonly StoredReading[]>
  highWaterMarks(): Promise<Iterable<ReadingIdentity>>
}

const FIND_AT_ONCE = 20_000 // a backlog of an offline week must not become one statement

/**
 * Exact recognition of readings that came before. What is newer than anything known of its machine and signal needs
 * no look into the store, and nearly everything is.
 */
export async function openNewness(store: NewnessStore): Promise<Newness> {
  const marks = openMarks()
  const gaps = knownGaps()
  const raise = ({ machine, signal, measuredAt }: ReadingIdentity) => {
    marks.raise(machine, signal, measuredAt)
    gaps.forget(machine, measuredAt)
  }
  for (const mark of await store.highWaterMarks()) raise(mark)
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
        let doubts: Doubts | undefined
        if (!marks.pass(order)) {
          marks.rollback()
          order = [...sets].sort((a, b) => a.measuredAt - b.measuredAt)
          doubts = marks.passDoubting(order, gaps)
        }
        const stored = doubts ? await findStored(inDoubt(doubts, gaps)) : []
        const decided = doubts?.size ? decide(order, doubts, stored) : allNew(order)
        const bySet = order === sets ? undefined : new Map(decided.sets.map((item) => [item.set, item]))
        return {
          ...decided,
          sets: bySet ? sets.map((set) => bySet.get(set) as NewnessOfSet) : decided.sets,
          commit() {
            marks.commit()
            for (const { machine, seq, measuredAt } of order) {
              gaps.note(machine, measuredAt)
              if (seq !== undefined) sequence.note(machine, seq, measuredAt)
            }
            open = false
          },
          rollback() {
            marks.rollback()
            open = false
          },
        }
      } catch (error) {
        marks.rollback()
        open = false
        throw error
      }
    },
    raise(found) {
      for (const mark of found) raise(mark)
    },
    sequence: sequence.counts,
    sequenceOf: sequence.of,
  }
}

/**
 * Newest `measuredAt` per machine and signal, for 300,000 and more of them: one number each in a block, and a second one
 * for the batch that is under way.
 */
function openMarks() {
  const places = pairSlots()
  const machines = numbering()
  const signals = numbering()
  let newest = new Float64Array(1024)
  let passed = new Float64Array(1024)
  const moved: number[] = [] // places at which the two differ

  function placeOf(machine: number, signal: string): number {
    const before = places.size
    const place = places.slotOf(machine, signals(signal))
    if (places.size === before) return place
    if (place === newest.length) {
      newest = doubled(newest)
      passed = doubled(passed)
    }
    newest[place] = Number.NEGATIVE_INFINITY
    passed[place] = Number.NEGATIVE_INFINITY
    return place
  }

  /** @returns whether the mark was lower */
  function move(place: number, measuredAt: number): boolean {
    const mark = passed[place] as number
    if (measuredAt <= mark) return false
    if (mark === newest[place]) moved.push(place)
    passed[place] = measuredAt
    return true
  }

  return {
    /** Lets a batch pass as far as each value is newer than everything before it. @returns whether all are */
    pass(sets: readonly ReadingSet[]): boolean {
      let measuredAt = 0
      let machine = 0
      let areNewer = true
      const passOne = (_: SignalValue, signal: string) => {
        if (!move(placeOf(machine, signal), measuredAt)) areNewer = false
      }
      for (const set of sets) {
        measuredAt = set.measuredAt
        machine = machines(set.machine)
        set.values.forEach(passOne)
        if (!areNewer) return false
      }
      return true
    },
    /** @param sets in order of time @returns what is not newer than everything before it, and may be known */
    passDoubting(sets: readonly ReadingSet[], gaps: KnownGaps): Doubts {
      const doubts: Doubts = new Map()
      const isShared = shared(sets)
      for (const [index, { machine, measuredAt, values }] of sets.entries()) {
        const number = machines(machine)
        const isNew = isShared[index] === 0 && gaps.hold(machine, measuredAt)
        for (const signal of values.keys()) {
          if (!move(placeOf(number, signal), measuredAt) && !isNew)
            doubtOf(doubts, machine, measuredAt).signals.add(signal)
        }
      }
      return doubts
    },
    commit(): void {
      for (const place of moved) newest[place] = passed[place] as number
      moved.length = 0
    },
    rollback(): void {
      for (const place of moved) passed[place] = newest[place] as number
      moved.length = 0
    },
    /** Between batches only. */
    raise(machine: string, signal: string, measuredAt: number): void {
      const place = placeOf(machines(machine), signal)
      if (measuredAt <= (newest[place] as number)) return
      newest[place] = measuredAt
      passed[place] = measuredAt
    },
  }
}

/** Numbers names from 0, in the order in which they are met. */
function numbering(): (name: string) => number {
  const numbers = new Map<string, number>()
  return (name) => {
    const known = numbers.get(name)
    if (known !== undefined) return known
    numbers.set(name, numbers.size)
    return numbers.size - 1
  }
}

function doubled(block: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(block.length * 2)
  larger.set(block)
  return larger
}

/** What may be known already, by machine and time: no text has to be made for each value. */
type Doubts = Map<string, Map<number, Doubt>>

interface Doubt {
  readonly signals: Set<string>
  /** Values under that time, as the batch leaves them. */
  readonly known: Map<string, Draft>
}

/** Where a value stands, which a later one of the batch may still overwrite. */
interface Draft {
  value: SignalValue
  put(value: SignalValue): void
}

function doubtOf(doubts: Doubts, machine: string, measuredAt: number): Doubt {
  let times = doubts.get(machine)
  if (!times) {
    times = new Map()
    doubts.set(machine, times)
  }
  let doubt = times.get(measuredAt)
  if (!doubt) {
    doubt = { signals: new Set(), known: new Map() }
    times.set(measuredAt, doubt)
  }
  return doubt
}

/** What only the store can tell. */
function inDoubt(doubts: Doubts, gaps: KnownGaps): ReadingIdentity[] {
  const identities: ReadingIdentity[] = []
  for (const [machine, times] of doubts) {
    for (const [measuredAt, { signals }] of times) {
      if (gaps.hold(machine, measuredAt)) continue
      for (const signal of signals) identities.push({ machine, signal, measuredAt })
    }
  }
  return identities
}

/** 1 for each set that shares its machine and time with another one. @param sets in order of time */
function shared(sets: readonly ReadingSet[]): Uint8Array {
  const flags = new Uint8Array(sets.length)
  const before = new Map<string, number>()
  for (const [index, { machine, measuredAt }] of sets.entries()) {
    const other = before.get(machine)
    if (other !== undefined && sets[other]?.measuredAt === measuredAt) {
      flags[other] = 1
      flags[index] = 1
    }
    before.set(machine, index)
  }
  return flags
}

/** What is known of sets of which nothing was known before. */
export function allNew(sets: readonly ReadingSet[]) {
  const judged = sets.map((set): NewnessOfSet => ({ set, newValues: set.values, outcome: 'stored' }))
  return { sets: judged, append: sets, replacing: [], conflicts: 0 }
}

function decide(sets: readonly ReadingSet[], doubts: Doubts, stored: readonly StoredReading[]) {
  const append: StoredSet[] = []
  const replacing: StoredReading[] = []
  let conflicts = 0
  for (const reading of stored)
    doubtOf(doubts, reading.machine, reading.measuredAt).known.set(reading.signal, storedDraft(reading, replacing))

  const judged = sets.map((set): NewnessOfSet => {
    const { machine, measuredAt, values } = set
    const known = doubts.get(machine)?.get(measuredAt)?.known
    if (!known) {
      append.push(set)
      return { set, newValues: values, outcome: 'stored' }
    }
    const newValues = new Map<string, SignalValue>()
    const appended = new Map<string, SignalValue>()
    for (const [signal, value] of values) {
      const before = known.get(signal)
      if (before && sameValue(before.value, value)) continue
      newValues.set(signal, value)
      if (!before) {
        appended.set(signal, value)
        known.set(signal, { value, put: (later) => appended.set(signal, later) })
        continue
      }
      conflicts++
      before.value = value
      before.put(value)
    }
    if (appended.size > 0) append.push({ machine, measuredAt, values: appended })
    return { set, newValues, outcome: newValues.size > 0 ? 'stored' : 'duplicate' }
  })
  return { sets: judged, append, replacing, conflicts }
}

/** A value of the store, replaced at most once. */
function storedDraft({ value, ...identity }: StoredReading, replacing: StoredReading[]): Draft {
  let place = -1
  return {
    value,
    put(later) {
      if (place < 0) place = replacing.length
      replacing[place] = { ...identity, value: later }
    },
  }
}

function sameValue(a: SignalValue, b: SignalValue): boolean {
  if (typeof a === 'number' || typeof b === 'number') return a === b
  return a.min === b.min && a.mean === b.mean && a.max === b.max && a.n === b.n
}
