import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { parse } from 'csv-parse/sync'
import { describe, expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { projectRoot } from '../../src/root.ts'
import { dataFolder, type RunningService, startService, until } from './running-service.ts'

/** The folder of the public data sets; they are not part of the project. */
const datasets = process.env.OUTRIGGER_DATASETS ?? ''
const run = promisify(execFile)

type Row = Record<string, string>

function rowsOf(file: string, delimiter: string): Row[] {
  return parse(gunzipSync(readFileSync(join(datasets, file))), { columns: true, delimiter }) as Row[]
}

function mapOf(name: string): { signals: Record<string, string>; filter?: Row; time: { stepSeconds: number } } {
  return parseYaml(readFileSync(join(projectRoot, 'examples', name), 'utf8'))
}

async function replay(service: RunningService, file: string, machine: string, map: string): Promise<string> {
  const { stdout } = await run(process.execPath, [
    join(projectRoot, 'bin', 'run.mjs'),
    'replay',
    join(datasets, file),
    '--machine',
    machine,
    '--map',
    join(projectRoot, 'examples', map),
    '--url',
    service.broker,
  ])
  return stdout
}

async function settled(service: RunningService): Promise<void> {
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))
}

describe.skipIf(!existsSync(datasets))('recordings of real rigs (OUTRIGGER_DATASETS)', () => {
  test('a recording reads back exactly as it was recorded, and a second time stores nothing', {
    timeout: 90_000,
  }, async () => {
    const service = await startService(await dataFolder())
    const file = 'skab/valve1/0.csv.gz'
    const rows = rowsOf(file, ';')
    expect(await replay(service, file, 'rig-1', 'skab.map.yaml')).toContain(`acknowledged ${rows.length}, refused 0`)
    await settled(service)
    for (const [column, signal] of Object.entries(mapOf('skab.map.yaml').signals)) {
      const { points } = await service.get(`/machines/rig-1/readings?signal=${signal}`)
      expect(points, column).toEqual(
        rows.map((row) => [Date.parse(`${row.datetime?.replace(' ', 'T')}Z`), Number(row[column])]),
      )
    }

    await replay(service, file, 'rig-1', 'skab.map.yaml')
    await settled(service)
    expect(await service.metric('reading_sets_total{outcome="stored"}')).toBe(rows.length)
    expect(await service.metric('reading_sets_total{outcome="duplicate"}')).toBe(rows.length)
  })

  test('one run out of a file without a time column is stored whole', { timeout: 90_000 }, async () => {
    const service = await startService(await dataFolder())
    const file = 'hydraulic_actuator/actuator_1.csv.gz'
    const { signals, filter = {}, time } = mapOf('actuator.map.yaml')
    const rows = rowsOf(file, ',').filter((row) =>
      Object.entries(filter).every(([name, value]) => row[name] === String(value)),
    )
    expect(rows.length).toBeGreaterThan(0)
    await replay(service, file, 'actuator-1', 'actuator.map.yaml')
    await settled(service)
    for (const [column, signal] of Object.entries(signals)) {
      const { points } = await service.get(`/machines/actuator-1/readings?signal=${signal}`)
      const start = points[0][0]
      expect(points, column).toEqual(
        rows.map((row, i) => [start + Math.round(i * time.stepSeconds * 1000), Number(row[column])]),
      )
    }
  })
})
