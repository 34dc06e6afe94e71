import type { LoadOutcome } from './load.ts'

/** Messages of one machine that were acknowledged: numbers with `from` ≤ number < `to`. */
export interface AcknowledgedRun {
  readonly machine: string
  readonly from: number
  readonly to: number
}

/** What the machines of one service have published, and what of it was acknowledged. Numbers go on from load to load. */
export interface Ledger {
  /** Number of the machine's next message. */
  next(machine: string): number
  note(machines: readonly string[], outcome: LoadOutcome): void
  acknowledged(): AcknowledgedRun[]
  /** Messages of all machines that were acknowledged. */
  total(): number
}

export function openLedger(): Ledger {
  const next = new Map<string, number>()
  const runs = new Map<string, { from: number; to: number }[]>()
  let total = 0
  return {
    next: (machine) => next.get(machine) ?? 0,
    note(machines, { sent, acknowledged }) {
      for (const [index, machine] of machines.entries()) {
        const from = next.get(machine) ?? 0
        const count = acknowledged[index] ?? 0
        next.set(machine, from + (sent[index] ?? 0))
        total += count
        if (count === 0) continue
        const known = runs.get(machine) ?? []
        const last = known.at(-1)
        if (last?.to === from) last.to += count
        else known.push({ from, to: from + count })
        runs.set(machine, known)
      }
    },
    acknowledged: () => [...runs].flatMap(([machine, known]) => known.map(({ from, to }) => ({ machine, from, to }))),
    total: () => total,
  }
}
