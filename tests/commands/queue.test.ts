import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { workQueue } from '../../src/advise/queue.ts'
import { holdDataFolder } from '../../src/records/data-folder.ts'
import { projectRoot } from '../../src/root.ts'
import { queueOn } from '../advise/queue-for-test.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'

const log = pino({ level: 'silent' })

let records: TestRecords
beforeAll(async () => {
  records = await testRecords()
})

/** A data folder with a space in its path; `held`: as if a service ran on it with the records of this test. */
async function dataFolder(held: 'held' | 'free'): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger queue-'))
  await chmod(folder, 0o755)
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  if (held === 'free') return folder
  const hold = await holdDataFolder(folder, { address: 'http://127.0.0.1:8080', records: records.connection })
  onTestFinished(() => hold.release())
  return folder
}

function start(folder: string, ...words: string[]): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [join(projectRoot, 'bin', 'run.mjs'), 'queue', ...words], {
    env: { PATH: process.env.PATH, OUTRIGGER_DATA: folder },
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

async function queue(folder: string, ...words: string[]) {
  const child = start(folder, ...words)
  const said = { out: '', error: '' }
  child.stdout.on('data', (chunk) => (said.out += chunk))
  child.stderr.on('data', (chunk) => (said.error += chunk))
  const [code] = await once(child, 'close')
  return { ...said, code }
}

const payload = { key: 'pump-1/hydraulics/CP-05', severity: 'S3', priority: 'P2', machine: { id: 'pump-1' } }

test('list shows the jobs of the running service, retry puts failed ones back', async () => {
  const running = await queueOn(records)
  const folder = await dataFolder('held')
  expect(await queue(folder, 'list')).toEqual({ out: 'The queue is empty.\n', error: '', code: 0 })

  await running.add('proactive-maintenance', payload, { jobId: 'a-1', attempts: 1 })
  const worker = await workQueue(records.connection, log, async () => {
    throw new Error('the desk is closed')
  })
  await expect.poll(() => running.getJobCounts('failed')).toEqual({ failed: 1 })
  await worker.close()
  await running.add('inspection-reminder', { machine: { id: 'pump-2' } }, { jobId: 'a-2' })

  const table = await queue(folder, 'list')
  expect(table.out).toMatch(/^ID +NAME +STATE +KEY +SEV +PRIO +MACHINE +ATTEMPTS +AGE\n/)
  expect(table.out).toMatch(/a-1 +proactive-maintenance +failed +pump-1\/hydraulics\/CP-05 +S3 +P2 +pump-1 +1 +\d+ s\n/)
  expect(table.out).toMatch(/a-2 +inspection-reminder +waiting +– +– +– +pump-2 +0 +\d+ s\n/)
  expect(table.out).toContain('a-1 failed: the desk is closed')

  const failed = JSON.parse((await queue(folder, 'list', '--state', 'failed', '--json')).out)
  expect(failed).toMatchObject([{ id: 'a-1', state: 'failed', key: payload.key, attempts: 1, machine: 'pump-1' }])

  expect(await queue(folder, 'retry', 'a-2')).toEqual({ out: '', error: 'job a-2 is waiting, not failed\n', code: 1 })
  expect(await queue(folder, 'retry', 'a-3')).toMatchObject({ error: "there is no job 'a-3' on the queue\n", code: 1 })
  expect(await queue(folder, 'retry', 'a-1')).toMatchObject({ out: '1 job back on the queue.\n', code: 0 })
  expect(await running.getJobCounts('waiting', 'failed')).toEqual({ waiting: 2, failed: 0 })
})

test('watch prints what happens, in its order, and ends with Ctrl-C', async () => {
  const running = await queueOn(records)
  const child = start(await dataFolder('held'), 'watch')
  let out = ''
  child.stdout.on('data', (chunk) => (out += chunk))
  await expect.poll(() => out, { timeout: 10_000 }).toContain('Watching')

  const worker = await workQueue(records.connection, log, async () => ({ outcome: 'opened', ticket: 'T-000001' }))
  onTestFinished(() => worker.close())
  await running.add('proactive-maintenance', payload, { jobId: 'w-1' })

  await expect.poll(() => out, { timeout: 10_000 }).toContain('opened T-000001')
  const steps = out.split('\n').slice(1, -1)
  expect(steps.map((line) => line.split(/ {2,}/)[1])).toEqual(['waiting', 'active', 'completed'])
  expect(steps[0]).toContain('proactive-maintenance  pump-1/hydraulics/CP-05  S3  P2')
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([0, null])
})

test('where no service runs, list opens the records itself and closes them, and watch says so', async () => {
  const folder = await dataFolder('free')
  expect(await queue(folder, 'watch')).toMatchObject({ code: 1, error: expect.stringContaining('no service runs') })
  expect(await queue(folder, 'list')).toEqual({ out: 'The queue is empty.\n', error: '', code: 0 })
  const hold = await holdDataFolder(folder)
  await hold.release()
})

for (const { words, code, says } of [
  { words: ['--help'], code: 0, says: 'queue -- list' },
  { words: [], code: 2, says: 'queue -- list' },
  { words: ['show'], code: 1, says: "there is no 'show'" },
  { words: ['list', '--state', 'lost'], code: 1, says: "there is no state 'lost'" },
  { words: ['list', '--limit', 'all'], code: 1, says: '--limit' },
  { words: ['list', '--colour'], code: 1, says: '--colour' },
  { words: ['retry'], code: 1, says: 'needs the id' },
  { words: ['list'], code: 1, says: 'nothing has run in' },
]) {
  test(`queue ${words.join(' ')} ends with ${code} and says: ${says}`, async () => {
    const { out, error, code: ended } = await queue(join(tmpdir(), 'outrigger-never-made'), ...words)
    expect(ended).toBe(code)
    expect(out + error).toContain(says)
    expect(out + error).not.toContain('    at ')
  })
}
