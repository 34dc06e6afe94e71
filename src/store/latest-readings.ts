import type { SignalValue } from '../reading.ts'

/** Numbers per reading: measuredAt, value or mean, and for summaries min, max and n (NaN: a plain value). */
const STRIDE = 5

/**
 * The newest reading of each signal of each machine, by the store's integer ids, packed into one typed array: 40 bytes
 * a reading and an entry in a small map. 10,000 machines of 30 signals are 300,000 of them.
 */
export interface LatestReadings {
  readonly size: number
  /** Takes the reading unless a newer one is known; the same instant again overwrites. */
  note(machine: number, signal: number, measuredAt: number, value: SignalValue): void
  get(machine: number, signal: number): LatestReading | undefined
  ofMachine(machine: number): Iterable<LatestReading>
  all(): Iterable<LatestReading>
}

interface LatestReading {
  readonly machine: number
  readonly signal: number
  readonly measuredAt: number
  readonly value: SignalValue
}

export function latestReadings(): LatestReadings {
  const slots = new Map<number, Map<number, number>>()
  let numbers = new Float64Array(STRIDE * 256)
  let size = 0

  function slotOf(machine: number, signal: number): number {
    let ofMachine = slots.get(machine)
    if (!ofMachine) {
      ofMachine = new Map()
      slots.set(machine, ofMachine)
    }
    const known = ofMachine.get(signal)
    if (known !== undefined) return known
    const slot = size * STRIDE
    size += 1
    if (slot + STRIDE > numbers.length) {
      const larger = new Float64Array(numbers.length * 2)
      larger.set(numbers)
      numbers = larger
    }
    numbers[slot] = Number.NEGATIVE_INFINITY
    ofMachine.set(signal, slot)
    return slot
  }

  function readingAt(machine: number, signal: number, slot: number): LatestReading {
    const [measuredAt, mean, n] = [numbers[slot], numbers[slot + 1], numbers[slot + 4]] as [number, number, number]
    if (Number.isNaN(n)) return { machine, signal, measuredAt, value: mean }
    const [min, max] = [numbers[slot + 2], numbers[slot + 3]] as [number, number]
    return { machine, signal, measuredAt, value: { min, mean, max, n } }
  }

  return {
    get size() {
      return size
    },
    note(machine, signal, measuredAt, value) {
      const slot = slotOf(machine, signal)
      if (measuredAt < (numbers[slot] as number)) return
      numbers[slot] = measuredAt
      if (typeof value === 'number') {
        numbers[slot + 1] = value
        numbers[slot + 4] = Number.NaN
        return
      }
      numbers[slot + 1] = value.mean
      numbers[slot + 2] = value.min
      numbers[slot + 3] = value.max
      numbers[slot + 4] = value.n
    },
    get(machine, signal) {
      const slot = slots.get(machine)?.get(signal)
      return slot === undefined ? undefined : readingAt(machine, signal, slot)
    },
    *ofMachine(machine) {
      for (const [signal, slot] of slots.get(machine) ?? []) yield readingAt(machine, signal, slot)
    },
    *all() {
      for (const [machine, ofMachine] of slots) {
        for (const [signal, slot] of ofMachine) yield readingAt(machine, signal, slot)
      }
    },
  }
}
