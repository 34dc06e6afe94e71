import { expect } from 'vitest'
import { type RunningService, until } from './running-service.ts'

/** Reading sets since the start of the process. */
export interface SetCounts {
  readonly received: number
  readonly stored: number
  readonly duplicate: number
  readonly quarantined: number
  readonly waiting: number
}

/** One snapshot of what became of everything, which has to add up. */
export async function setCounts(service: Pick<RunningService, 'request'>): Promise<SetCounts> {
  const { body } = await service.request('GET', '/metrics')
  const sample = (name: string) => Number(new RegExp(`^outrigger_${name} (\\d+)`, 'm').exec(body)?.[1])
  const counts = {
    received: sample('reading_sets_received_total'),
    stored: sample('reading_sets_total\\{outcome="stored"\\}'),
    duplicate: sample('reading_sets_total\\{outcome="duplicate"\\}'),
    quarantined: sample('reading_sets_total\\{outcome="quarantined"\\}'),
    waiting: sample('reading_sets_waiting'),
  }
  const { stored, duplicate, quarantined, waiting } = counts
  expect(counts.received, 'received = stored + duplicate + quarantined + waiting').toBe(
    stored + duplicate + quarantined + waiting,
  )
  return counts
}

/** The counts once nothing waits any more; on the way there they have to add up each time. */
export function settledCounts(service: Pick<RunningService, 'request'>, timeoutMs = 25_000): Promise<SetCounts> {
  return until(async () => {
    const counts = await setCounts(service)
    return counts.waiting === 0 ? counts : undefined
  }, timeoutMs)
}
