import { join } from 'node:path'
import { figure } from './figures.ts'
import { openLedger } from './ledger.ts'
import { wholePumpPayload } from './payload.ts'
import { descendants, pssMb } from './process-figures.ts'
import { drainMs, leftMs, machineNames, pause, phase, publish, publishUntilCut, type Run } from './run.ts'
import { startService } from './service.ts'
import type { StoredCount } from './stored-count.ts'
import { countIn, memoryMb } from './throughput.ts'

/** Machines that connect at once. */
const AT_ONCE = 1_000
/** Longer than the kill takes to come. */
const LOAD_SECONDS = 60

/**
 * Memory by the number of machines that have state, and the way back after `kill -9` under load.
 *
 * @returns what the store holds in the end; undefined: it could not be counted
 */
export async function measureFleet(run: Run): Promise<StoredCount | undefined> {
  const { plan, workplace, figures } = run
  const payload = wholePumpPayload()
  const ledger = openLedger()
  const folder = await workplace.folder('fleet')
  const started = await phase(run, 'a service for a fleet starts', () => startService(workplace, folder))
  if (!started) return undefined
  let service = started
  const target = () => ({ name: 'Outrigger', pid: service.pid, port: service.port, ledger })

  try {
    let known = 0
    for (const count of plan.fleets) {
      const grown = await phase(run, `${count} machines with state`, async () => {
        await service.register(machineNames(known, count))
        for (; known < count; known = Math.min(known + AT_ONCE, count)) {
          const machines = machineNames(known, Math.min(known + AT_ONCE, count))
          const until = { messagesEach: plan.setsEach }
          await publish(run, target(), { machines, payload, window: plan.setsEach, until })
        }
        await service.drained(drainMs(run))
        await pause(run, plan.settleSeconds)
        figures.rss_mb[count] = memoryMb(service)
        run.say(
          `  ${figures.rss_mb[count]} MB, of which PostgreSQL ${Math.round(pssMb(descendants(service.pid)) ?? 0)} MB`,
        )
        return count
      })
      if (grown === undefined) return undefined
    }

    return await phase(run, 'kill -9 under load, and the next start', async () => {
      const machines = machineNames(0, plan.connections)
      const publishing = publishUntilCut(run, target(), {
        machines,
        window: plan.window,
        until: { seconds: LOAD_SECONDS },
      })
      publishing.catch(() => {}) // told below
      await pause(run, plan.settleSeconds)
      await service.kill()
      service = await startService(workplace, folder)
      figures.restart_ready_s = figure(service.readySeconds)
      figures.restart_waiting = (await service.metrics()).get('outrigger_reading_sets_waiting') ?? null
      run.say(`  ready after ${figures.restart_ready_s} s`)
      await publishing
      await service.drained(leftMs(run))
      await service.stop()
      return countIn(run, join(folder, 'telemetry.duckdb'), ledger)
    })
  } finally {
    await service.stop()
  }
}
