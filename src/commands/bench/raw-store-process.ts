import { join } from 'node:path'
import { openDuckdbStore } from '../../store/duckdb-store.ts'
import type { StoredSet } from '../../store/telemetry-store.ts'
import { loadPayload, STEP_MS } from './payload.ts'

/**
 * The process of the telemetry store alone: it appends what the load would bring, in batches as long as the service's,
 * and says how many messages that were.
 */

export interface RawStoreTask {
  readonly folder: string
  readonly machines: readonly string[]
  readonly startMs: number
  readonly seconds: number
}

export interface RawStoreOutcome {
  readonly messages: number
  readonly seconds: number
}

const MESSAGES_AT_ONCE = 4_000

process.once('message', async ({ folder, machines, startMs, seconds }: RawStoreTask) => {
  const store = await openDuckdbStore({ file: join(folder, 'telemetry.duckdb') })
  const values = loadPayload().variants.map(
    (variant) => new Map<string, number>(Object.entries({ ...JSON.parse(`{${variant}}`), engine_hours_h: 1300 })),
  )
  const begun = performance.now()
  let messages = 0
  while (performance.now() - begun < seconds * 1000) {
    await store.append(batch(machines, values, { from: messages, startMs }))
    messages += MESSAGES_AT_ONCE
  }
  const outcome: RawStoreOutcome = { messages, seconds: (performance.now() - begun) / 1000 }
  await store.close()
  process.send?.(outcome, () => process.exit())
})
process.on('disconnect', () => process.exit())

function batch(
  machines: readonly string[],
  values: readonly StoredSet['values'][],
  { from, startMs }: { from: number; startMs: number },
): StoredSet[] {
  return Array.from({ length: MESSAGES_AT_ONCE }, (_, index) => {
    const message = from + index
    return {
      machine: machines[message % machines.length] as string,
      measuredAt: startMs + Math.floor(message / machines.length) * STEP_MS,
      values: values[message % values.length] as StoredSet['values'],
    }
  })
}
