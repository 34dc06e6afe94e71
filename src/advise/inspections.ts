import { createHash } from 'node:crypto'
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import type { Catalogue } from '../catalogue/catalogue.ts'
import type { Task } from '../catalogue/schema.ts'
import { meanUse, type UseDay } from '../features/hours-ledger-use.ts'
import type { Database } from '../records/tables.ts'
import { type InspectionReminder, inspectionReminderSchema } from './inspection-reminder.ts'
import { type Item, reminderOf, visitSummary } from './inspection-visit.ts'
import { machineRecord } from './machine-of-job.ts'
import { type DuePoint, duePoints, type Standing } from './programme.ts'
import { type SiteCalendar, siteCalendar } from './programme-calendar.ts'
import type { Counter } from './programme-counter.ts'
import type { ProgrammeChecksTable, ServiceLedgersTable } from './programme-tables.ts'
import { nextVisit, outlook, type Planned } from './programme-window.ts'

const BATCH = 50
/** Forecasts move with every day's use, so every machine is looked at once a day. */
const REFRESH_MS = 86_400_000
/** A forecast that moved by less than an hour, or than this part of the way to it, is the same. */
const SAME_MS = 3_600_000
const SAME_PART = 0.02

/** The inspection programme of all machines, kept in the records. */
export interface InspectionProgramme {
  /**
   * Looks at every machine whose counters or dates came to something, keeps its due points, and writes a reminder to
   * the outbox for each visit that is near: in the transaction that marks it, so it is written once, whatever crashes
   * and however many call this at the same time. Machines at which nothing can have changed cost next to nothing.
   *
   * @returns how many reminders were written
   */
  remind(query: { readonly now: number; readonly machine?: string | undefined }): Promise<number>
}

/** A machine with what its programme depends on. */
interface Subject {
  readonly id: string
  readonly type: string
  readonly model: string | null
  readonly timeZone: string
  readonly deliveredAt: Date | null
  readonly revision: number
  readonly joinedAt: Date
  readonly ledger: Selectable<ServiceLedgersTable> | undefined
}

/** The inspection programme of all machines, over their records and the tasks of the catalogue. */
export function inspectionProgramme(db: Kysely<Database>, catalogue: Catalogue): InspectionProgramme {
  const digests = new Map<ReadonlyMap<string, Task>, string>()
  const calendars = new Map<string, SiteCalendar>()
  for (const { tasks } of [...catalogue.types.values(), ...catalogue.models.values()]) {
    digests.set(
      tasks,
      createHash('sha256')
        .update(JSON.stringify([...tasks]))
        .digest('base64url'),
    )
  }

  return {
    async remind({ now, machine }) {
      let reminders = 0
      let after = ''
      for (;;) {
        const ids = await machinesToLookAt(now, machine, after)
        const last = ids.at(-1)
        if (last === undefined) return reminders
        reminders += await db.transaction().execute((trx) => lookAt(trx, ids, now))
        if (ids.length < BATCH) return reminders
        after = last
      }
    },
  }

  async function machinesToLookAt(now: number, machine: string | undefined, after: string): Promise<string[]> {
    const { rows } = await sql<{ id: string }>`
      select m.id from machines m
      left join programme_checks c on c.machine = m.id
      left join service_ledgers l on l.machine = m.id
      where m.state in ('in_service', 'parked', 'workshop') and m.merged_into is null
        and m.id > ${after} and (${machine ?? null}::text is null or m.id = ${machine ?? null})
        and (c.machine is null
          or c.revision is distinct from m.revision
          or not (c.tasks_digest = any(${[...digests.values()]}::text[]))
          or c.next_at <= ${new Date(now)}
          or (l.machine is not null and (
            l.hours >= c.next_hours
            or l.volume_m3 >= c.next_volume_m3
            or l.start_hours is distinct from c.start_hours
            or l.start_volume_m3 is distinct from c.start_volume_m3)))
      order by m.id limit ${BATCH}`.execute(db)
    return rows.map(({ id }) => id)
  }

  async function lookAt(trx: Transaction<Database>, ids: readonly string[], now: number): Promise<number> {
    await trx
      .insertInto('programme_checks')
      .values(ids.map((machine) => ({ machine, joined_at: new Date(now) })))
      .onConflict((conflict) => conflict.doNothing())
      .execute()
    // whoever holds a machine looks at it; what it found is read after the lock
    const subjects = await trx
      .selectFrom('programme_checks')
      .innerJoin('machines', 'machines.id', 'programme_checks.machine')
      .select([
        'id',
        'type',
        'model',
        'time_zone as timeZone',
        'delivered_at as deliveredAt',
        'machines.revision',
        'joined_at as joinedAt',
      ])
      .where('machine', 'in', ids)
      .forUpdate('programme_checks')
      .skipLocked()
      .execute()
    if (subjects.length === 0) return 0
    const held = subjects.map(({ id }) => id)
    const ledgers = await trx.selectFrom('service_ledgers').selectAll().where('machine', 'in', held).execute()
    const items = await trx.selectFrom('inspection_items').selectAll().where('machine', 'in', held).execute()
    const plans = subjects.map((subject) =>
      planOf(
        { ...subject, ledger: ledgers.find(({ machine }) => machine === subject.id) },
        items.filter(({ machine }) => machine === subject.id),
        now,
      ),
    )
    await saveChecks(trx, plans)
    const visits = await keepPlans(trx, plans, now)
    for (const visit of visits) await tell(trx, visit, now)
    return visits.length
  }

  function planOf(subject: Subject, stored: readonly Item[], now: number): Plan {
    const { tasks } = catalogue.profile(subject.type, subject.model)
    const standing = standingOf(subject, calendarOf(subject.timeZone), now)
    const points = duePoints(tasks, standing, stored.filter(isSettled).map(pointOf))
    const planned = points.flatMap((point): Planned[] => {
      const task = tasks.get(point.task)
      return task ? [{ task, point, outlook: outlook(task, point, standing) }] : []
    })
    const told = new Set(nextVisit(planned).map(({ point }) => keyOf(point)))
    return { subject, tasks, stored, planned, told, check: checkOf(subject, digests.get(tasks), planned, now) }
  }

  function calendarOf(timeZone: string): SiteCalendar {
    const calendar = calendars.get(timeZone) ?? siteCalendar(timeZone)
    calendars.set(timeZone, calendar)
    return calendar
  }
}

/** How a machine stands, from what the records know of it. */
export function standingOf(
  { deliveredAt, joinedAt, ledger }: Pick<Subject, 'deliveredAt' | 'joinedAt' | 'ledger'>,
  calendar: SiteCalendar,
  now: number,
): Standing {
  const counter = (value: number | null, start: number | null, use: readonly UseDay[]): Counter | undefined =>
    value === null
      ? undefined
      : { value, at: ledger?.at?.getTime() ?? now, start: start ?? value, perDay: meanUse(use, now) }
  return {
    now,
    calendar,
    deliveredAt: deliveredAt?.getTime() ?? null,
    joinedAt: joinedAt.getTime(),
    hours: ledger && counter(ledger.hours, ledger.start_hours, ledger.hours_use),
    volume: ledger && counter(ledger.volume_m3, ledger.start_volume_m3, ledger.volume_use),
  }
}

/** Passed, told, or ended: it stays what it is, whatever is planned anew. */
function isSettled(item: Item): boolean {
  return item.reached_at !== null || item.reminded_at !== null || isEnded(item)
}

function isEnded({ state }: Item): boolean {
  return state === 'done' || state === 'skipped'
}

function pointOf(item: Item): DuePoint {
  const at = item.reached_at?.getTime()
  const byCalendar = item.due_at !== null && at === item.due_at.getTime()
  return {
    task: item.task,
    n: item.n,
    recurring: item.recurring,
    unknown: false,
    dueHours: item.due_hours ?? undefined,
    dueM3: item.due_m3 ?? undefined,
    dueAt: item.due_at?.getTime(),
    calendarFrom: item.calendar_from?.getTime(),
    calendarN: item.calendar_n ?? undefined,
    reached:
      at === undefined
        ? undefined
        : {
            by: byCalendar ? 'calendar' : 'counter',
            at,
            hours: item.reached_hours ?? undefined,
            m3: item.reached_m3 ?? undefined,
          },
    remindedAt: item.reminded_at?.getTime(),
  }
}

type Check = Omit<Selectable<ProgrammeChecksTable>, 'joined_at'>

/** When a machine has to be looked at again. */
function checkOf(
  { id, revision, ledger }: Subject,
  digest: string | undefined,
  planned: readonly Planned[],
  now: number,
): Check {
  const least = (values: readonly (number | undefined)[]) => {
    const known = values.filter((value) => value !== undefined)
    return known.length > 0 ? Math.min(...known) : null
  }
  const nextAt = least(planned.map(({ outlook }) => outlook.nextAt))
  return {
    machine: id,
    revision,
    tasks_digest: digest ?? null,
    start_hours: ledger?.start_hours ?? null,
    start_volume_m3: ledger?.start_volume_m3 ?? null,
    next_hours: least(planned.map(({ outlook }) => outlook.nextHours)),
    next_volume_m3: least(planned.map(({ outlook }) => outlook.nextM3)),
    next_at: new Date(Math.min(nextAt ?? Infinity, now + REFRESH_MS)),
  }
}

async function saveChecks(trx: Transaction<Database>, plans: readonly Plan[]): Promise<void> {
  await sql`
    update programme_checks c set
      revision = v.revision, tasks_digest = v.tasks_digest,
      start_hours = v.start_hours, start_volume_m3 = v.start_volume_m3,
      next_hours = v.next_hours, next_volume_m3 = v.next_volume_m3, next_at = v.next_at
    from jsonb_populate_recordset(null::programme_checks, ${JSON.stringify(plans.map(({ check }) => check))}::jsonb) v
    where c.machine = v.machine`.execute(trx)
}

/** What is planned for one machine, beside what is stored. */
interface Plan {
  readonly subject: Subject
  readonly tasks: ReadonlyMap<string, Task>
  readonly stored: readonly Item[]
  readonly planned: readonly Planned[]
  /** Keys of the points that make up the visit to be told now. */
  readonly told: ReadonlySet<string>
  readonly check: Check
}

interface Visit {
  readonly subject: Subject
  readonly tasks: ReadonlyMap<string, Task>
  readonly items: readonly Item[]
}

/**
 * Brings the stored items of machines to their plans: new ones get an inspection of their own, those of a visit come
 * together in one, those that are planned no more go.
 *
 * @returns the visits to be told now
 */
async function keepPlans(trx: Transaction<Database>, plans: readonly Plan[], now: number): Promise<Visit[]> {
  const ids = await newInspections(trx, plans, now)
  const changes = plans.map((plan) => changesOf(plan, ids, now))
  await saveItems(
    trx,
    changes.flatMap(({ changed }) => changed),
  )
  await deleteItems(
    trx,
    changes.flatMap(({ gone }) => gone),
  )
  const left = changes.flatMap((change) => change.left)
  if (left.length > 0) await trx.deleteFrom('inspections').where('id', 'in', left).execute()
  await saveInspections(
    trx,
    changes.flatMap(({ inspections }) => inspections),
    now,
  )
  return changes.map(({ visit }) => visit).filter(({ items }) => items.length > 0)
}

interface Changes {
  readonly changed: readonly Item[]
  readonly gone: readonly Item[]
  /** Inspections that have no item any more. */
  readonly left: readonly string[]
  readonly inspections: readonly { id: string; told: boolean; items: readonly Item[] }[]
  readonly visit: Visit
}

function changesOf(
  { subject, tasks, stored, planned, told }: Plan,
  ids: ReadonlyMap<Planned, string>,
  now: number,
): Changes {
  const known = new Map(stored.map((item) => [keyOf(item), item]))
  const before = planned.map((one) => itemOf(subject.id, one, known.get(keyOf(one.point)), ids.get(one) ?? '', now))
  const isTold = (item: Item) => told.has(keyOf(item))
  const lead = before.filter(isTold).sort(byDue)[0]?.inspection
  const items = before.map((item) =>
    lead !== undefined && isTold(item) ? { ...item, inspection: lead, reminded_at: new Date(now) } : item,
  )

  const wanted = new Set(planned.map(({ point }) => keyOf(point)))
  const gone = stored.filter((item) => !wanted.has(keyOf(item)) && !isSettled(item) && !isHistory(item, stored))
  const used = new Set(items.map((item) => item.inspection))
  const changed = items.filter((item) => !isSame(item, known.get(keyOf(item))))
  // the inspection of a new item was made with what the item says
  const outdated = changed.filter((item) => known.has(keyOf(item)) || isTold(item)).map((item) => item.inspection)
  return {
    changed,
    gone,
    left: [...before, ...gone].map((item) => item.inspection).filter((id) => !used.has(id)),
    inspections: [...new Set(outdated)].map((id) => ({
      id,
      told: id === lead,
      items: items.filter((item) => item.inspection === id),
    })),
    visit: { subject, tasks, items: items.filter(isTold).sort(byDue) },
  }
}

/** An unknown point of a series that has begun: it says where the series began. */
function isHistory(item: Item, stored: readonly Item[]): boolean {
  return (
    item.state === 'unknown' && stored.some((other) => other.task === item.task && other.recurring && isSettled(other))
  )
}

async function newInspections(
  trx: Transaction<Database>,
  plans: readonly Plan[],
  now: number,
): Promise<Map<Planned, string>> {
  const fresh = plans.flatMap(({ subject, stored, planned }) => {
    const known = new Set(stored.map(keyOf))
    return planned.filter(({ point }) => !known.has(keyOf(point))).map((one) => ({ machine: subject.id, one }))
  })
  if (fresh.length === 0) return new Map()
  const at = new Date(now)
  const rows = await trx
    .insertInto('inspections')
    .values(
      fresh.map(({ machine, one }) => ({
        machine,
        performer: one.task.performer === 'service' ? ('service' as const) : ('customer' as const),
        ...visitSummary([itemOf(machine, one, undefined, '', now)]),
        created_at: at,
        updated_at: at,
      })),
    )
    .returning('id')
    .execute()
  return new Map(fresh.map(({ one }, i) => [one, rows[i]?.id ?? '']))
}

function itemOf(
  machine: string,
  { point, outlook }: Planned,
  known: Item | undefined,
  inspection: string,
  now: number,
): Item {
  const window = date(outlook.windowOpensAt)
  const opened = known?.window_opens_at && known.window_opens_at.getTime() <= now && outlook.state !== 'upcoming'
  return {
    machine,
    task: point.task,
    n: point.n,
    inspection: known?.inspection ?? inspection,
    recurring: point.recurring,
    state: known && isEnded(known) ? known.state : outlook.state,
    due_hours: point.dueHours ?? null,
    due_m3: point.dueM3 ?? null,
    due_at: date(point.dueAt),
    calendar_from: date(point.calendarFrom),
    calendar_n: point.calendarN ?? null,
    forecast_at: steady(date(outlook.forecastAt), known?.forecast_at, now),
    window_opens_hours: outlook.opensHours ?? null,
    window_closes_hours: outlook.closesHours ?? null,
    // a window that has opened keeps its date, whatever the mean use says later
    window_opens_at: opened ? known.window_opens_at : steady(window, known?.window_opens_at, now),
    reached_at: date(point.reached?.at),
    reached_hours: point.reached?.hours ?? null,
    reached_m3: point.reached?.m3 ?? null,
    reminded_at: date(point.remindedAt),
  }
}

/** Forecasts move a little with every reading: what is as good as before stays, and is not written again. */
function steady(at: Date | null, before: Date | null | undefined, now: number): Date | null {
  if (!at || !before) return at
  const moved = Math.abs(at.getTime() - before.getTime())
  return moved < Math.max(SAME_MS, SAME_PART * Math.abs(at.getTime() - now)) ? before : at
}

function date(at: number | undefined): Date | null {
  // whole ms, so that what comes back from the records is equal
  return at === undefined ? null : new Date(Math.round(at))
}

function isSame(item: Item, known: Item | undefined): boolean {
  if (!known) return false
  const names = Object.keys(item) as (keyof Item)[]
  return names.every((name) => plain(item[name]) === plain(known[name]))
}

function plain(value: Item[keyof Item]): unknown {
  return value instanceof Date ? value.getTime() : value
}

async function saveItems(trx: Transaction<Database>, items: readonly Item[]): Promise<void> {
  if (items.length === 0) return
  await sql`
    insert into inspection_items
    select * from jsonb_populate_recordset(null::inspection_items, ${JSON.stringify(items)}::jsonb)
    on conflict (machine, task, n) do update set
      inspection = excluded.inspection, recurring = excluded.recurring, state = excluded.state,
      due_hours = excluded.due_hours, due_m3 = excluded.due_m3, due_at = excluded.due_at,
      calendar_from = excluded.calendar_from, calendar_n = excluded.calendar_n, forecast_at = excluded.forecast_at,
      window_opens_hours = excluded.window_opens_hours, window_closes_hours = excluded.window_closes_hours,
      window_opens_at = excluded.window_opens_at, reached_at = excluded.reached_at,
      reached_hours = excluded.reached_hours, reached_m3 = excluded.reached_m3,
      reminded_at = excluded.reminded_at`.execute(trx)
}

async function deleteItems(trx: Transaction<Database>, items: readonly Item[]): Promise<void> {
  if (items.length === 0) return
  await sql`
    delete from inspection_items i
    using jsonb_populate_recordset(null::inspection_items, ${JSON.stringify(items)}::jsonb) v
    where i.machine = v.machine and i.task = v.task and i.n = v.n`.execute(trx)
}

async function saveInspections(
  trx: Transaction<Database>,
  inspections: Changes['inspections'],
  now: number,
): Promise<void> {
  if (inspections.length === 0) return
  const rows = inspections.map(({ id, told, items }) => ({ id, told, ...visitSummary(items) }))
  await sql`
    update inspections set
      state = v.state, due_hours = v.due_hours, due_m3 = v.due_m3, due_at = v.due_at,
      window_opens_at = v.window_opens_at, updated_at = ${new Date(now)},
      reminded_at = case when v.told then ${new Date(now)} else reminded_at end
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as v (
      id text, told boolean, state text, due_hours double precision, due_m3 double precision,
      due_at timestamptz, window_opens_at timestamptz)
    where inspections.id = v.id`.execute(trx)
}

async function tell(trx: Transaction<Database>, { subject, tasks, items }: Visit, now: number): Promise<void> {
  const { hours, at } = subject.ledger ?? { hours: null, at: null }
  const machine = { ...(await machineRecord(trx, subject.id)), hours, hoursAt: at }
  const inspection = items[0]?.inspection ?? ''
  const payload: InspectionReminder = inspectionReminderSchema.parse(reminderOf(inspection, machine, tasks, items, now))
  await trx
    .insertInto('outbox')
    .values({ name: 'inspection-reminder', payload: JSON.stringify(payload), created_at: new Date(now) })
    .execute()
}

function keyOf({ task, n }: { task: string; n: number }): string {
  return `${task}/${n}`
}

function byDue(a: Item, b: Item): number {
  const of = ({ due_hours, due_at, forecast_at }: Item) =>
    [due_hours ?? Infinity, (due_at ?? forecast_at)?.getTime() ?? Infinity] as const
  const [hoursA, atA] = of(a)
  const [hoursB, atB] = of(b)
  if (hoursA !== hoursB) return hoursA < hoursB ? -1 : 1
  if (atA !== atB) return atA < atB ? -1 : 1
  return a.task < b.task ? -1 : 1
}
