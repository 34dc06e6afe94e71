import type { Kysely, Selectable, Transaction } from 'kysely'
import { z } from 'zod'
import type { Catalogue } from '../catalogue/catalogue.ts'
import { type Decision, recordChange } from '../records/audit.ts'
import { type Page, pageOf } from '../records/page.ts'
import type { Database } from '../records/tables.ts'
import type { TicketDesk } from './desk.ts'
import { putOnQueue } from './job-message.ts'
import { machineRecord } from './machine-of-job.ts'
import { evidenceSchema, jobPartSchema, prioritySchema, textSchema } from './maintenance-job.ts'
import type { JobState, JobsTable } from './tables.ts'

/** There is no job of this id. */
export class JobUnknown extends Error {
  override readonly name = 'JobUnknown'
  constructor(id: string) {
    super(`there is no job '${id}'`)
  }
}

/** Only a proposal can be accepted or withdrawn: once it has a ticket, the ticket says what becomes of it. */
export class JobNotProposed extends Error {
  override readonly name = 'JobNotProposed'
  constructor(id: string, state: JobState) {
    super(`job ${id} is ${state}, not proposed`)
  }
}

export const jobSchema = z.object({
  id: z.string(),
  key: z.string(),
  revision: z.int(),
  machine: z.string(),
  component: z.string(),
  failureMode: z.string(),
  severity: z.enum(['S2', 'S3', 'S4']),
  priority: prioritySchema,
  state: z.enum(['proposed', 'ticketed', 'done', 'withdrawn']),
  title: textSchema,
  action: textSchema,
  reason: textSchema,
  evidence: z.array(evidenceSchema),
  alarmIds: z.array(z.string()),
  parts: z.array(jobPartSchema),
  dueAt: z.string(),
  acceptedAt: z.string().nullable(),
  acceptedBy: z.string().nullable(),
  endedAt: z.string().nullable(),
  endedBy: z.string().nullable(),
  endReason: z.string().nullable(),
  createdAt: z.string(),
  updatedAt: z.string(),
})
export type Job = z.infer<typeof jobSchema>

export interface JobQuery {
  readonly machine?: string | undefined
  readonly state?: JobState | undefined
  /** `next` of the page before. */
  readonly after?: number | undefined
  readonly limit: number
}

/** Jobs, newest first. */
export async function listJobs(db: Kysely<Database>, { machine, state, after, limit }: JobQuery): Promise<Page<Job>> {
  let query = db
    .selectFrom('jobs')
    .selectAll()
    .orderBy('number', 'desc')
    .limit(limit + 1)
  if (machine !== undefined) query = query.where('machine', '=', machine)
  if (state !== undefined) query = query.where('state', '=', state)
  if (after !== undefined) query = query.where('number', '<', after)
  return pageOf(await query.execute(), limit, jobOf, ({ number }) => number)
}

/** @throws {JobUnknown} */
export async function jobById(db: Kysely<Database>, id: string): Promise<Job> {
  const row = await db.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw new JobUnknown(id)
  return jobOf(row)
}

/**
 * A person wants a proposal done now: it goes onto the queue again as accepted, and a desk opens its ticket whatever
 * its priority. Where the desk is ours it is asked at once, so that the answer shows the ticket; should that fail, the
 * queue brings it the same message. Accepting twice says the same as once.
 *
 * @throws {JobUnknown}
 * @throws {JobNotProposed}
 */
export async function acceptJob(
  db: Kysely<Database>,
  id: string,
  { user, reason, now }: Decision,
  { catalogue, desk }: { catalogue: Catalogue; desk?: TicketDesk | undefined },
): Promise<Job> {
  const message = await db.transaction().execute(async (trx) => {
    const job = await lockProposal(trx, id)
    if (job.accepted_at) return undefined
    const at = new Date(now)
    const accepted = await trx
      .updateTable('jobs')
      .set({ accepted_at: at, accepted_by: user, revision: job.revision + 1, updated_at: at })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow()
    await audit(trx, 'job.accept', job, accepted, { user, reason, now })
    return putOnQueue(trx, { catalogue, machine: await machineRecord(trx, job.machine), now }, accepted)
  })
  if (message && desk) await desk.take(message)
  return jobById(db, id)
}

/**
 * A person says that a proposal is not worth doing. The same failure makes a new job when its alarm is raised again.
 *
 * @throws {JobUnknown}
 * @throws {JobNotProposed}
 */
export function withdrawJob(db: Kysely<Database>, id: string, { user, reason, now }: Decision): Promise<Job> {
  return db.transaction().execute(async (trx) => {
    const job = await lockProposal(trx, id)
    const at = new Date(now)
    const withdrawn = await trx
      .updateTable('jobs')
      .set({ state: 'withdrawn', ended_at: at, ended_by: user, end_reason: reason ?? null, updated_at: at })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow()
    await audit(trx, 'job.withdraw', job, withdrawn, { user, reason, now })
    return jobOf(withdrawn)
  })
}

async function lockProposal(trx: Transaction<Database>, id: string): Promise<Selectable<JobsTable>> {
  const job = await trx.selectFrom('jobs').selectAll().where('id', '=', id).forUpdate().executeTakeFirst()
  if (!job) throw new JobUnknown(id)
  if (job.state !== 'proposed') throw new JobNotProposed(id, job.state)
  return job
}

async function audit(
  trx: Transaction<Database>,
  action: string,
  before: Selectable<JobsTable>,
  after: Selectable<JobsTable>,
  decision: Decision,
): Promise<void> {
  const shown = ({ state, accepted_at }: Selectable<JobsTable>) => ({ state, acceptedAt: accepted_at })
  await recordChange(trx, { action, subject: before.id, before: shown(before), after: shown(after) }, decision)
}

function jobOf(row: Selectable<JobsTable>): Job {
  return {
    id: row.id,
    key: row.key,
    revision: row.revision,
    machine: row.machine,
    component: row.component,
    failureMode: row.failure_mode,
    severity: row.severity,
    priority: row.priority,
    state: row.state,
    title: row.title,
    action: row.action,
    reason: row.reason,
    evidence: row.evidence,
    alarmIds: row.alarm_ids,
    parts: row.parts,
    dueAt: row.due_at.toISOString(),
    acceptedAt: row.accepted_at?.toISOString() ?? null,
    acceptedBy: row.accepted_by,
    endedAt: row.ended_at?.toISOString() ?? null,
    endedBy: row.ended_by,
    endReason: row.end_reason,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  }
}
