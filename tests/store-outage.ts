import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, vi } from 'vitest'
import type { TelemetryStore } from '../src/store/telemetry-store.ts'
import type { TestRecords } from './records/test-records.ts'
import { runningPipeline } from './running-pipeline.ts'

export interface Outage {
  /** Every write is refused for so long, */
  readonly refusedMs: number
  /** and then takes its time for so long. */
  readonly slowMs: number
  /** Meanwhile so many messages arrive in all, of all machines together. */
  readonly perSecond: number
}

const MACHINES = 20
const SLOW_MS = 300
const SETTLED_MS = 120_000
const MIB = 1 << 20
const START = Date.UTC(2026, 0, 1)
const SIGNAL = 'hyd_oil_temp_c'
const TICK_MS = 20
/** Makes a message large, so that messages that are kept in memory show. */
const NOTE = 'x'.repeat(1_000)

/**
 * A store that fails while messages go on arriving. Checks at each step that the counts add up, and in the end that every
 * reading is there in its order.
 *
 * @returns how much the process grew while writes were refused, MiB, and how many messages arrived
 */
export async function storeOutage(records: TestRecords, { refusedMs, slowMs, perSecond }: Outage) {
  let state: 'fine' | 'refuses' | 'slow' = 'fine'
  let refusals = 0
  const wrap = (store: TelemetryStore): TelemetryStore => ({
    ...store,
    async append(sets, replacing) {
      if (state === 'refuses') {
        refusals++
        throw new Error('IO Error: the store is away')
      }
      if (state === 'slow') await delay(SLOW_MS)
      await store.append(sets, replacing)
    },
  })
  const { pipeline, store, receive } = await runningPipeline(records, { wrap })
  const machines = Array.from({ length: MACHINES }, (_, i) => `m-${i}-${randomUUID().slice(0, 8)}`)
  const contested = `contested-${randomUUID().slice(0, 8)}` // all of its messages have one time: the last one wins
  let sent = 0
  let contestedSent = 0
  const appended: Promise<void>[] = []

  const send = (machine: string, seq: number, ts: number, value: number) =>
    receive(`machines/${machine}/telemetry`, JSON.stringify({ ts, seq, signals: { [SIGNAL]: value }, note: NOTE }), {
      receivedAt: START + 30 * 86_400_000,
    })
  const sendFor = async (ms: number) => {
    const begun = performance.now()
    const before = sent
    for (let passed = 0; passed < ms; passed = performance.now() - begun) {
      for (; sent - before < (passed * perSecond) / 1000; sent++) {
        const seq = Math.floor(sent / MACHINES)
        appended.push(send(machines[sent % MACHINES] as string, seq, START + seq * 1_000, seq % 90))
      }
      appended.push(send(contested, contestedSent, START, contestedSent++ % 90))
      await Promise.all(appended.splice(0)) // acknowledged, whatever the store does
      expectBalance(pipeline.counts())
      await delay(TICK_MS)
    }
  }

  await sendFor(1_000)
  state = 'refuses'
  await sendFor(refusedMs * 0.25)
  const before = process.memoryUsage().rss
  await sendFor(refusedMs * 0.75)
  const grownMb = (process.memoryUsage().rss - before) / MIB
  expect(refusals).toBeGreaterThan(0)
  expect(pipeline.trouble()).toContain('the store is away')
  expect(pipeline.counts().waiting).toBeGreaterThan((perSecond * refusedMs) / 1000 / 2)
  state = 'slow'
  await sendFor(slowMs)
  state = 'fine'
  await sendFor(1_000)

  const all = sent + contestedSent
  await vi.waitFor(
    () => {
      expectBalance(pipeline.counts())
      expect(pipeline.counts()).toMatchObject({
        received: all,
        stored: all,
        waiting: 0,
        sequenceGaps: 0,
        sequenceRepeats: 0,
      })
    },
    { timeout: SETTLED_MS, interval: 200 },
  )
  expect(pipeline.trouble()).toBeUndefined()
  expect(pipeline.counts().conflicts).toBe(contestedSent - 1)
  for (const [i, machine] of machines.entries()) {
    const count = Math.floor(sent / MACHINES) + (i < sent % MACHINES ? 1 : 0)
    const points = await store.range({ machine, signal: SIGNAL, from: 0, to: START * 2 }, count + 1)
    expect(points, machine).toEqual(Array.from({ length: count }, (_, seq) => [START + seq * 1_000, seq % 90]))
  }
  const last = await store.range({ machine: contested, signal: SIGNAL, from: 0, to: START * 2 }, 10)
  expect(last).toEqual([[START, (contestedSent - 1) % 90]])
  return { grownMb, messages: all }
}

function expectBalance(counts: {
  received: number
  stored: number
  duplicate: number
  quarantined: number
  waiting: number
}) {
  const { received, stored, duplicate, quarantined, waiting } = counts
  expect(stored + duplicate + quarantined + waiting).toBe(received)
}
