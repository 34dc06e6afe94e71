import type { Selectable, Transaction } from 'kysely'
import type { Catalogue } from '../catalogue/catalogue.ts'
import type { Database } from '../records/tables.ts'
import { jobText } from './job-text.ts'
import { type MachineRecord, machineOfJob } from './machine-of-job.ts'
import { type MaintenanceJob, maintenanceJobSchema } from './maintenance-job.ts'
import { warranty, warrantyHours } from './service-promise.ts'
import type { JobsTable } from './tables.ts'

export interface MessageParts {
  readonly catalogue: Catalogue
  /** Of the job, as `machineRecord` reads it. */
  readonly machine: MachineRecord
  /** Epoch ms. */
  readonly now: number
}

/**
 * Writes what a job says now to the outbox, within the transaction that changed it.
 *
 * @returns the message, as a consumer of the queue will get it
 */
export async function putOnQueue(
  trx: Transaction<Database>,
  { catalogue, machine, now }: MessageParts,
  job: Selectable<JobsTable>,
): Promise<MaintenanceJob> {
  const { component } = jobText(catalogue.profile(machine.type, machine.model), job.component, job.failure_mode)
  const { state, until } = warranty(machine.deliveredAt?.getTime() ?? null, machine.hours, now)
  const message = maintenanceJobSchema.parse({
    version: 1,
    id: job.id,
    key: job.key,
    revision: job.revision,
    machine: machineOfJob(machine, now),
    component: { id: job.component, name: component },
    failureMode: job.failure_mode,
    severity: job.severity,
    priority: job.priority,
    title: job.title,
    action: job.action,
    reason: job.reason,
    evidence: job.evidence,
    parts: job.parts,
    warranty: { state, until: until === null ? null : new Date(until).toISOString(), untilHours: warrantyHours },
    dueAt: job.due_at.toISOString(),
    alarmIds: job.alarm_ids,
    accepted: job.accepted_at && job.accepted_by ? { by: job.accepted_by, at: job.accepted_at.toISOString() } : null,
    createdAt: job.created_at.toISOString(),
  } satisfies MaintenanceJob)
  await trx
    .insertInto('outbox')
    .values({ name: 'proactive-maintenance', payload: JSON.stringify(message), created_at: new Date(now) })
    .execute()
  return message
}
