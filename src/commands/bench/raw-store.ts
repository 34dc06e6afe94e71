import { once } from 'node:events'
import { figure } from './figures.ts'
import type { RawStoreOutcome, RawStoreTask } from './raw-store-process.ts'
import { machineNames, phase, type Run } from './run.ts'

/** How many messages the telemetry store alone takes. */
export async function measureRawStore(run: Run): Promise<void> {
  const { plan, workplace, figures, startMs } = run
  await phase(run, `the store alone, ${plan.rawStoreSeconds} s`, async () => {
    const child = workplace.fork('bench-raw-store')
    const task: RawStoreTask = {
      folder: await workplace.folder('raw-store'),
      machines: machineNames(0, plan.connections),
      startMs,
      seconds: plan.rawStoreSeconds,
    }
    child.send(task)
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`its process has ended with ${code}`)
    })
    const [outcome] = (await workplace.unlessStopped(Promise.race([once(child, 'message'), ended]))) as [
      RawStoreOutcome,
    ]
    ended.catch(() => {})
    const rate = outcome.messages / outcome.seconds
    figures.raw_store_messages_per_s = figure(rate)
    figures.ratio_to_raw_store = figure((figures.messages_per_s ?? Number.NaN) / rate)
  })
}
