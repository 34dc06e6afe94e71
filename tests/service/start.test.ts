import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { dataFolder, spawnService, startService } from './running-service.ts'

/** Runs a start that is meant to fail, and answers with what it said. */
async function failedStart(
  folder: string,
  environment: Record<string, string>,
): Promise<{ code: number; said: string }> {
  const child = spawnService(folder, environment)
  let said = ''
  child.stderr?.on('data', (chunk) => (said += chunk))
  const [code] = await once(child, 'exit')
  return { code, said }
}

test('a second start on the same data ends at once and names who holds it', async () => {
  const folder = await dataFolder('with a space')
  const service = await startService(folder)
  const { code, said } = await failedStart(folder, {})
  expect(code).not.toBe(0)
  expect(said).toContain(String(service.process.pid))
  expect(said).toContain(service.api)
})

test('every wrong setting is named at once', async () => {
  const { code, said } = await failedStart(await dataFolder(), { PORT: 'eighty', DESK: 'none', HOST: '0.0.0.0' })
  expect(code).not.toBe(0)
  for (const variable of ['PORT', 'DESK']) expect(said).toContain(variable)
})

test('a wrong catalogue stops the start with file, line and path', async () => {
  const catalogue = await mkdtemp(join(tmpdir(), 'outrigger-catalogue-'))
  onTestFinished(() => rm(catalogue, { recursive: true }))
  await writeFile(
    join(catalogue, 'lift.yaml'),
    'type: lift\nname: {en: Lift, zh: 升降机}\nsignals:\n  load_t:\n    unit: 5\n',
  )
  const { code, said } = await failedStart(await dataFolder(), { OUTRIGGER_CATALOGUE: catalogue })
  expect(code).not.toBe(0)
  expect(said).toMatch(/lift\.yaml:\d+.*signals\.load_t/)
})

for (const setting of ['PORT', 'MQTT_PORT']) {
  test(`a port that is taken is named: ${setting}`, async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    onTestFinished(() => void other.close())
    const { port } = other.address() as { port: number }
    const folder = await dataFolder()
    const { code, said } = await failedStart(folder, { [setting]: String(port) })
    expect(code).not.toBe(0)
    expect(said).toContain(`${setting} ${port}`)
    // nothing of it is left in the way
    const service = await startService(folder)
    expect(await service.stop()).toBe(0)
  })
}
