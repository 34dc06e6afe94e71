import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { DataFolderHeld, holdDataFolder, readHolder } from '../../src/records/data-folder.ts'
import { bundleProgram, startProgram } from './start-program.ts'

const records = { host: '/run/records', port: 5432, user: 'outrigger', database: 'outrigger' }

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-held-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return folder
}

test('data folder: the second to come learns who holds it and where it listens', async () => {
  const folder = join(await temporaryFolder(), 'made when missing')
  const hold = await holdDataFolder(folder, { address: 'http://127.0.0.1:8080' })
  const refused = await holdDataFolder(folder).catch((error) => error)
  expect(refused).toBeInstanceOf(DataFolderHeld)
  expect(refused).toMatchObject({ pid: process.pid, address: 'http://127.0.0.1:8080' })
  expect(refused.message).toContain(`process ${process.pid}`)
  expect(refused.message).toContain('http://127.0.0.1:8080')

  await hold.release()
  await expect(holdDataFolder(folder)).resolves.toBeDefined()
})

test('data folder: commands read what the holder tells, until it lets go', async () => {
  const folder = await temporaryFolder()
  expect(await readHolder(folder)).toBeUndefined()
  const hold = await holdDataFolder(folder)
  expect(await readHolder(folder)).toMatchObject({ pid: process.pid, startedAt: expect.stringMatching(/Z$/) })
  await hold.update({ address: 'http://127.0.0.1:1', records })
  expect(await readHolder(folder)).toMatchObject({ address: 'http://127.0.0.1:1', records })
  await hold.release()
  expect(await readHolder(folder)).toBeUndefined()
  expect(await readdir(folder)).toEqual([])
})

test('data folder: a process that was killed holds nothing', async () => {
  const folder = await temporaryFolder()
  const { child, said } = await startProgram(await bundleProgram('folder-holder.ts'), [folder, 'http://there'])
  expect(said).toBe('held')
  expect(await readHolder(folder)).toMatchObject({ pid: child.pid, address: 'http://there' })
  await expect(holdDataFolder(folder)).rejects.toMatchObject({ name: 'DataFolderHeld', pid: child.pid })

  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(await readHolder(folder)).toBeUndefined()
  await holdDataFolder(folder)
  expect(await readHolder(folder)).toMatchObject({ pid: process.pid })
})

for (const { name, spoil } of [
  { name: 'whose pid another process has now', spoil: { process: 'started at another time' } },
  { name: 'that is of another shape', spoil: { pid: 'many' } },
]) {
  test(`data folder: a holder file ${name} is taken over`, async () => {
    const folder = await temporaryFolder()
    await holdDataFolder(folder)
    const file = join(folder, 'holder.json')
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...spoil }))
    await holdDataFolder(folder)
    await expect(holdDataFolder(folder)).rejects.toThrow(DataFolderHeld)
  })
}

test('data folder: of many that find a dead holder at the same moment exactly one wins', async () => {
  const folder = await temporaryFolder()
  const bundle = await bundleProgram('folder-holder.ts')
  const { child } = await startProgram(bundle, [folder])
  child.kill('SIGKILL')
  await once(child, 'exit')

  const others = Array.from({ length: 4 }, () => startProgram(bundle, [folder]))
  const here = await Promise.allSettled(Array.from({ length: 25 }, () => holdDataFolder(folder)))
  const outcomes = [
    ...(await Promise.all(others)).map(({ said }) => said),
    ...here.map((attempt) => (attempt.status === 'fulfilled' ? 'held' : attempt.reason.name)),
  ]
  expect(outcomes.filter((outcome) => outcome === 'held')).toHaveLength(1)
  expect(outcomes.filter((outcome) => outcome === 'DataFolderHeld')).toHaveLength(28)
  expect(await readdir(folder)).toEqual(['holder.json'])
})
