import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pino from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { listJobs } from '../../src/advise/jobs.ts'
import { openQueue } from '../../src/advise/queue.ts'
import { listTickets, ticketWithHistory } from '../../src/advise/tickets.ts'
import type { RecordsConnection } from '../../src/records/data-folder.ts'
import { bundled } from '../bundled.ts'
import { testRecords } from '../records/test-records.ts'
import { machine, raise } from './story.ts'

function startOffice(program: string, connection: RecordsConnection): ChildProcess {
  const office = spawn(process.execPath, [program, JSON.stringify(connection)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void office.kill('SIGKILL'))
  return office
}

/** Kills the process with its n-th word. */
async function killAtWord(office: ChildProcess, n: number): Promise<void> {
  let words = 0
  const lines = createInterface({ input: office.stdout as NodeJS.ReadableStream })
  lines.on('line', () => {
    words += 1
    if (words === n) office.kill('SIGKILL')
  })
  await once(office, 'exit')
}

test('kill -9 at ten moments between alarm and ticket: exactly one ticket for each cause', {
  timeout: 60_000,
}, async () => {
  const { db, connection } = await testRecords()
  const program = await bundled(join(import.meta.dirname, 'crash-office.ts'))
  const ids: string[] = []
  for (const word of [1, 2, 3, 4, 5, 6, 7, 9, 11, 13]) {
    for (let i = 0; i < 7; i += 1) {
      const id = await machine(db, `crash-${ids.length}`)
      ids.push(id)
      await raise(db, id, { severity: 'S3' })
    }
    await killAtWord(startOffice(program, connection), word)
  }

  startOffice(program, connection)
  const queue = await openQueue(connection, pino({ level: 'silent' }))
  onTestFinished(() => queue.close())
  await expect
    .poll(() => queue.getJobCounts('completed', 'active', 'waiting', 'delayed', 'failed'), { timeout: 30_000 })
    .toEqual({ completed: ids.length, active: 0, waiting: 0, delayed: 0, failed: 0 })

  for (const id of ids) {
    expect((await listJobs(db, { machine: id, limit: 10 })).items).toMatchObject([{ state: 'ticketed', revision: 1 }])
    const [ticket, ...more] = (await listTickets(db, { machine: id, limit: 10 })).items
    expect(more).toEqual([])
    expect((await ticketWithHistory(db, ticket?.id ?? '')).history).toHaveLength(1)
  }
})
