import type { ColumnType, Generated, GeneratedAlways } from 'kysely'

export interface ClockPoliciesTable {
  id: GeneratedAlways<number>
  device: string
  kind: 'offset' | 'zone' | 'no_clock'
  offset_ms: number | null
  zone: string | null
  received_from: Date | null
  received_to: Date | null
  set_by: string
  reason: string
  created_at: Generated<Date>
  replaced_at: Date | null
  revision: Generated<number>
}

export interface DeviceClocksTable {
  device: string
  state: ColumnType<unknown, string, string>
}

export interface ClockTables {
  clock_policies: ClockPoliciesTable
  device_clocks: DeviceClocksTable
}
