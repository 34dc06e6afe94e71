import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { listQuarantine, quarantinedItem } from '../../src/acquire/quarantine.ts'
import type { PipelineCounts } from '../../src/threads.ts'
import { testRecords } from '../records/test-records.ts'
import { runningPipeline } from '../running-pipeline.ts'
import { incoming, readAll, spoolIn, temporaryFolder } from './spool-case.ts'

const records = await testRecords()
const start = Date.UTC(2026, 0, 1)
const reading = (i: number) => JSON.stringify({ ts: start + i * 1_000, signals: { hyd_oil_temp_c: 50 } })

/** Damages what stands from one message to another, both included. */
function damage(folder: string, from: { position: number }, to: { next: number }): { file: string; offset: number } {
  const file = readdirSync(folder)
    .filter((name) => name.endsWith('.spool') && Number.parseInt(name, 10) <= from.position)
    .sort()
    .at(-1) as string
  const bytes = readFileSync(join(folder, file))
  const offset = from.position - Number.parseInt(file, 10)
  bytes.fill(0xee, offset, to.next - Number.parseInt(file, 10))
  writeFileSync(join(folder, file), bytes)
  return { file, offset }
}

test('what was lost to damage counts as quarantined, in every snapshot, and its bytes are kept', async () => {
  const folder = temporaryFolder()
  const before = await spoolIn(folder, { segmentBytes: 3_000 })
  const topics = { telemetry: 'machines/m-1/telemetry', status: 'machines/m-1/status', other: 'nobody' }
  for (let i = 0; i < 60; i++) {
    const topic = i % 7 === 3 ? topics.status : i % 7 === 5 ? topics.other : topics.telemetry
    await before.append(
      incoming(topic === topics.status ? '{"ts":1767225600000,"online":true}' : reading(i), { topic }),
    )
  }
  await before.close()
  const written = readAll(folder, before.committed).messages
  const first = damage(folder, written[10] as never, written[10] as never)
  const second = damage(folder, written[30] as never, written[33] as never)
  const bearing = written.filter(({ kind }) => kind !== 'status')
  const lost = [10, 30, 31, 32, 33].filter((i) => written[i]?.kind !== 'status').length

  const { pipeline, spool, spoolFolder, receive } = await runningPipeline(records, { spoolFolder: folder })
  const snapshots: PipelineCounts[] = []
  const looking = setInterval(() => snapshots.push(pipeline.counts()), 2)
  await receive(topics.telemetry, reading(100), { receivedAt: start + 3_600_000 })
  const nobody = written.filter(({ topic }, i) => topic === topics.other && ![10, 30, 31, 32, 33].includes(i)).length
  await vi.waitFor(() =>
    expect(pipeline.counts()).toMatchObject({
      received: bearing.length + 1 + 1,
      stored: bearing.length + 1 - lost - nobody,
      quarantined: lost + nobody + 1, // where only a status was lost, the stretch is a set, as a malformed status is
      waiting: 0,
      damage: { stretches: 2, lost, last: `${second.file}@${second.offset}` },
    }),
  )
  clearInterval(looking)
  for (const { received, stored, duplicate, quarantined, waiting } of snapshots) {
    expect(received).toBe(stored + duplicate + quarantined + waiting)
    expect(waiting).toBeGreaterThanOrEqual(0)
  }

  const { items } = await listQuarantine(records.db, { reason: 'damaged', limit: 10 })
  expect(items.map(({ topic }) => topic)).toEqual([
    `$spool/${second.file}@${second.offset}`,
    `$spool/${first.file}@${first.offset}`,
  ])
  expect(items[0]?.detail).toMatch(/over \d+ bytes: \d+ messages were lost/)
  const kept = await quarantinedItem(records.db, items[1]?.id ?? 0)
  const { position = 0, next = 0 } = written[10] ?? {}
  expect(Buffer.from(kept.bytes ?? '', 'base64')).toEqual(Buffer.alloc(next - position, 0xee))
  expect(readAll(spoolFolder, spool.committed).damaged).toBe(2)
})
