import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { projectRoot } from '../../src/root.ts'
import { until } from '../service/running-service.ts'

/** Runs the command in a process of its own, with a temporary folder of its own. */
async function startBench(...args: string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-bench-test-'))
  await chmod(folder, 0o755) // root's PostgreSQL runs under another account
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  const child = spawn(process.execPath, [join(projectRoot, 'bin', 'run.mjs'), 'bench', ...args], {
    env: { ...process.env, TMPDIR: folder, MQTT_USERNAME: 'somebody', MQTT_PASSWORD: 'else', LOG_LEVEL: 'silent' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => (output.stdout += chunk))
  child.stderr.on('data', (chunk) => (output.stderr += chunk))
  const ended = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { child, folder, output, ended }
}

/** Processes in whose environment or arguments this folder occurs. */
async function processesAt(folder: string): Promise<string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))
  const read = (pid: string, what: string) => readFile(`/proc/${pid}/${what}`, 'utf8').catch(() => '')
  const told = await Promise.all(pids.map(async (pid) => (await read(pid, 'environ')) + (await read(pid, 'cmdline'))))
  return pids.filter((_, index) => told[index]?.includes(folder))
}

/** Keys at any depth, as `thousand_connections.ack_ms.full_load.p50`. */
function keysOf(value: object): string[] {
  return Object.entries(value).flatMap(([key, inner]) =>
    inner && typeof inner === 'object' && !Array.isArray(inner)
      ? [key, ...keysOf(inner).map((below) => `${key}.${below}`)]
      : [key],
  )
}

test('a quick run prints one object with every figure, loses nothing and leaves nothing behind', {
  timeout: 500_000,
}, async () => {
  const { ended, output, folder } = await startBench('--quick', '--json', '--seconds', '2')
  const how = await ended
  expect(output.stderr).not.toContain('failed')
  expect(how).toEqual([0, null])

  const figures = JSON.parse(output.stdout)
  const load = ['messages_per_s', 'ratio_to_bare_broker', 'ratio_to_mosquitto', 'void']
  const ack = ['full_load', 'half_load'].flatMap((part) => [`ack_ms.${part}.p50`, `ack_ms.${part}.p99`])
  expect(keysOf(figures)).toEqual(
    expect.arrayContaining([
      ...[...load, ...ack].flatMap((key) => [key, `thousand_connections.${key}`]),
      ...['values_per_s', 'backlog_s', 'lost', 'duplicated', 'rss_mb.1000', 'rss_mb.10000', 'restart_ready_s'],
      ...['cpu_s_per_million', 'bytes_per_message', 'raw_store_messages_per_s'],
    ]),
  )
  expect(figures).toMatchObject({ lost: 0, duplicated: 0, alarms: 0, failures: [] })
  expect(figures.run.stored).toBeGreaterThan(0)
  if (process.platform === 'linux')
    expect(Object.keys(figures.cpu_s_per_million)).toEqual(
      expect.arrayContaining(['generator', 'receiving', 'pipeline', 'office', 'helpers', 'postgresql']),
    )
  expect(await readdir(folder)).toEqual([])
  expect(await processesAt(folder)).toEqual([])
})

test('Ctrl-C under load ends everything that was started and removes its files', { timeout: 120_000 }, async () => {
  const { child, ended, output, folder } = await startBench('--quick', '--json', '--seconds', '60')
  await until(async () => (output.stderr.includes('full load, 60 s') ? true : undefined), 90_000)
  child.kill('SIGINT')
  expect(await ended).toEqual([130, null])
  expect(output.stdout).toBe('')
  expect(await readdir(folder)).toEqual([])
  await until(async () => ((await processesAt(folder)).length === 0 ? true : undefined))
})
