import { keepInQuarantine } from '../../src/acquire/quarantine.ts'
import { deviceOfTopic } from '../../src/acquire/topics.ts'
import { advise } from '../../src/advise/advisor.ts'
import { inspectionProgramme } from '../../src/advise/inspections.ts'
import { raise as raiseAlarm } from '../advise/story.ts'
import { catalogue } from '../machines/story.ts'
import { setsOf } from '../store/sets-of.ts'
import { now, type RunningApi } from './running-api.ts'

const minuteMs = 60_000

/** Hot hydraulic oil of a registered machine, and the job that comes of it. @returns ids of alarm and job */
export async function raise({ records: { db } }: RunningApi, machine: string, severity: 'S2' | 'S3') {
  const alarm = await raiseAlarm(db, machine, {
    severity,
    component: 'hyd_tank_filters_cooler',
    raisedAt: now - minuteMs,
  })
  await advise(db, { catalogue, now })
  const { id: job } = await db
    .selectFrom('jobs')
    .select('id')
    .where('machine', '=', machine)
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirstOrThrow()
  return { alarm, job }
}

let position = 0

/** @returns its id */
export async function quarantine({ records: { db } }: RunningApi, topic: string, bytes: Buffer): Promise<number> {
  const entry = { position: position++, item: 0, receivedAt: now, topic, device: deviceOfTopic(topic, ''), bytes }
  await db.transaction().execute((trx) => keepInQuarantine(trx, [{ ...entry, reason: 'shape', detail: 'not a set' }]))
  const row = await db.selectFrom('quarantine').select('id').orderBy('id', 'desc').limit(1).executeTakeFirstOrThrow()
  return row.id
}

/** A counter that fell by 100 h. @returns its id */
export async function counterDoubt({ records: { db } }: RunningApi, machine: string, at = now): Promise<number> {
  const doubt = { signal: 'engine_hours_h', kind: 'counter_fall', value: 4_200, previous: 4_300 }
  const row = await db
    .insertInto('data_quality_events')
    .values({ machine, at: new Date(at), detail: 'fell by 100 h', ...doubt })
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

/** Something of everything that the API shows, of the machine `pump-1`. */
export async function fillRecords(api: RunningApi): Promise<void> {
  await api.post('/machines', { id: 'pump-1', type: 'boom_pump', deliveredAt: '2026-06-01T00:00:00Z' })
  await api.store.append(
    setsOf(
      [63.5, { mean: 70, min: 60, max: 80, n: 5 }, 72].map((value, i) => ({
        machine: 'pump-1',
        signal: 'hyd_oil_temp_c',
        measuredAt: now - (3 - i) * minuteMs,
        value,
      })),
    ),
  )
  const { job } = await raise(api, 'pump-1', 'S2')
  await api.post(`/jobs/${job}/accept`, { user: 'ana' })
  await quarantine(api, 'machines/pump-1/telemetry', Buffer.from('{'))
  await counterDoubt(api, 'pump-1')
  await inspectionProgramme(api.records.db, catalogue).remind({ now })
}
