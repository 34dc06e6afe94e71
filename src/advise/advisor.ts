import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { Catalogue } from '../catalogue/catalogue.ts'
import type { Severity } from '../catalogue/schema.ts'
import type { AlarmEventsTable, AlarmsTable, Database } from '../records/tables.ts'
import { putOnQueue } from './job-message.ts'
import { jobText, reasonText } from './job-text.ts'
import { machineRecord } from './machine-of-job.ts'
import { type Evidence, jobKey } from './maintenance-job.ts'
import { dueAt, isWorse, priorityOf } from './service-promise.ts'
import type { JobsTable } from './tables.ts'
import { noteAlarmOnTicket } from './tickets.ts'

const batchSize = 50
/** What happened longer than this before its reading came in is backlog. */
const backlogMs = 5 * 60_000
/** How long an S2 alarm out of a backlog waits for the rest of it: where it also cleared there, it makes no job. */
const settleMs = 10_000

export interface AdviseParts {
  readonly catalogue: Catalogue
  /** Epoch ms, wall clock. */
  readonly now: number
  /** Told as soon as messages are in the outbox, before the rest is looked at. */
  readonly onQueued?: () => void
}

export interface Advised {
  /** Messages written to the outbox. */
  readonly queued: number
  /** Machines of which something changed, each once. */
  readonly machines: ReadonlySet<string>
}

/**
 * Turns the alarm events that nobody has looked at into jobs, in their order. Jobs, messages for the queue and the
 * mark on the event commit together, so an event counts once, however often and by however many this is called.
 */
export async function advise(db: Kysely<Database>, { catalogue, now, onQueued }: AdviseParts): Promise<Advised> {
  const machines = new Set<string>()
  let queued = 0
  for (;;) {
    const batch = await db.transaction().execute((trx) => adviseBatch(trx, catalogue, now))
    queued += batch.queued
    if (batch.queued > 0) onQueued?.()
    for (const machine of batch.machines) machines.add(machine)
    if (batch.machines.length < batchSize) return { queued, machines }
  }
}

type Trx = Transaction<Database>
type Job = Selectable<JobsTable>

/** An event with the alarm it belongs to. */
type AlarmEvent = Pick<Selectable<AlarmEventsTable>, 'id' | 'kind' | 'severity' | 'value' | 'limit_value'> & {
  readonly previous: Severity | null
} & Pick<
    Selectable<AlarmsTable>,
    | 'machine'
    | 'key'
    | 'rule'
    | 'component'
    | 'failure_mode'
    | 'signal'
    | 'state'
    | 'historical'
    | 'unit'
    | 'since'
    | 'cleared_at'
    | 'suppressed_by'
  > & { readonly alarm: string }

async function adviseBatch(
  trx: Trx,
  catalogue: Catalogue,
  now: number,
): Promise<{ queued: number; machines: string[] }> {
  // One at a time: order matters within a key, and keys are only known row by row.
  await sql`select pg_advisory_xact_lock(hashtext('outrigger.advise'))`.execute(trx)
  const events = await pendingEvents(trx, now)
  let queued = 0
  for (const event of events) queued += await adviseEvent(trx, catalogue, now, event)
  if (events.length > 0) {
    await trx
      .updateTable('alarm_events')
      .set({ advised_at: new Date(now) })
      .where(
        'id',
        'in',
        events.map(({ id }) => id),
      )
      .execute()
  }
  return { queued, machines: events.map(({ machine }) => machine) }
}

function pendingEvents(trx: Trx, now: number): Promise<AlarmEvent[]> {
  return trx
    .selectFrom('alarm_events as event')
    .innerJoin('alarms as alarm', 'alarm.id', 'event.alarm')
    .select(({ selectFrom }) => [
      'event.id',
      'event.kind',
      'event.severity',
      'event.value',
      'event.limit_value',
      'alarm.id as alarm',
      'alarm.machine',
      'alarm.key',
      'alarm.rule',
      'alarm.component',
      'alarm.failure_mode',
      'alarm.signal',
      'alarm.state',
      'alarm.historical',
      'alarm.unit',
      'alarm.since',
      'alarm.cleared_at',
      'alarm.suppressed_by',
      selectFrom('alarm_events as before')
        .select('before.severity')
        .whereRef('before.alarm', '=', 'event.alarm')
        .whereRef('before.id', '<', 'event.id')
        .where('before.kind', 'in', ['raised', 'severity'])
        .orderBy('before.id', 'desc')
        .limit(1)
        .as('previous'),
    ])
    .where('event.advised_at', 'is', null)
    .where(({ not, and, eb }) =>
      not(
        and([
          eb('event.severity', '=', 'S2'),
          eb('alarm.cleared_at', 'is', null),
          eb('alarm.received_at', '>', new Date(now - settleMs)),
          sql<boolean>`event.at < alarm.received_at - make_interval(secs => ${backlogMs / 1000})`,
        ]),
      ),
    )
    .orderBy('event.id')
    .limit(batchSize)
    .execute()
}

/** @returns how many messages were written */
async function adviseEvent(trx: Trx, catalogue: Catalogue, now: number, event: AlarmEvent): Promise<number> {
  if (!callsForWork(event)) return 0
  const key = jobKey(event.machine, event.component, event.failure_mode)
  const open = await openJob(trx, key)
  if (open) return attach(trx, catalogue, now, event, open)
  if (!startsWork(event)) return 0
  return create(trx, catalogue, now, event, key)
}

/** Whether the event says that something is wrong now, or was, that nobody silenced. */
function callsForWork({ kind, state, suppressed_by, cleared_at }: AlarmEvent): boolean {
  if (state === 'suppressed' || state === 'shelved') return false
  if (kind === 'unsuppressed' || kind === 'unshelved') return cleared_at === null
  if (kind !== 'raised' && kind !== 'severity') return false
  return suppressed_by === null
}

/** Whether the event is enough for a job of its own, where none is open. */
function startsWork({ kind, severity, previous, historical }: AlarmEvent): boolean {
  if (severity === 'S1') return false
  if (historical && severity === 'S2') return false
  // a person has ended the job of this alarm: its getting better is no new one
  if (kind === 'severity' && previous !== null) return isWorse(severity, previous)
  return true
}

function openJob(trx: Trx, key: string): Promise<Job | undefined> {
  return trx
    .selectFrom('jobs')
    .selectAll()
    .where('key', '=', key)
    .where('state', 'in', ['proposed', 'ticketed'])
    .forUpdate()
    .executeTakeFirst()
}

async function create(trx: Trx, catalogue: Catalogue, now: number, event: AlarmEvent, key: string): Promise<number> {
  const { severity } = event
  if (severity === 'S1') return 0
  const machine = await machineRecord(trx, event.machine)
  const profile = catalogue.profile(machine.type, machine.model)
  const text = jobText(profile, event.component, event.failure_mode)
  const evidence = [evidenceOf(event)]
  const priority = priorityOf(severity)
  const at = new Date(now)
  const job = await trx
    .insertInto('jobs')
    .values({
      key,
      machine: event.machine,
      component: event.component,
      failure_mode: event.failure_mode,
      severity,
      priority,
      title: JSON.stringify(text.title),
      action: JSON.stringify(text.action),
      reason: JSON.stringify(reasonText(profile, evidence)),
      evidence: JSON.stringify(evidence),
      parts: JSON.stringify(text.parts),
      alarm_ids: [event.alarm],
      due_at: new Date(dueAt(priority, now, await nextVisitAt(trx, event.machine, now))),
      created_at: at,
      updated_at: at,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  await putOnQueue(trx, { catalogue, machine, now }, job)
  return 1
}

async function attach(trx: Trx, catalogue: Catalogue, now: number, event: AlarmEvent, job: Job): Promise<number> {
  const machine = await machineRecord(trx, event.machine)
  const profile = catalogue.profile(machine.type, machine.model)
  const evidence = withEvidence(job.evidence, evidenceOf(event))
  const known = job.alarm_ids.includes(event.alarm)
  const severity = event.severity !== 'S1' && isWorse(event.severity, job.severity) ? event.severity : job.severity
  const rises = severity !== job.severity
  const priority = priorityOf(severity)
  const updated = await trx
    .updateTable('jobs')
    .set({
      severity,
      priority,
      revision: rises ? job.revision + 1 : job.revision,
      due_at: rises ? new Date(Math.min(job.due_at.getTime(), dueAt(priority, now))) : job.due_at,
      reason: JSON.stringify(reasonText(profile, evidence)),
      evidence: JSON.stringify(evidence),
      alarm_ids: known ? job.alarm_ids : [...job.alarm_ids, event.alarm],
      updated_at: new Date(now),
    })
    .where('id', '=', job.id)
    .returningAll()
    .executeTakeFirstOrThrow()
  if (!known)
    await noteAlarmOnTicket(trx, job.id, { alarm: event.alarm, text: reasonText(profile, [evidenceOf(event)]).en, now })
  if (!rises) return 0
  await putOnQueue(trx, { catalogue, machine, now }, updated)
  return 1
}

/** The next service visit of the inspection programme, epoch ms. */
async function nextVisitAt(trx: Trx, machine: string, now: number): Promise<number | undefined> {
  const visit = await trx
    .selectFrom('inspections')
    .select(({ fn }) => fn.min('due_at').as('due_at'))
    .where('machine', '=', machine)
    .where('performer', '=', 'service')
    .where('state', 'in', ['upcoming', 'open'])
    .where('due_at', '>', new Date(now))
    .executeTakeFirst()
  return visit?.due_at?.getTime()
}

function evidenceOf(event: AlarmEvent): Evidence {
  return {
    alarm: event.alarm,
    signal: event.signal,
    condition: event.key,
    rule: event.rule,
    severity: event.severity,
    value: event.value,
    limit: event.limit_value,
    unit: event.unit,
    since: event.since.toISOString(),
  }
}

/** One entry for each condition: as bad as it was, since it was first seen, under its newest alarm. */
function withEvidence(evidence: readonly Evidence[], item: Evidence): Evidence[] {
  const before = evidence.find(({ condition }) => condition === item.condition)
  if (!before) return [...evidence, item]
  const worst = isWorse(before.severity, item.severity) ? before : item
  const [since = item.since] = [before.since, item.since].sort()
  return evidence.map((entry) => (entry === before ? { ...worst, alarm: item.alarm, since } : entry))
}
