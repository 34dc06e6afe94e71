import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pino from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { openQueue } from '../../src/advise/queue.ts'
import { projectRoot } from '../../src/root.ts'
import { testRecords } from '../records/test-records.ts'

test('the worker that the documentation shows does what it says', async () => {
  const { connection } = await testRecords()
  const page = await readFile(join(projectRoot, 'docs', 'queue.md'), 'utf8')
  const [, example = ''] = /```js\n(.*?)```/s.exec(page) ?? []
  const queue = await openQueue(connection, pino({ level: 'silent' }))
  onTestFinished(() => queue.close())
  const { host, port, user, database } = connection
  const worker = spawn(process.execPath, ['--input-type=module', '-e', example], {
    cwd: projectRoot,
    env: { DATABASE_URL: `postgres://${user}@localhost:${port}/${database}?host=${encodeURIComponent(host)}` },
  })
  onTestFinished(() => void worker.kill('SIGKILL'))
  let out = ''
  worker.stdout.on('data', (chunk) => (out += chunk))
  worker.stderr.on('data', (chunk) => (out += chunk))

  const job = {
    version: 1,
    id: 'J-000001',
    key: 'pump-1/hydraulics/CP-05',
    revision: 1,
    priority: 'P3',
    title: { en: 'Hot oil' },
  }
  const messages = [
    job,
    { ...job, revision: 2, priority: 'P2' },
    { ...job, revision: 2, priority: 'P2' },
    { ...job, revision: 3, priority: 'P1' },
    { ...job, revision: 2, priority: 'P2' },
    { ...job, version: 2 },
  ]
  for (const message of messages) await queue.add('proactive-maintenance', message)
  await queue.add('inspection-reminder', { version: 1, machine: { id: 'pump-1' } })

  await expect
    .poll(() => queue.getJobCounts('completed', 'failed'), { timeout: 10_000 })
    .toEqual({ completed: 6, failed: 1 })
  expect(out.trim().split('\n')).toEqual([
    'open pump-1/hydraulics/CP-05: P2 Hot oil',
    'update pump-1/hydraulics/CP-05: P1 Hot oil',
    'plan a visit to pump-1',
  ])
})
