import type { ColumnType, Generated, GeneratedAlways } from 'kysely'
import type { ProgrammeTables } from '../advise/programme-tables.ts'
import type { MaintenanceTables } from '../advise/tables.ts'
import type { RuleOverride } from '../catalogue/rules.ts'
import type { Severity } from '../catalogue/schema.ts'
import type { CredentialTables } from '../machines/credential-tables.ts'
import type { ClockTables } from './clock-tables.ts'
import type { QuarantineTables } from './quarantine-tables.ts'

/**
 * The tables of the records as Kysely knows them. `bigint` columns come as numbers, `timestamptz` as `Date`, `jsonb`
 * as what was stored; into a `jsonb` column goes text made by `JSON.stringify`, because the driver turns a list into
 * an array of PostgreSQL.
 */
type Json<T> = ColumnType<T, string, string>
type JsonOrNull<T> = ColumnType<T | null, string | null | undefined, string | null>
type JsonWithDefault<T> = ColumnType<T, string | undefined, string>

export type MachineState = 'unassigned' | 'in_service' | 'parked' | 'workshop' | 'retired'

/** Somebody to speak to about a machine. */
export interface Contact {
  readonly name: string
  readonly role?: string | undefined
  readonly phone?: string | undefined
  readonly email?: string | undefined
}

export interface MachinesTable {
  id: string
  type: string
  model: string | null
  serial: string | null
  customer: string | null
  site: string | null
  region: string | null
  time_zone: Generated<string>
  delivered_at: Date | null
  contacts: JsonWithDefault<Contact[]>
  language: Generated<'en' | 'zh'>
  state: MachineState
  merged_into: string | null
  created_at: Generated<Date>
  revision: Generated<number>
}

export interface BindingsTable {
  id: GeneratedAlways<number>
  device: string
  machine: string
  bound_from: Date | null
  bound_to: Date | null
  bound_by: string
  reason: string | null
  created_at: Generated<Date>
  replaced_at: Date | null
  revision: Generated<number>
}

export interface HistoryMovesTable {
  id: GeneratedAlways<number>
  from_machine: string
  to_machine: string
  measured_from: Date | null
  measured_to: Date | null
  moved_at: Date | null
}

export interface MachineStatusTable {
  machine: string
  last_seen_at: Date | null
  newest_measured_at: Date | null
  online: boolean | null
  latitude: number | null
  longitude: number | null
  position_at: Date | null
  service_hours: number | null
  service_hours_source: string | null
  service_hours_at: Date | null
  volume_m3: number | null
}

export interface StageStateTable {
  machine: string
  state: Json<unknown>
  position: number
  waits: boolean
}

export interface SpoolProgressTable {
  only_row: Generated<boolean>
  position: number
  states_from: number | null
}

export interface RuleOverridesTable {
  id: GeneratedAlways<number>
  scope: RuleOverride['scope']
  scope_id: string
  rule: string
  parameter: RuleOverride['parameter']
  value: number
  reason: string
  changed_by: string
  created_at: Generated<Date>
  expires_at: Date | null
  withdrawn_at: Date | null
  withdrawn_by: string | null
  withdrawn_because: string | null
  revision: Generated<number>
}

export interface DataQualityEventsTable {
  id: GeneratedAlways<number>
  machine: string
  signal: string | null
  kind: string
  at: Date
  value: number | null
  previous: number | null
  detail: string
  confirmed_at: Date | null
  confirmed_by: string | null
  resolution: string | null
}

export interface AuditTable {
  id: GeneratedAlways<number>
  at: Generated<Date>
  by: string
  action: string
  subject: string
  before: JsonOrNull<unknown>
  after: JsonOrNull<unknown>
  reason: string | null
}

export type AlarmState = 'unacknowledged' | 'acknowledged' | 'returned' | 'normal' | 'shelved' | 'suppressed'

export interface AlarmsTable {
  number: GeneratedAlways<number>
  id: GeneratedAlways<string>
  machine: string
  key: string
  rule: string
  component: string
  failure_mode: string
  signal: string | null
  severity: Severity
  state: AlarmState
  historical: Generated<boolean>
  value: number | null
  limit_value: number | null
  unit: string | null
  since: Date
  raised_at: Date
  cleared_at: Date | null
  received_at: Date
  acknowledged_at: Date | null
  acknowledged_by: string | null
  note: string | null
  suppressed_by: string | null
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

export interface AlarmEventsTable {
  id: GeneratedAlways<number>
  alarm: string
  kind: 'raised' | 'severity' | 'cleared' | 'acknowledged' | 'suppressed' | 'unsuppressed' | 'shelved' | 'unshelved'
  at: Date
  severity: Severity
  value: number | null
  limit_value: number | null
  by: string | null
  note: string | null
  created_at: Generated<Date>
  advised_at: Date | null
}

export interface Database extends ClockTables, MaintenanceTables, ProgrammeTables, CredentialTables, QuarantineTables {
  machines: MachinesTable
  bindings: BindingsTable
  history_moves: HistoryMovesTable
  machine_status: MachineStatusTable
  stage_state: StageStateTable
  spool_progress: SpoolProgressTable
  rule_overrides: RuleOverridesTable
  data_quality_events: DataQualityEventsTable
  audit: AuditTable
  alarms: AlarmsTable
  alarm_events: AlarmEventsTable
}
