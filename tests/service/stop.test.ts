import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readHolder } from '../../src/records/data-folder.ts'
import { projectRoot } from '../../src/root.ts'
import { dataFolder, spawnService, startService, until } from './running-service.ts'

test('two signals at once, as npm and a terminal send them, are one', async () => {
  const service = await startService(await dataFolder())
  const ended = once(service.process, 'exit')
  service.process.kill('SIGINT')
  service.process.kill('SIGINT')
  expect(await ended).toEqual([0, null])
  await expect(access(join(service.folder, 'holder.json'))).rejects.toThrow('ENOENT')
})

test('a stop during the start leaves no PostgreSQL', async () => {
  const folder = await dataFolder()
  const lockFile = join(folder, 'records', 'pgdata', 'postmaster.pid')
  const child = spawnService(folder)
  onTestFinished(() => void child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  await until(() => stat(lockFile).catch(() => undefined)) // it has begun, and is not ready
  child.kill('SIGTERM')
  expect(await ended).toEqual([0, null])
  await expect(access(lockFile)).rejects.toThrow('ENOENT')
})

test('the service of a demo ends when the demo is killed', { timeout: 30_000 }, async () => {
  const folder = await dataFolder()
  const demo = spawn(process.execPath, [join(projectRoot, 'bin', 'run.mjs'), 'demo'], {
    env: { ...process.env, OUTRIGGER_DATA: folder, PORT: '0', MQTT_PORT: '0' },
    stdio: 'ignore',
  })
  onTestFinished(() => void demo.kill('SIGKILL'))
  await until(() => readHolder(folder))
  demo.kill('SIGKILL')
  await until(async () => ((await readHolder(folder)) === undefined ? true : undefined))
})
