import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { projectRoot } from '../../src/root.ts'
import { testRecords } from '../records/test-records.ts'

const { pool } = await testRecords()
const folder = join(projectRoot, 'src', 'records', 'migrations')
const OURS = '0007-quarantine.sql'

test('entries of an older version are given their senders, and are tallied', async () => {
  const client = await pool.connect()
  try {
    await client.query('create schema older; set search_path to older')
    for (const name of readdirSync(folder)
      .sort()
      .filter((one) => one < OURS))
      await client.query(readFileSync(join(folder, name), 'utf8'))
    await client.query(`
      insert into quarantine (position, item, received_at, topic, reason, detail, bytes, state) values
        (1, 0, now(), 'machines/pump-1/telemetry', 'clock', '', 'abc', 'held'),
        (2, 0, now(), 'fleet/gateways/site-4/telemetry', 'clock', '', 'abcd', 'held'),
        (3, 0, now(), 'machines/pump-1/telemetry', 'clock', '', '', 'discarded'),
        (4, 0, now(), 'kitchen/toaster', 'topic', '', 'x', 'held')`)
    await client.query(readFileSync(join(folder, OURS), 'utf8'))

    const entries = await client.query('select device, size from quarantine order by position')
    expect(entries.rows).toEqual([
      { device: 'pump-1', size: 3 },
      { device: 'site-4', size: 4 },
      { device: 'pump-1', size: 0 },
      { device: '', size: 1 },
    ])
    const tallies = await client.query(
      'select device, reason, held, held_bytes, kept_entries, kept_bytes, merged from quarantine_tallies order by device',
    )
    expect(tallies.rows).toEqual([
      { device: '', reason: 'topic', held: 1, held_bytes: 1, kept_entries: 1, kept_bytes: 1, merged: 0 },
      { device: 'pump-1', reason: 'clock', held: 1, held_bytes: 3, kept_entries: 2, kept_bytes: 3, merged: 0 },
      { device: 'site-4', reason: 'clock', held: 1, held_bytes: 4, kept_entries: 1, kept_bytes: 4, merged: 0 },
    ])
  } finally {
    client.release(true)
  }
})
