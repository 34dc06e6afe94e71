/**
 * Spans of time in which the store is known to hold nothing of a machine: those that its newest reading has leapt over.
 * Backlog falls into them, and needs no look into the store to be known as new.
 */
export interface KnownGaps {
  /** Whether the store holds nothing of the machine at that instant, of any signal. `false` says nothing. */
  hold(machine: string, at: number): boolean
  /** The store holds a reading of that instant from now on. */
  note(machine: string, at: number): void
  /** The store holds a reading of that instant which came another way, and there may be others before it. */
  forget(machine: string, newest: number): void
}

interface Machine {
  newest: number
  /** From and to of each gap, in turn; both ends are taken. */
  gaps: number[]
}

/** Backlog that falls into less is looked up: most readings leave a gap of some seconds behind them. */
const LEAST_MS = 60_000
const MOST_GAPS = 16

/** Machines that were never noted or forgotten have no reading in the store. */
export function knownGaps(): KnownGaps {
  const machines = new Map<string, Machine>()
  return {
    hold(machine, at) {
      const known = machines.get(machine)
      return known === undefined || placeOf(known.gaps, at) >= 0
    },
    note(machine, at) {
      const known = machines.get(machine)
      if (!known) {
        machines.set(machine, { newest: at, gaps: [Number.NEGATIVE_INFINITY, at] })
        return
      }
      if (at > known.newest) {
        addGap(known.gaps, known.newest, at)
        known.newest = at
        return
      }
      if (known.gaps.length > 0) split(known.gaps, at)
    },
    forget(machine, newest) {
      machines.set(machine, { newest: Math.max(newest, machines.get(machine)?.newest ?? newest), gaps: [] })
    },
  }
}

/** @returns index of the gap's beginning; −1 where `at` lies in none */
function placeOf(gaps: readonly number[], at: number): number {
  for (let place = gaps.length - 2; place >= 0; place -= 2) {
    if (at > (gaps[place] as number) && at < (gaps[place + 1] as number)) return place
  }
  return -1
}

function split(gaps: number[], at: number): void {
  const place = placeOf(gaps, at)
  if (place < 0) return
  const [from, to] = gaps.splice(place, 2) as [number, number]
  addGap(gaps, from, at)
  addGap(gaps, at, to)
}

function addGap(gaps: number[], from: number, to: number): void {
  if (to - from < LEAST_MS) return
  gaps.push(from, to)
  if (gaps.length > 2 * MOST_GAPS) gaps.splice(shortest(gaps), 2)
}

function shortest(gaps: readonly number[]): number {
  let found = 0
  let length = Number.POSITIVE_INFINITY
  for (let place = 0; place < gaps.length; place += 2) {
    const candidate = (gaps[place + 1] as number) - (gaps[place] as number)
    if (candidate < length) [found, length] = [place, candidate]
  }
  return found
}
