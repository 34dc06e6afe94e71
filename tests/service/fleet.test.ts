import { execFile, execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { projectRoot } from '../../src/root.ts'
import { dataFolder, startService, until } from './running-service.ts'

const run = promisify(execFile)
const FLEET = 500

/** Whether there is the client of Mosquitto; where it has to be there, it counts as if it were. */
const hasPublisher = (() => {
  try {
    execFileSync('mosquitto_pub', ['--help'], { stdio: 'ignore' })
    return true
  } catch (error) {
    return process.env.OUTRIGGER_REQUIRE_SERVERS === '1' || (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
})()

test.skipIf(!hasPublisher)(
  'from a table to readings (mosquitto_pub): a fleet is imported while the service runs, and its devices log in with what they were given',
  async () => {
    const folder = await dataFolder()
    const service = await startService(folder)
    const file = (name: string) => join(dirname(folder), name)
    const rows = Array.from({ length: FLEET }, (_, n) => `box-${n},pump-${n},boom_pump,Site ${n % 7},${n}`)
    await writeFile(file('fleet.csv'), `device,machine,type,site,hours\n${rows.join('\n')}\n`)
    const machines = async (...words: string[]) => {
      const all = [join(projectRoot, 'bin', 'run.mjs'), 'machines', ...words]
      return (await run(process.execPath, all, { env: { ...process.env, OUTRIGGER_DATA: folder } })).stdout
    }
    const said = await machines('import', file('fleet.csv'), '--credentials', file('secrets.csv'))
    expect(said).toContain(`${FLEET} machines new, ${FLEET} devices bound, ${FLEET} meter readings, ${FLEET} secrets`)
    const [, ...lines] = (await readFile(file('secrets.csv'), 'utf8')).trim().split('\n')
    const secrets = new Map(lines.map((line) => line.split(',') as [string, string]))
    expect(secrets.size).toBe(FLEET)

    const { hostname, port } = new URL(service.broker)
    const publish = (username: string, password: string, device: string, ts: number) => {
      const message = JSON.stringify({ ts, signals: { hyd_oil_temp_c: 63.5 } })
      const login = ['-h', hostname, '-p', port, '-u', username, '-P', password, '-q', '1']
      return run('mosquitto_pub', [...login, '-t', `machines/${device}/telemetry`, '-m', message])
    }
    const ts = Date.now() - 1_000
    for (const id of ['box-0', 'box-77', `box-${FLEET - 1}`]) await publish(id, secrets.get(id) as string, id, ts)
    const secret = secrets.get('box-0') as string
    await expect(publish('box-0', 'guessed', 'box-0', ts + 1)).rejects.toThrow()
    await expect(publish('box-0', secret, 'box-1', ts + 1)).rejects.toThrow()

    const latest = await until(async () => {
      const { signals } = await service.get('/machines/pump-77/latest')
      return signals.hyd_oil_temp_c
    })
    expect(latest).toMatchObject({ value: 63.5, measuredAt: new Date(ts).toISOString() })
    expect(await machines('tail', 'box-0')).toMatch(
      /box-0 speaks for pump-0, boom_pump, in_service\.\n[\s\S]*wrong_secret/,
    )
    await until(async () => ((await machines('list')).match(/box-77 .* secret .* pump-77 +\d/) ? true : undefined))
    expect(await machines('import', file('fleet.csv'))).toBe(`Nothing to do: ${FLEET} as they were.\n`)
  },
  90_000,
)
