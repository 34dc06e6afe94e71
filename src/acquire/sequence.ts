/** What the machines' own numbering says about the way to us; only shown, nothing is decided by it. */
export interface SequenceCounts {
  /** Numbers that were skipped. */
  readonly skipped: number
  /** Numbers that were skipped and came later. */
  readonly filled: number
  /** Numbers that came again. */
  readonly repeated: number
}

interface Numbering {
  highest: number
  /** `measuredAt` of the highest number. */
  at: number
  /** Runs of numbers that are missing, [first, last], oldest first. */
  missing: [first: number, last: number][]
}

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
      const startedAgain = numbering && seq < numbering.highest && measuredAt > numbering.at
      if (!numbering || startedAgain) {
        machines.set(machine, { highest: seq, at: measuredAt, missing: [] })
        return
      }
      if (seq > numbering.highest) {
        const first = numbering.highest + 1
        if (seq > first) {
          skipped += seq - first
          numbering.missing.push([first, seq - 1])
          if (numbering.missing.length > MAX_RUNS) numbering.missing.shift()
        }
        numbering.highest = seq
        numbering.at = measuredAt
        return
      }
      if (fill(numbering, seq)) filled++
      else repeated++
    },
    counts: (): SequenceCounts => ({ skipped, filled, repeated }),
  }
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
