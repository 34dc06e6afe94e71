import { setTimeout as delay } from 'node:timers/promises'
import type { Figures } from './figures.ts'
import type { Generator } from './generator.ts'
import type { Ledger } from './ledger.ts'
import type { Load, LoadOutcome } from './load.ts'
import type { Payload } from './payload.ts'
import type { Plan } from './plan.ts'
import { threadCpuSeconds } from './process-figures.ts'
import type { Workplace } from './workplace.ts'

/** What all parts of a run share. */
export interface Run {
  readonly plan: Plan
  readonly workplace: Workplace
  readonly generator: Generator
  /** Filled as things are measured. */
  readonly figures: Figures
  /** Six signals. */
  readonly payload: Payload
  /** Time of each machine's message 0, epoch ms. */
  readonly startMs: number
  /** Tells people how far it is. */
  readonly say: (line: string) => void
  /** Of performance.now: when the run has to be over. */
  readonly endsAt: number
}

/** Something that takes messages. */
export interface Target {
  readonly name: string
  readonly pid: number
  readonly port: number
  readonly ledger: Ledger
}

/** What came of a load on a target. */
export interface Slice extends LoadOutcome {
  readonly messagesPerSecond: number
  /** CPU of the generator, and of the target's busiest thread: 1 is a whole core. */
  readonly generatorShare: number
  /** undefined: the system does not tell. */
  readonly busiestThreadShare: number | undefined
}

type Shape = Pick<Load, 'window' | 'until' | 'messagesPerSecond'> & {
  readonly machines: readonly string[]
  readonly payload?: Payload
}

/** Fewer seconds than this are not worth a beginning. */
const LEAST_MS = 15_000

export function machineNames(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `bench-${String(from + index).padStart(5, '0')}`)
}

/** Does a part of the run. One that fails says why, and the others go on. */
export async function phase<T>(run: Run, name: string, work: () => Promise<T>): Promise<T | undefined> {
  run.say(name)
  try {
    run.workplace.signal.throwIfAborted()
    const ms = run.endsAt - performance.now()
    if (ms < LEAST_MS) throw new Error('no time is left for it')
    return await within(ms, work())
  } catch (error) {
    run.workplace.signal.throwIfAborted()
    const reason = error instanceof Error ? error.message : String(error)
    run.figures.failures.push({ phase: name, reason })
    run.say(`  failed: ${reason}`)
    return undefined
  }
}

/** The same run for parts that have to be over earlier. */
export function endingEarlier(run: Run, ms: number): Run {
  return { ...run, endsAt: run.endsAt - ms }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const late = new AbortController()
  const expired = delay(ms, undefined, { signal: late.signal }).then(() => {
    throw new Error('no time was left for it')
  })
  try {
    return await Promise.race([work, expired])
  } finally {
    expired.catch(() => {})
    late.abort()
  }
}

/** How long the last part of a run may still wait. */
export function leftMs(run: Run): number {
  return Math.max(LEAST_MS, run.endsAt - performance.now() - LEAST_MS)
}

/** How long what is in the spool may take: half of the time that is left, the parts behind have the other half. */
export function drainMs(run: Run): number {
  return Math.max(LEAST_MS, (run.endsAt - performance.now()) / 2)
}

/**
 * Publishes to a target.
 *
 * @param onStopped no message follows; acknowledgements may still be due
 * @throws {Error} connections failed or were lost
 */
export async function publish(run: Run, target: Target, shape: Shape, onStopped?: () => void): Promise<Slice> {
  const slice = await publishUntilCut(run, target, shape, onStopped)
  const { lostConnections, sent, acknowledged } = slice
  if (lostConnections.length > 0)
    throw new Error(
      `${target.name} lost ${lostConnections.length} of ${sent.length} connections: ${lostConnections[0]}`,
    )
  const missing = total(sent) - total(acknowledged)
  if (missing > 0) throw new Error(`${target.name} did not acknowledge ${missing} messages in time`)
  return slice
}

/** The same where the target may go away. */
export async function publishUntilCut(run: Run, target: Target, shape: Shape, onStopped?: () => void): Promise<Slice> {
  const { machines, payload = run.payload, ...others } = shape
  let before = new Map<string, number>()
  let after = new Map<string, number>()
  const load: Load = {
    ...others,
    machines,
    payload,
    port: target.port,
    first: machines.map((machine) => target.ledger.next(machine)),
    startMs: run.startMs,
  }
  const outcome = await run.generator.run(load, {
    started() {
      before = threadCpuSeconds(target.pid)
    },
    stopped() {
      after = threadCpuSeconds(target.pid)
      onStopped?.()
    },
  })
  target.ledger.note(machines, outcome)
  const busy = [...after].map(([thread, seconds]) => seconds - (before.get(thread) ?? 0))
  return {
    ...outcome,
    messagesPerSecond: outcome.acknowledgedWithin / outcome.seconds,
    generatorShare: outcome.cpuSeconds / outcome.seconds,
    busiestThreadShare: busy.length > 0 ? Math.max(...busy) / outcome.seconds : undefined,
  }
}

export function pause(run: Run, seconds: number): Promise<void> {
  return delay(seconds * 1000, undefined, { signal: run.workplace.signal })
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
