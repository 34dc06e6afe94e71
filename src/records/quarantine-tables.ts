import type { ColumnType, Generated, GeneratedAlways } from 'kysely'

export interface QuarantineTable {
  id: GeneratedAlways<number>
  position: number
  item: number
  received_at: Date
  topic: string
  /** Empty where the topic names nobody. */
  device: string
  reason: string
  detail: string
  size: number
  /** null: given up, because the quarantine's budget was used up. */
  bytes: Buffer | null
  bytes_dropped_at: Date | null
  state: Generated<'held' | 'replayed' | 'discarded'>
  decided_at: Date | null
  decided_by: string | null
}

interface QuarantineTalliesTable {
  device: string
  reason: string
  held: Generated<number>
  held_without_bytes: Generated<number>
  held_bytes: Generated<number>
  kept_entries: Generated<number>
  kept_bytes: Generated<number>
  stripped: Generated<number>
  merged: Generated<number>
  merged_from: Date | null
  merged_to: Date | null
}

export interface QuarantineBulksTable {
  id: GeneratedAlways<number>
  action: 'replay' | 'discard'
  filter: ColumnType<QuarantineFilter, string, never>
  devices: string[] | null
  state: Generated<'running' | 'done' | 'cancelled'>
  position: Generated<number>
  until: number
  decided: Generated<number>
  skipped: Generated<number>
  started_at: Date
  started_by: string
  reason: string | null
  ended_at: ColumnType<Date | null, undefined, Date>
  cancelled_by: ColumnType<string | null, undefined, string | null>
}

/** What entries of the quarantine are meant; what is left out leaves nothing out. */
export interface QuarantineFilter {
  readonly reason?: string | undefined
  /** Of the machine for which the sender speaks when this is decided; null: it speaks for none that is known. */
  readonly type?: string | null | undefined
  readonly device?: string | undefined
  /** Received from then on, RFC 3339. */
  readonly from?: string | undefined
  /** Received before then, RFC 3339. */
  readonly to?: string | undefined
  readonly ids?: readonly number[] | undefined
}

export interface QuarantineTables {
  quarantine: QuarantineTable
  quarantine_tallies: QuarantineTalliesTable
  quarantine_bulks: QuarantineBulksTable
}
