import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished } from 'vitest'
import { latencyHistogram } from '../../src/commands/bench/latency-histogram.ts'
import { LOAD_SIGNALS, loadPayload, type Payload, payloadWriter } from '../../src/commands/bench/payload.ts'
import { connectPublisher, type Publisher } from '../../src/commands/bench/publisher.ts'
import { countStored } from '../../src/commands/bench/stored-count.ts'
import { type RunningService, until } from '../service/running-service.ts'

/** Machines on bare sockets that come back whenever they are cut off, and go on with what was not acknowledged. */
export interface PublishingFleet {
  readonly machines: readonly string[]
  /** Messages that were acknowledged, of all machines. */
  acknowledged(): number
  /** How often a connection was lost or could not be made. */
  lost(): number
  /** How many machines are connected. */
  connected(): number
  /** Machines that are not done with their quota. */
  unfinished(): number
  /** Publishes nothing new, and resolves when all that was published is acknowledged. */
  stop(timeoutMs?: number): Promise<void>
  /** Ends all connections as they are; what was not acknowledged is not sent again. */
  abandon(): void
  /**
   * Counts in the store of a service that has stopped.
   *
   * @returns reading sets that are in it; all that were acknowledged are among them, and none is there twice
   */
  expectStored(folder: string): Promise<number>
}

interface FleetOptions {
  readonly port: number
  readonly machines: readonly string[]
  /** Messages of a machine that may be unacknowledged. */
  readonly window?: number
  /** Messages of each machine in all; without it, until it is stopped. */
  readonly quota?: number
  /** Of all machines together; without it, as fast as they are acknowledged. */
  readonly messagesPerSecond?: number
  readonly payload?: Payload
  /** So many reading sets in each message, as one array; without it, one that is no array. */
  readonly setsEach?: number
  /** Time of each machine's first set, epoch ms, and from each set to the next. */
  readonly startMs?: number
  readonly stepMs?: number
}

/** A set is one second of a machine's time, which runs fast under load. */
const START_MS = Math.floor(Date.now() / 1_000) * 1_000 - 200 * 86_400_000
const STEP_MS = 1_000
/** Everybody comes back at once where a service was gone, but not in the same millisecond. */
const COME_BACK_MS = [200, 800] as const

export function machineNames(count: number, prefix = 'pump'): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${String(i).padStart(5, '0')}`)
}

/** Registers machines as boom pumps, so that all rules of a full catalogue type look at them. */
export async function registerPumps(service: RunningService, machines: readonly string[]): Promise<void> {
  await service.post('/machines/import?user=faults', {
    rows: machines.map((machine) => ({ machine, type: 'boom_pump' })),
  })
}

/** Starts to publish, also where nobody listens yet. */
export function publishingFleet(options: FleetOptions): PublishingFleet {
  const { port, machines, window = 20, quota = Number.POSITIVE_INFINITY, messagesPerSecond, setsEach } = options
  const { payload = loadPayload(), startMs = START_MS, stepMs = STEP_MS } = options
  const writeSet = payloadWriter(payload, startMs, stepMs)
  const { text, write } =
    setsEach === undefined ? { text: payload.text, write: writeSet } : arrayOf(setsEach, payload, writeSet)
  const latencies = latencyHistogram()
  const acknowledged = new Map(machines.map((machine) => [machine, 0]))
  const published = new Map(machines.map((machine) => [machine, 0]))
  const open = new Map<string, { readonly publisher: Publisher; up: boolean }>()
  let total = 0
  let lost = 0
  let stopped = false
  let abandoned = false

  const done = (machine: string) => acknowledged.get(machine) as number
  /** Nothing new is published once it is stopped, but what was on its way is sent again. */
  const due = (machine: string) => (stopped ? (published.get(machine) as number) : quota)

  function connect(machine: string): void {
    const first = done(machine)
    const publisher = connectPublisher({
      ...{ port, machine, window, payload: text, write, first, latencies },
      quota: due(machine) - first,
      onUp() {
        const one = open.get(machine)
        if (one) one.up = true
        if (messagesPerSecond === undefined || stopped) fill(machine, publisher)
      },
      onAcknowledged(count) {
        total += count
        acknowledged.set(machine, done(machine) + count)
        if (messagesPerSecond === undefined && !stopped) fill(machine, publisher)
      },
      onEnd(reason) {
        open.delete(machine)
        if (reason !== undefined) lost++
        const [least, most] = COME_BACK_MS
        if (!abandoned) setTimeout(comeBack, least + Math.random() * (most - least), machine)
      },
    })
    open.set(machine, { publisher, up: false })
  }

  function comeBack(machine: string): void {
    if (!abandoned && done(machine) < due(machine)) connect(machine)
  }

  function fill(machine: string, publisher: Publisher): void {
    const first = done(machine) - publisher.acknowledged
    publisher.fill()
    note(machine, first + publisher.sent)
  }

  function note(machine: string, number: number): void {
    published.set(machine, Math.max(published.get(machine) as number, number))
  }

  async function pace(perSecond: number): Promise<void> {
    const begun = performance.now()
    let turn = 0
    for (let given = 0; !stopped; await delay(2)) {
      const passed = performance.now() - begun
      for (; given < (passed * perSecond) / 1000; given++) {
        const machine = machines[turn++ % machines.length] as string
        const one = open.get(machine)
        if (!one?.up || !one.publisher.publish(performance.now())) continue
        note(machine, done(machine) - one.publisher.acknowledged + one.publisher.sent)
      }
    }
  }

  const unfinished = () => machines.filter((machine) => done(machine) < due(machine)).length
  const abandon = () => {
    stopped = true
    abandoned = true
    for (const { publisher } of open.values()) publisher.end()
  }
  for (const machine of machines) connect(machine)
  if (messagesPerSecond !== undefined) void pace(messagesPerSecond)
  onTestFinished(abandon)

  return {
    machines,
    acknowledged: () => total,
    lost: () => lost,
    connected: () => [...open.values()].filter(({ up }) => up).length,
    unfinished,
    async stop(timeoutMs = 60_000) {
      stopped = true
      await until(async () => (unfinished() === 0 ? true : undefined), timeoutMs)
      abandon()
    },
    abandon,
    async expectStored(folder) {
      const sets = (machine: string) => done(machine) * (setsEach ?? 1)
      const runs = machines.map((machine) => ({ machine, from: 0, to: sets(machine) })).filter(({ to }) => to > 0)
      const { messages, lost, duplicated } = await countStored(join(folder, 'telemetry.duckdb'), {
        acknowledged: runs,
        signals: LOAD_SIGNALS,
        startMs,
        stepMs,
      })
      expect({ lost, duplicated }).toEqual({ lost: 0, duplicated: 0 })
      return messages
    },
  }
}

/** Many sets in one message. */
function arrayOf(count: number, { text }: Payload, writeSet: ReturnType<typeof payloadWriter>) {
  const step = text.length + 1
  return {
    text: `[${Array(count).fill(text).join()}]`,
    write(packet: Buffer, at: number, number: number) {
      for (let i = 0; i < count; i++) writeSet(packet, at + 1 + i * step, number * count + i)
    },
  }
}
