import type { Kysely } from 'kysely'
import type { Catalogue } from '../catalogue/catalogue.ts'
import type { Severity, Text } from '../catalogue/schema.ts'
import type { Database } from '../records/tables.ts'
import { jobText, reasonText } from './job-text.ts'
import { machineRecord } from './machine-of-job.ts'
import type { Priority } from './maintenance-job.ts'
import type { JobState } from './tables.ts'

const shownAlarms = 50

/** What a machine's cab or gateway is told on `machines/{machine}/advice`, retained. */
export interface Advice<Task> {
  readonly version: 1
  readonly machine: string
  /** RFC 3339, when it was put together. */
  readonly at: string
  /** Active alarms, the worst first; nothing that is silenced. */
  readonly alarms: readonly {
    readonly id: string
    readonly component: string
    readonly failureMode: string
    readonly severity: Severity
    readonly acknowledged: boolean
    readonly raisedAt: string
    readonly title: Text
    readonly reason: Text
  }[]
  /** Open jobs, the worst first. */
  readonly jobs: readonly {
    readonly id: string
    readonly component: string
    readonly failureMode: string
    readonly severity: Severity
    readonly priority: Priority
    readonly state: JobState
    readonly title: Text
    readonly action: Text
    readonly reason: Text
    readonly dueAt: string
  }[]
  readonly operatorTasks: readonly Task[]
}

export interface AdviceParts<Task> {
  readonly catalogue: Catalogue
  readonly operatorTasks: readonly Task[]
  /** Epoch ms. */
  readonly now: number
}

/** @throws when there is no such machine */
export async function adviceFor<Task>(
  db: Kysely<Database>,
  id: string,
  { catalogue, operatorTasks, now }: AdviceParts<Task>,
): Promise<Advice<Task>> {
  const machine = await machineRecord(db, id)
  const profile = catalogue.profile(machine.type, machine.model)
  const alarms = await db
    .selectFrom('alarms')
    .selectAll()
    .where('machine', '=', id)
    .where('state', 'in', ['unacknowledged', 'acknowledged'])
    .where('cleared_at', 'is', null)
    .orderBy('severity', 'desc')
    .orderBy('raised_at', 'desc')
    .limit(shownAlarms)
    .execute()
  const jobs = await db
    .selectFrom('jobs')
    .selectAll()
    .where('machine', '=', id)
    .where('state', 'in', ['proposed', 'ticketed'])
    .orderBy('severity', 'desc')
    .orderBy('number')
    .execute()
  return {
    version: 1,
    machine: id,
    at: new Date(now).toISOString(),
    alarms: alarms.map((alarm) => ({
      id: alarm.id,
      component: alarm.component,
      failureMode: alarm.failure_mode,
      severity: alarm.severity,
      acknowledged: alarm.state === 'acknowledged',
      raisedAt: alarm.raised_at.toISOString(),
      title: jobText(profile, alarm.component, alarm.failure_mode).title,
      reason: reasonText(profile, [
        {
          alarm: alarm.id,
          signal: alarm.signal,
          condition: alarm.key,
          rule: alarm.rule,
          severity: alarm.severity,
          value: alarm.value,
          limit: alarm.limit_value,
          unit: alarm.unit,
          since: alarm.since.toISOString(),
        },
      ]),
    })),
    jobs: jobs.map((job) => ({
      id: job.id,
      component: job.component,
      failureMode: job.failure_mode,
      severity: job.severity,
      priority: job.priority,
      state: job.state,
      title: job.title,
      action: job.action,
      reason: job.reason,
      dueAt: job.due_at.toISOString(),
    })),
    operatorTasks,
  }
}
