import type { Generated, GeneratedAlways, JSONColumnType } from 'kysely'
import type { Severity, Text } from '../catalogue/schema.ts'
import type { Evidence, JobPart, Priority, WarrantyState } from './maintenance-job.ts'

/** jsonb: goes in as JSON text (the driver would make a PostgreSQL array of a list), comes out parsed. */
type Json<T extends object | null> = JSONColumnType<T, string, string>
type SeverityOfJob = Exclude<Severity, 'S1'>

export type JobState = 'proposed' | 'ticketed' | 'done' | 'withdrawn'

/** The states of a ticket, in the order in which work goes on; then those beside it. */
export const ticketStates = [
  'new',
  'triaged',
  'dispatched',
  'accepted',
  'en_route',
  'on_site',
  'waiting_parts',
  'repaired',
  'verified',
  'customer_confirmed',
  'callback_done',
  'closed',
  'escalated_region',
  'escalated_hq',
  'reopened',
  'cancelled',
] as const
export type TicketState = (typeof ticketStates)[number]

export interface JobsTable {
  /** In the order of making; `id` follows from it. */
  number: GeneratedAlways<number>
  id: GeneratedAlways<string>
  key: string
  machine: string
  component: string
  failure_mode: string
  revision: Generated<number>
  severity: SeverityOfJob
  priority: Priority
  state: Generated<JobState>
  title: Json<Text>
  action: Json<Text>
  reason: Json<Text>
  evidence: Json<Evidence[]>
  parts: Json<JobPart[]>
  alarm_ids: string[]
  due_at: Date
  accepted_at: Date | null
  accepted_by: string | null
  ended_at: Date | null
  ended_by: string | null
  end_reason: string | null
  created_at: Date
  updated_at: Date
}

export interface TicketsTable {
  /** In the order of making; `id` follows from it. */
  number: GeneratedAlways<number>
  id: GeneratedAlways<string>
  key: string
  job: string
  machine: string
  component: string
  failure_mode: string
  revision: number
  severity: SeverityOfJob
  priority: Priority
  state: Generated<TicketState>
  title: Json<Text>
  action: Json<Text>
  reason: Json<Text>
  parts: Json<JobPart[]>
  warranty: WarrantyState
  due_at: Date
  repeat_of: string | null
  created_at: Date
  updated_at: Date
  closed_at: Date | null
}

export interface TicketEventsTable {
  id: Generated<number>
  ticket: string
  at: Date
  kind: 'opened' | 'state' | 'severity' | 'alarm' | 'comment'
  by: string
  /** The state that was entered; only of `opened` and `state`. */
  state: TicketState | null
  note: string | null
}

export type QueueJobName = 'proactive-maintenance' | 'inspection-reminder'

interface OutboxTable {
  id: Generated<string>
  position: GeneratedAlways<number>
  name: QueueJobName
  payload: Json<object>
  created_at: Generated<Date>
  published_at: Date | null
}

/** The tables of `0003-maintenance.sql`. */
export interface MaintenanceTables {
  jobs: JobsTable
  tickets: TicketsTable
  ticket_events: TicketEventsTable
  outbox: OutboxTable
}
