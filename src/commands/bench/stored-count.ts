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

const IDENTITIES = 'SELECT count(*)::DOUBLE FROM (SELECT DISTINCT machine, measured_at FROM reading WHERE signal = $id)'
const BEYOND_ONE = `
  SELECT coalesce(sum(copies - 1), 0)::DOUBLE FROM (
    SELECT count(*) AS copies FROM reading WHERE signal = $id GROUP BY machine, measured_at HAVING copies > 1)`
const ACKNOWLEDGED_AND_THERE = `
  SELECT count(*)::DOUBLE FROM (
    SELECT DISTINCT reading.machine, reading.measured_at
    FROM acknowledged JOIN machine USING (name) JOIN reading ON reading.machine = machine.id
    WHERE reading.signal = $id AND reading.measured_at BETWEEN acknowledged.first AND acknowledged.last)`

/**
 * Counts by query what is in a telemetry file that no service holds.
 *
 * @param acknowledged what has to be there
 * @param signals that every message had
 * @param startMs time of each machine's message 0, epoch ms
 */
export async function countStored(
  file: string,
  {
    acknowledged,
    signals,
    startMs,
  }: { acknowledged: readonly AcknowledgedRun[]; signals: readonly string[]; startMs: number },
): Promise<StoredCount> {
  const engine = await openDuckdb({ file, memoryLimitMb: MEMORY_MB, threads: availableParallelism() })
  try {
    const { writer } = engine
    await writer.run('CREATE TEMP TABLE acknowledged (name VARCHAR, first BIGINT, last BIGINT)')
    await appendRows(writer, 'temp.acknowledged', [
      { kind: 'text', values: acknowledged.map(({ machine }) => machine) },
      { kind: 'number', values: acknowledged.map(({ from }) => startMs + from * STEP_MS) },
      { kind: 'number', values: acknowledged.map(({ to }) => startMs + (to - 1) * STEP_MS) },
    ])
    const due = acknowledged.reduce((sum, { from, to }) => sum + to - from, 0)
    const ids = new Map(await rowsOf<readonly [string, number]>(writer, 'SELECT name, id FROM signal'))
    const count = async (sql: string, id: number) => (await rowsOf<readonly [number]>(writer, sql, { id }))[0]?.[0] ?? 0

    let duplicated = 0
    for (const id of ids.values()) duplicated += await count(BEYOND_ONE, id)
    let messages = Number.POSITIVE_INFINITY
    let lost = 0
    for (const signal of signals) {
      const id = ids.get(signal) ?? -1
      messages = Math.min(messages, await count(IDENTITIES, id))
      lost = Math.max(lost, due - (await count(ACKNOWLEDGED_AND_THERE, id)))
    }
    return { messages, lost, duplicated }
  } finally {
    engine.close()
  }
}
