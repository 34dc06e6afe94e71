import type { Generated, GeneratedAlways, JSONColumnType } from 'kysely'
import type { CounterReading } from '../features/hours-ledger.ts'
import type { UseDay } from '../features/hours-ledger-use.ts'

/** jsonb: goes in as JSON text (the driver would make a PostgreSQL array of a list), comes out parsed. */
type Json<T extends object> = JSONColumnType<T, string, string>

export const inspectionStates = ['unknown', 'upcoming', 'open', 'overdue', 'done', 'skipped'] as const
export type InspectionState = (typeof inspectionStates)[number]

export interface ServiceLedgersTable {
  machine: string
  hours: number | null
  source: string | null
  at: Date | null
  start_hours: number | null
  start_at: Date | null
  volume_m3: number | null
  start_volume_m3: number | null
  hours_use: Json<UseDay[]>
  volume_use: Json<UseDay[]>
  counters: Json<Record<string, CounterReading>>
}

interface CounterCorrectionsTable {
  id: Generated<number>
  machine: string
  kind: 'doubt' | 'meter'
  event: number | null
  signal: string | null
  resolution: 'accept' | 'continue' | 'set' | null
  value: number | null
  at: Date
  by: string
  note: string | null
  created_at: Generated<Date>
  applied_at: Date | null
}

export interface ProgrammeChecksTable {
  machine: string
  joined_at: Date
  revision: number | null
  tasks_digest: string | null
  start_hours: number | null
  start_volume_m3: number | null
  next_hours: number | null
  next_volume_m3: number | null
  next_at: Date | null
}

export interface InspectionsTable {
  /** In the order of making; `id` follows from it. */
  number: GeneratedAlways<number>
  id: GeneratedAlways<string>
  machine: string
  performer: 'customer' | 'service'
  state: InspectionState
  due_hours: number | null
  due_m3: number | null
  due_at: Date | null
  window_opens_at: Date | null
  reminded_at: Date | null
  desk_received_at: Date | null
  created_at: Date
  updated_at: Date
}

export interface InspectionItemsTable {
  machine: string
  task: string
  n: number
  inspection: string
  recurring: boolean
  state: InspectionState
  due_hours: number | null
  due_m3: number | null
  due_at: Date | null
  calendar_from: Date | null
  calendar_n: number | null
  forecast_at: Date | null
  window_opens_hours: number | null
  window_closes_hours: number | null
  window_opens_at: Date | null
  reached_at: Date | null
  reached_hours: number | null
  reached_m3: number | null
  reminded_at: Date | null
}

/** The tables of `0004-inspections.sql`. */
export interface ProgrammeTables {
  service_ledgers: ServiceLedgersTable
  counter_corrections: CounterCorrectionsTable
  programme_checks: ProgrammeChecksTable
  inspections: InspectionsTable
  inspection_items: InspectionItemsTable
}
