import { sql } from 'kysely'
import { expect } from 'vitest'
import { keepInQuarantine, type QuarantineEntry } from '../../src/acquire/quarantine.ts'
import type { Records } from '../../src/records/records.ts'

let position = 0

/** An entry like no other before. */
export function quarantineEntry(more: Partial<QuarantineEntry> = {}): QuarantineEntry {
  const { device = 'm' } = more
  return {
    position: position++,
    item: 0,
    receivedAt: Date.UTC(2026, 0, 1) + position,
    topic: `machines/${device}/telemetry`,
    device,
    reason: 'shape',
    detail: 'signals must be an object',
    bytes: Buffer.from([0, 255, 1]),
    ...more,
  }
}

export function keep(db: Records['db'], entries: readonly QuarantineEntry[]): Promise<void> {
  return db.transaction().execute((trx) => keepInQuarantine(trx, entries))
}

/** Checks the tallies against what is there. @returns how many entries came, ever */
export async function expectExactTallies(db: Records['db']): Promise<number> {
  const counted = await sql`
    select device, reason, count(*) filter (where state = 'held') as held,
      count(*) filter (where state = 'held' and bytes is null) as held_without_bytes,
      coalesce(sum(size) filter (where state = 'held' and bytes is not null), 0)::bigint as held_bytes,
      count(*) filter (where bytes is not null) as kept_entries,
      coalesce(sum(size) filter (where bytes is not null), 0)::bigint as kept_bytes
    from quarantine group by device, reason order by device, reason`.execute(db)
  const tallies = await db.selectFrom('quarantine_tallies').selectAll().orderBy('device').orderBy('reason').execute()
  const shown = tallies.map(({ stripped, merged, merged_from, merged_to, ...rest }) => rest)
  expect(shown.filter(({ held, kept_entries }) => held + kept_entries > 0)).toEqual(
    (counted.rows as typeof shown).filter(({ held, kept_entries }) => held + kept_entries > 0),
  )
  const rows = await db
    .selectFrom('quarantine')
    .select((q) => [q.fn.countAll<number>().as('all'), q.fn.count<number>('bytes').as('kept')])
    .executeTakeFirstOrThrow()
  const merged = tallies.reduce((sum, tally) => sum + tally.merged, 0)
  expect(tallies.reduce((sum, { stripped }) => sum + stripped, 0)).toBe(merged + rows.all - rows.kept)
  return rows.all + merged
}
