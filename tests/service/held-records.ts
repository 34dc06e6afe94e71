import pg from 'pg'
import { onTestFinished } from 'vitest'
import { readHolder } from '../../src/records/data-folder.ts'
import { type RunningService, until } from './running-service.ts'

/** Keeps the stages from recording anything, and so from working off the spool. @returns what lets them go on */
export async function holdRecords({ folder }: RunningService): Promise<() => Promise<void>> {
  const holder = await readHolder(folder)
  const client = new pg.Client(holder?.records)
  client.on('error', () => {}) // PostgreSQL ends with the service
  await client.connect()
  onTestFinished(() => client.end().catch(() => {}))
  await client.query('begin; lock table spool_progress in access exclusive mode')
  return async () => void (await client.query('rollback'))
}

/** A part as `/readyz` shows it, with the status of the answer. */
export async function partOf(service: RunningService, part: string) {
  const { status, body } = await service.request('GET', '/readyz')
  return { status, ...body.parts.find((state: { part: string }) => state.part === part) }
}

/** What became of everything, once nothing waits any more. */
export async function outcomes(service: RunningService): Promise<Record<string, number>> {
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined), 120_000)
  return {
    received: await service.metric('reading_sets_received_total'),
    stored: await service.metric('reading_sets_total{outcome="stored"}'),
    duplicate: await service.metric('reading_sets_total{outcome="duplicate"}'),
    quarantined: await service.metric('reading_sets_total{outcome="quarantined"}'),
  }
}
