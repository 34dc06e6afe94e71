import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type BareBroker, startAedes, startMosquitto } from './bare-broker.ts'
import { ackOf, type Contender, fillComparison, judgeGenerator, rateOf, sliceFigures, takeTurns } from './comparison.ts'
import { type CpuByPart, figure, type LoadFigures } from './figures.ts'
import { type Ledger, openLedger } from './ledger.ts'
import { findMosquitto } from './machine-facts.ts'
import { LOAD_SIGNALS } from './payload.ts'
import { cpuSeconds, cpuSecondsOfAll, descendants, pssMb, rssMb } from './process-figures.ts'
import { drainMs, endingEarlier, machineNames, phase, publish, type Run, type Target } from './run.ts'
import { type Service, startService } from './service.ts'
import { countStored, type StoredCount } from './stored-count.ts'

const MIB = 1 << 20

/**
 * How much the service takes in, beside the bare brokers, and what of it is in the store in the end.
 *
 * @returns what the store holds; undefined: it could not be counted
 */
export async function measureThroughput(whole: Run): Promise<StoredCount | undefined> {
  const { plan, workplace, figures } = whole
  const counting = endingEarlier(whole, plan.fleetMs)
  const run = endingEarlier(counting, plan.countMs)
  const service = await phase(run, 'the service starts', async () => {
    const started = await startService(workplace, await workplace.folder('service'))
    await started.register(machineNames(0, Math.max(plan.connections, plan.manyConnections)))
    return started
  })
  if (!service) return undefined
  const ledger = openLedger()
  const target: Target = { name: 'Outrigger', pid: service.pid, port: service.port, ledger }
  const few = { machines: machineNames(0, plan.connections), window: plan.window }
  const many = { machines: machineNames(0, plan.manyConnections), window: 1 }
  try {
    await phase(run, `warm-up, ${plan.warmUpSeconds} s`, async () => {
      await publish(run, target, { ...few, until: { seconds: plan.warmUpSeconds } })
      await service.drained(drainMs(run))
    })
    await fullLoad(run, service, target, few)
    await halfLoad(run, service, target, { ...few, figures })

    const contenders = [
      ...(await bareBrokers(run)),
      { ...target, key: 'service', settle: () => service.drained(drainMs(run)) } as const,
    ]
    fillComparison(figures, await takeTurns(run, contenders, few), figures.messages_per_s ?? undefined)

    const thousand = figures.thousand_connections
    const turns = await takeTurns(run, contenders, many)
    fillComparison(thousand, turns)
    thousand.messages_per_s = figure(rateOf(turns.get('service')))
    thousand.ack_ms.full_load = ackOf(turns.get('service'))
    await halfLoad(run, service, target, { ...many, figures: thousand })
    for (const load of [figures, thousand]) judgeGenerator(load)
    await phase(counting, 'what is left in the spool', async () => {
      await service.drained(drainMs(counting))
      figures.spool_left_mb = figure(folderBytes(join(service.folder, 'spool')) / MIB)
      const samples = await service.metrics()
      figures.alarms = sumOf(samples, 'outrigger_alarms_active')
    })
  } finally {
    await service.stop()
  }
  return countMessages(whole, service, ledger)
}

type Publishers = { readonly machines: readonly string[]; readonly window: number }

async function fullLoad(run: Run, service: Service, target: Target, publishers: Publishers): Promise<void> {
  const { figures, plan } = run
  await phase(run, `full load, ${plan.fullSeconds} s with ${plan.connections} connections`, async () => {
    const before = await cpuByPart(service)
    let atStop: Promise<Map<string, number>> | undefined
    const slice = await publish(run, target, { ...publishers, until: { seconds: plan.fullSeconds } }, () => {
      figures.rss_full_load_mb = memoryMb(service)
      atStop = service.metrics()
      atStop.catch(() => {}) // told below
    })
    const rate = slice.messagesPerSecond
    figures.messages_per_s = figure(rate)
    figures.values_per_s = figure(rate * LOAD_SIGNALS.length)
    figures.ack_ms.full_load = ackOf([slice])
    figures.slices.full_load = sliceFigures([slice])
    const waiting = (await atStop)?.get('outrigger_reading_sets_waiting') ?? Number.NaN
    figures.backlog_s = figure(waiting / rate)
    run.say(`  ${Math.round(rate)} messages/s acknowledged, ${figures.backlog_s} s of them wait`)

    await service.drained(drainMs(run))
    const after = await cpuByPart(service)
    const millions = slice.acknowledged.reduce((sum, count) => sum + count, 0) / 1e6
    if (before && after)
      figures.cpu_s_per_million = Object.fromEntries([
        ['generator', figure(slice.cpuSeconds / millions) ?? 0],
        ...Object.keys(after).map((part) => [part, figure(((after[part] ?? 0) - (before[part] ?? 0)) / millions) ?? 0]),
      ])
  })
}

/** Half of what full load reached. */
async function halfLoad(run: Run, service: Service, target: Target, load: Publishers & { figures: LoadFigures }) {
  const { figures, ...publishers } = load
  const seconds = run.plan.halfSeconds
  const name = `half of that load, ${seconds} s with ${publishers.machines.length} connections`
  await phase(run, name, async () => {
    if (figures.messages_per_s === null) throw new Error('full load could not be measured')
    const messagesPerSecond = figures.messages_per_s / 2
    const slice = await publish(run, target, { ...publishers, until: { seconds }, messagesPerSecond })
    figures.ack_ms.half_load = ackOf([slice])
    figures.slices.half_load = sliceFigures([slice])
    await service.drained(drainMs(run))
  })
}

async function bareBrokers(run: Run): Promise<Contender[]> {
  const { workplace } = run
  const contender = (key: Contender['key'], name: string, { pid, port }: BareBroker): Contender => ({
    ...{ key, name, pid, port, ledger: openLedger() },
    settle: async () => {},
  })
  const aedes = await phase(run, 'Aedes starts', () => startAedes(workplace))
  const program = findMosquitto()
  if (!program) run.say('Mosquitto is not installed: left out')
  const mosquitto = program && (await phase(run, 'Mosquitto starts', () => startMosquitto(workplace, program)))
  return [
    ...(aedes ? [contender('aedes', 'Aedes', aedes)] : []),
    ...(mosquitto ? [contender('mosquitto', 'Mosquitto', mosquitto)] : []),
  ]
}

/** Counts in the file of a service that has stopped. */
async function countMessages(run: Run, { folder }: Service, ledger: Ledger): Promise<StoredCount | undefined> {
  return phase(run, 'the store is counted', async () => {
    if (run.figures.spool_left_mb === null) throw new Error('not everything that was acknowledged had its time')
    const file = join(folder, 'telemetry.duckdb')
    const bytes = statSync(file).size
    const count = await countIn(run, file, ledger)
    run.figures.bytes_per_message = figure(bytes / count.messages)
    return count
  })
}

export function countIn(run: Run, file: string, ledger: Ledger): Promise<StoredCount> {
  return countStored(file, { acknowledged: ledger.acknowledged(), signals: LOAD_SIGNALS, startMs: run.startMs })
}

/** CPU seconds so far; undefined where the system does not tell. */
async function cpuByPart(service: Service): Promise<CpuByPart | undefined> {
  const samples = await service.metrics()
  const threads = [...samples].flatMap(([name, seconds]) => {
    const thread = /^outrigger_thread_cpu_seconds_total\{thread="(\w+)"\}$/.exec(name)?.[1]
    return thread === undefined ? [] : [[thread, seconds] as const]
  })
  const whole = cpuSeconds(service.pid)
  if (whole === undefined) return undefined
  const helpers = whole - threads.reduce((sum, [, seconds]) => sum + seconds, 0)
  return { ...Object.fromEntries(threads), helpers, postgresql: cpuSecondsOfAll(descendants(service.pid)) ?? 0 }
}

/** The service and its PostgreSQL, MiB. */
export function memoryMb({ pid }: Service): number | null {
  const own = rssMb(pid)
  return own === undefined ? null : figure(own + (pssMb(descendants(pid)) ?? 0))
}

function sumOf(samples: ReadonlyMap<string, number>, name: string): number {
  return [...samples].reduce((sum, [key, value]) => (key.startsWith(`${name}{`) ? sum + value : sum), 0)
}

function folderBytes(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
}
