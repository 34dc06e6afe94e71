import { setTimeout as delay } from 'node:timers/promises'
import { latencyHistogram } from './latency-histogram.ts'
import type { GeneratorNotice, Load, LoadOutcome } from './load.ts'
import { payloadWriter } from './payload.ts'
import { connectPublisher, type Publisher } from './publisher.ts'

/** The process that publishes: one load at a time, as the benchmark's process asks for it. */

/** A server's queue of connections that nobody has accepted yet is short. */
const CONNECT_AT_ONCE = 100
const CONNECT_MS = 30_000
/** For a load that ends with its last message. */
const COUNTED_MS = 60_000
/** For acknowledgements after the last message. */
const LAST_MS = 20_000

process.on('message', (load: Load) => {
  run(load).then(
    (outcome) => tell({ kind: 'outcome', outcome }),
    (error: Error) => tell({ kind: 'failed', reason: error.message }),
  )
})
process.on('disconnect', () => process.exit())
tell({ kind: 'ready' })

function tell(notice: GeneratorNotice): void {
  process.send?.(notice)
}

async function run(load: Load): Promise<LoadOutcome> {
  const { until, messagesPerSecond } = load
  const latencies = latencyHistogram()
  const write = payloadWriter(load.payload, load.startMs)
  const lostConnections: string[] = []
  const publishers: Publisher[] = []
  let up = 0
  let ended = 0
  let acknowledged = 0
  let publishing = false

  const connectOne = (machine: string, index: number) => {
    const publisher = connectPublisher({
      port: load.port,
      machine,
      window: load.window,
      quota: 'messagesEach' in until ? until.messagesEach : Number.POSITIVE_INFINITY,
      payload: load.payload.text,
      write,
      first: load.first[index] ?? 0,
      latencies,
      onUp: () => up++,
      onAcknowledged(count) {
        acknowledged += count
        if (publishing && messagesPerSecond === undefined) publisher.fill()
      },
      onEnd(reason) {
        ended++
        if (reason !== undefined) lostConnections.push(`${machine}: ${reason}`)
      },
    })
    publishers.push(publisher)
  }

  for (const [index, machine] of load.machines.entries()) {
    connectOne(machine, index)
    if (publishers.length % CONNECT_AT_ONCE === 0) await waitFor(() => up + ended === publishers.length, CONNECT_MS)
  }
  await waitFor(() => up + ended === publishers.length, CONNECT_MS)
  if (up < publishers.length) {
    for (const publisher of publishers) publisher.end()
    throw new Error(
      `${publishers.length - up} of ${publishers.length} connections failed: ${lostConnections[0] ?? 'no answer'}`,
    )
  }

  tell({ kind: 'started' })
  const begun = performance.now()
  const cpuBefore = process.cpuUsage()
  publishing = true
  const allDone = () => ended === publishers.length || publishers.every((one) => one.acknowledged === one.sent)
  if (messagesPerSecond === undefined) for (const publisher of publishers) publisher.fill()
  if ('messagesEach' in until) await waitFor(allDone, COUNTED_MS)
  else if (messagesPerSecond === undefined) await waitFor(() => ended === publishers.length, until.seconds * 1000, 50)
  else await pace(publishers, messagesPerSecond, until.seconds * 1000, () => ended === publishers.length)
  publishing = false
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpuBefore)
  const acknowledgedWithin = acknowledged
  tell({ kind: 'stopped' })

  await waitFor(allDone, LAST_MS)
  const lost = [...lostConnections]
  for (const publisher of publishers) publisher.end()
  await waitFor(() => ended === publishers.length, 1_000)
  return {
    seconds,
    acknowledgedWithin,
    sent: publishers.map((one) => one.sent),
    acknowledged: publishers.map((one) => one.acknowledged),
    latencies: latencies.counts,
    cpuSeconds: (user + system) / 1e6,
    lostConnections: lost,
  }
}

/** Publishes in turn what is due. What no window had room for is late, and its time begins when it was due. */
async function pace(publishers: Publisher[], perSecond: number, forMs: number, over: () => boolean): Promise<void> {
  const begun = performance.now()
  let published = 0
  let turn = 0
  for (let now = begun; now < begun + forMs && !over(); now = performance.now()) {
    const due = ((now - begun) * perSecond) / 1000
    for (let full = 0; published < due && full < publishers.length; turn = (turn + 1) % publishers.length) {
      if (publishers[turn]?.publish(begun + (published * 1000) / perSecond)) {
        published++
        full = 0
      } else full++
    }
    await delay(1)
  }
}

async function waitFor(isSo: () => boolean, withinMs: number, everyMs = 5): Promise<void> {
  const end = performance.now() + withinMs
  while (!isSo() && performance.now() < end) await delay(Math.min(everyMs, Math.max(1, end - performance.now())))
}
