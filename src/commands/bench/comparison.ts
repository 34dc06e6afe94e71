import { type Figures, figure, type LoadFigures, median } from './figures.ts'
import { latencyHistogram } from './latency-histogram.ts'
import { phase, publish, type Run, type Slice, type Target } from './run.ts'

/** Something that takes its turn with the others; after it, the machine has to be quiet again. */
export interface Contender extends Target {
  /** As the figures name it. */
  readonly key: 'service' | 'aedes' | 'mosquitto'
  settle(): Promise<void>
}

const SERVICE = 'service'
/** A thread that works so much of the time is what holds the others up. */
const BUSY = 0.9

/** Gives the same load to the service and to the bare brokers in turn, so that what else the machine does hits all alike. */
export async function takeTurns(
  run: Run,
  contenders: readonly Contender[],
  shape: { machines: readonly string[]; window: number },
): Promise<Map<Contender['key'], Slice[]>> {
  const slices = new Map<Contender['key'], Slice[]>()
  for (let round = 1; round <= run.plan.rounds; round++) {
    for (const contender of contenders) {
      const name = `${contender.name}, ${shape.machines.length} connections, turn ${round} of ${run.plan.rounds}`
      await phase(run, name, async () => {
        const slice = await publish(run, contender, { ...shape, until: { seconds: run.plan.sliceSeconds } })
        slices.set(contender.key, [...(slices.get(contender.key) ?? []), slice])
        await contender.settle()
      })
    }
  }
  return slices
}

/**
 * Fills in what the turns tell.
 *
 * @param sustained messages/s of the service over a longer time: its turns are too short to count more than that, since
 *   what the store does not keep up with waits in the spool
 */
export function fillComparison(
  figures: LoadFigures,
  slices: ReadonlyMap<Contender['key'], Slice[]>,
  sustained = Number.POSITIVE_INFINITY,
): void {
  for (const [key, of] of slices) figures.slices[key] = sliceFigures(of)
  const service = Math.min(sustained, rateOf(slices.get(SERVICE)))
  figures.ratio_to_bare_broker = figure(service / rateOf(slices.get('aedes')))
  figures.ratio_to_mosquitto = figure(service / rateOf(slices.get('mosquitto')))
}

/** Says where the generator has measured itself. */
export function judgeGenerator(figures: LoadFigures): void {
  figures.void_reasons = Object.entries(figures.slices).flatMap(([key, slice]) => voidReason(key, slice) ?? [])
  figures.void = figures.void_reasons.length > 0
}

/** Acknowledgement times of all turns of the service together. */
export function ackOf(slices: readonly Pick<Slice, 'latencies'>[] | undefined): Figures['ack_ms']['full_load'] {
  const histogram = latencyHistogram()
  for (const { latencies } of slices ?? []) histogram.add(latencies)
  return { p50: figure(histogram.percentile(0.5)), p99: figure(histogram.percentile(0.99)) }
}

export function rateOf(slices: readonly Slice[] | undefined): number {
  return median((slices ?? []).map(({ messagesPerSecond }) => messagesPerSecond))
}

export function sliceFigures(slices: readonly Slice[]): LoadFigures['slices'][string] {
  return {
    messages_per_s: figure(rateOf(slices)),
    generator_cpu_share: figure(median(slices.map(({ generatorShare }) => generatorShare))),
    busiest_thread_share: figure(median(slices.map(({ busiestThreadShare = Number.NaN }) => busiestThreadShare))),
  }
}

/** A generator that works all the time, while what it drives has time left, measures itself. */
function voidReason(key: string, slice: LoadFigures['slices'][string]): string | undefined {
  const { generator_cpu_share: generator, busiest_thread_share: busiest } = slice
  if (generator === null || generator < BUSY || busiest === null || busiest >= BUSY) return undefined
  const percent = (share: number) => `${Math.round(share * 100)} %`
  return `${key}: the generator was busy ${percent(generator)} of a core and the busiest thread of the other side ${percent(busiest)}`
}
