import { emptyFigures, type Figures, figure } from './figures.ts'
import { measureFleet } from './fleet.ts'
import { startGenerator } from './generator.ts'
import { readMachineFacts } from './machine-facts.ts'
import type { BenchOptions } from './options.ts'
import { loadPayload, STEP_MS } from './payload.ts'
import { planOf } from './plan.ts'
import { measureRawStore } from './raw-store.ts'
import { phase, type Run } from './run.ts'
import { measureThroughput } from './throughput.ts'
import type { Workplace } from './workplace.ts'

/** More than any of what is measured takes, so that no machine's time ever passes the clock. */
const FASTEST_MESSAGES_PER_S = 200_000
/** Of load, besides full load. */
const OTHER_SECONDS = 120

/** Measures everything; what could not be measured is null and stands under `failures`. */
export async function runBench(
  options: BenchOptions,
  workplace: Workplace,
  say: (line: string) => void,
): Promise<Figures> {
  const begun = performance.now()
  const plan = planOf(options)
  const figures = emptyFigures(
    { seconds: plan.fullSeconds, window: plan.window, quick: options.quick, stored: null, took_s: 0 },
    plan.connections,
    plan.manyConnections,
  )
  const messagesEach = (FASTEST_MESSAGES_PER_S * (plan.fullSeconds + OTHER_SECONDS)) / plan.connections
  const run: Run = {
    ...{ plan, workplace, figures, say },
    generator: await startGenerator(workplace),
    payload: loadPayload(),
    startMs: Math.floor(Date.now() / 1000) * 1000 - Math.ceil(messagesEach) * STEP_MS,
    endsAt: begun + plan.endsWithinMs,
  }

  const facts = async () => readMachineFacts(await workplace.folder('facts'))
  figures.machine = (await phase(run, 'the machine', facts)) ?? null
  const counts = [await measureThroughput(run)]
  await measureRawStore(run)
  counts.push(await measureFleet(run))
  for (const { messages, lost, duplicated } of counts.filter((count) => count !== undefined)) {
    figures.run.stored = (figures.run.stored ?? 0) + messages
    figures.lost = (figures.lost ?? 0) + lost
    figures.duplicated = (figures.duplicated ?? 0) + duplicated
  }
  figures.run.took_s = figure((performance.now() - begun) / 1000) ?? 0
  return figures
}
