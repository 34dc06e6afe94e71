/** What the machines' own numbering says about the way to us; only shown, nothing is decided by it. */
export interface SequenceCounts {
  /** Numbers that were skipped. */
  readonly skipped: number
  /** Numbers that were skipped and came later. */
  readonly filled: number
  /** Numbers that came again. */
  readonly repeated: number
}

/** One machine's counts, since the start of the process. */
export interface MachineSequence extends SequenceCounts {
  /** The highest number, since the device started again last. */
  readonly highest: number
  /** How often the device started its numbering again. */
  readonly restarts: number
}

interface Numbering extends Mutable<MachineSequence> {
  /** `measuredAt` of the highest number. */
  at: number
  /** Runs of numbers that are missing, [first, last], oldest first. */
  missing: [first: number, last: number][]
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const MAX_RUNS = 64 // of missing numbers per machine; what is older counts as lost for good

/** Follows `seq` per machine. A lower number with a newer time is a device that has started again. */
export function trackSequence() {
  const machines = new Map<string, Numbering>()
  let skipped = 0
  let filled = 0
  let repeated = 0

  return {
    note(machine: string, seq: number, measuredAt: number): void {
      const numbering = machines.get(machine)
      if (!numbering) {
        const nothing = { skipped: 0, filled: 0, repeated: 0, restarts: 0 }
        machines.set(machine, { highest: seq, at: measuredAt, missing: [], ...nothing })
        return
      }
      if (seq > numbering.highest) {
        const gap = seq - numbering.highest - 1
        if (gap > 0) noteGap(numbering, seq)
        skipped += gap
        numbering.highest = seq
        numbering.at = measuredAt
        return
      }
      if (seq < numbering.highest && measuredAt > numbering.at) {
        numbering.restarts++
        numbering.highest = seq
        numbering.at = measuredAt
        numbering.missing = []
        return
      }
      if (fill(numbering, seq)) {
        numbering.filled++
        filled++
        return
      }
      numbering.repeated++
      repeated++
    },
    counts: (): SequenceCounts => ({ skipped, filled, repeated }),
    /** undefined: the machine has sent no number yet. */
    of(machine: string): MachineSequence | undefined {
      const numbering = machines.get(machine)
      if (!numbering) return undefined
      const { highest, skipped: gaps, filled: late, repeated: again, restarts } = numbering
      return { highest, skipped: gaps, filled: late, repeated: again, restarts }
    },
  }
}

function noteGap(numbering: Numbering, seq: number): void {
  numbering.skipped += seq - numbering.highest - 1
  numbering.missing.push([numbering.highest + 1, seq - 1])
  if (numbering.missing.length > MAX_RUNS) numbering.missing.shift()
}

function fill(numbering: Numbering, seq: number): boolean {
  const place = numbering.missing.findIndex(([first, last]) => first <= seq && seq <= last)
  const run = numbering.missing[place]
  if (!run) return false
  const rest: [number, number][] = []
  if (run[0] < seq) rest.push([run[0], seq - 1])
  if (seq < run[1]) rest.push([seq + 1, run[1]])
  numbering.missing.splice(place, 1, ...rest)
  return true
}
