import type { Selectable } from 'kysely'
import type { Task, Text } from '../catalogue/schema.ts'
import type { InspectionReminder } from './inspection-reminder.ts'
import { type MachineRecord, machineOfJob } from './machine-of-job.ts'
import type { InspectionItemsTable, InspectionState, InspectionsTable } from './programme-tables.ts'

export type Item = Selectable<InspectionItemsTable>

/** What an inspection says in all, from its items. */
export type VisitSummary = Pick<
  Selectable<InspectionsTable>,
  'state' | 'due_hours' | 'due_m3' | 'due_at' | 'window_opens_at'
>

/** Worst first. */
const STATES: readonly InspectionState[] = ['overdue', 'open', 'upcoming', 'unknown', 'skipped', 'done']

/** The worst state and the first due points of a visit's items. */
export function visitSummary(items: readonly Item[]): VisitSummary {
  return {
    state: STATES.find((state) => items.some((item) => item.state === state)) ?? 'unknown',
    due_hours: least(items.map((item) => item.due_hours)),
    due_m3: least(items.map((item) => item.due_m3)),
    due_at: firstOf(items.flatMap((item) => [item.due_at, item.forecast_at])),
    window_opens_at: firstOf(items.map((item) => item.window_opens_at)),
  }
}

/** What is sent for a visit. Due points of one task stand together, so that a long outage is short to read. */
export function reminderOf(
  id: string,
  machine: MachineRecord,
  tasks: ReadonlyMap<string, Task>,
  items: readonly Item[],
  now: number,
): InspectionReminder {
  const ids = [...new Set(items.map((item) => item.task))]
  const parts = ids.flatMap((task) => {
    const plan = tasks.get(task)
    if (!plan) return []
    const due = items.filter((item) => item.task === task).map(toldPointOf)
    return [{ task, name: plan.name, work: plan.work, parts: plan.parts, labourHours: plan.labourHours ?? null, due }]
  })
  const { due_hours, due_m3, due_at, window_opens_at } = visitSummary(items)
  return {
    version: 1,
    id,
    machine: machineOfJob(machine, now),
    title: titleOf(
      parts.map(({ name }) => name),
      due_hours,
    ),
    tasks: parts,
    dueHours: due_hours,
    dueM3: due_m3,
    dueAt: iso(due_at),
    windowOpensAt: iso(window_opens_at),
    labourHours: parts.reduce((sum, { labourHours }) => sum + (labourHours ?? 0), 0),
    overdue: ids.filter((task) => items.some((item) => item.task === task && item.state === 'overdue')),
    createdAt: new Date(now).toISOString(),
  }
}

function toldPointOf(item: Item) {
  const state = item.state === 'overdue' || item.state === 'open' ? item.state : ('upcoming' as const)
  return { ...duePointOf(item), state }
}

/** When one item is due, as people and programs are told. */
export function duePointOf(item: Item) {
  return {
    n: item.n,
    state: item.state,
    dueHours: item.due_hours,
    dueM3: item.due_m3,
    dueAt: iso(item.due_at),
    forecastAt: iso(item.forecast_at),
    windowOpensHours: item.window_opens_hours,
    windowClosesHours: item.window_closes_hours,
  }
}

function titleOf(names: readonly Text[], dueHours: number | null): Text {
  const en = names.map((name) => name.en).join(', ')
  const zh = names.map((name) => name.zh).join('、')
  return dueHours === null ? { en, zh } : { en: `${dueHours} h: ${en}`, zh: `${dueHours} 小时：${zh}` }
}

function least(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length > 0 ? Math.min(...known) : null
}

function firstOf(dates: readonly (Date | null)[]): Date | null {
  const first = least(dates.map((date) => date?.getTime() ?? null))
  return first === null ? null : new Date(first)
}

/** As every time that leaves us. */
export function iso(date: Date | null): string | null {
  return date?.toISOString() ?? null
}
