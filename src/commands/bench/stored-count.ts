import { availableParallelism } from 'node:os'
import { appendRows, openDuckdb, rowsOf } from '../../store/duckdb-engine.ts'
import type { AcknowledgedRun } from './ledger.ts'
import { STEP_MS } from './payload.ts'

export interface StoredCount {
  /** Messages that are in the store with all their values. */
  readonly messages: number
  /** Messages that were acknowledged and of which a value is missing. */
  readonly lost: number
  /** Rows beyond one per identity (machine, signal, time). */
  readonly duplicated: number
}

/** The query may take what the machine has; the service is not running. */
const MEMORY_MB = 2_048

/** One pass over what stands under a signal; a machine's acknowledged runs do not overlap. */
const COUNT = `
  WITH stored AS (
    SELECT machine, measured_at, count(*) AS copies FROM reading WHERE signal = $id GROUP BY machine, measured_at
  ), due AS (
    SELECT machine.id AS machine, first, last FROM acknowledged JOIN machine USING (name)
  )
  SELECT count(*)::DOUBLE, coalesce(sum(copies - 1), 0)::DOUBLE, count(due.machine)::DOUBLE
  FROM stored LEFT JOIN due ON due.machine = stored.machine AND stored.measured_at BETWEEN due.first AND due.last`

/**
 * Counts by query what is in a telemetry file that no service holds.
 *
 * @param acknowledged what has to be there
 * @param signals that every message had
 * @param startMs time of each machine's message 0, epoch ms
 * @param stepMs from each of its messages to the next
 */
export async function countStored(
  file: string,
  {
    acknowledged,
    signals,
    startMs,
    stepMs = STEP_MS,
  }: {
    readonly acknowledged: readonly AcknowledgedRun[]
    readonly signals: readonly string[]
    readonly startMs: number
    readonly stepMs?: number
  },
): Promise<StoredCount> {
  const engine = await openDuckdb({ file, memoryLimitMb: MEMORY_MB, threads: availableParallelism() })
  try {
    const { writer } = engine
    await writer.run('CREATE TEMP TABLE acknowledged (name VARCHAR, first BIGINT, last BIGINT)')
    await appendRows(writer, 'temp.acknowledged', [
      { kind: 'text', values: acknowledged.map(({ machine }) => machine) },
      { kind: 'number', values: acknowledged.map(({ from }) => startMs + from * stepMs) },
      { kind: 'number', values: acknowledged.map(({ to }) => startMs + (to - 1) * stepMs) },
    ])
    const due = acknowledged.reduce((sum, { from, to }) => sum + to - from, 0)
    const counted = new Map<string, { identities: number; acknowledged: number }>()
    let duplicated = 0
    for (const [id, name] of await rowsOf<readonly [number, string]>(writer, 'SELECT id, name FROM signal')) {
      const [row] = await rowsOf<readonly [identities: number, beyondOne: number, kept: number]>(writer, COUNT, { id })
      const [identities = 0, beyondOne = 0, kept = 0] = row ?? []
      counted.set(name, { identities, acknowledged: kept })
      duplicated += beyondOne
    }
    const every = signals.map((name) => counted.get(name) ?? { identities: 0, acknowledged: 0 })
    const messages = Math.min(...every.map(({ identities }) => identities))
    const lost = due - Math.min(...every.map((one) => one.acknowledged))
    return { messages, lost, duplicated }
  } finally {
    engine.close()
  }
}
