import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { Aedes } from 'aedes'
import { build } from 'esbuild'
import { beforeAll, expect, onTestFinished, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
let folder: string
let command: string

beforeAll(async () => {
  // Below node_modules, so that the packages are found from there.
  folder = await mkdtemp(join(ROOT, 'node_modules', '.outrigger-test-'))
  command = join(folder, 'replay.mjs')
  await build({
    entryPoints: [join(ROOT, 'src/commands/replay.ts')],
    outfile: command,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  })
  await writeFile(join(folder, 'good.csv'), 'time,a\n2026-01-01,1\n2026-01-02,2\n')
  await writeFile(join(folder, 'bad.csv'), 'time,a\n2026-01-01,1\n2026-01-02,x\n2026-01-03,3\n')
  await writeFile(join(folder, 'wrong.yaml'), 'time: { column: t, zone: Nowhere }\n')
  return () => rm(folder, { recursive: true, force: true })
})

test.each([
  {
    is: 'a whole recording ends with 0 and its counts',
    args: ['good.csv', '--machine', 'rig-1'],
    code: 0,
    out: /separator ",", time from 'time'.*signals: a\nmachine rig-1: rows read 2, left out 0, published 2, acknowledged 2, refused 0\n$/,
    error: /^$/,
  },
  {
    is: 'a bad row ends it with 1, named with its line',
    args: ['bad.csv', '--machine', 'rig-1'],
    code: 1,
    out: /rows read 2, left out 0, published 1, acknowledged 1, refused 1 \(bad rows 1, not acknowledged 0\)/,
    error: /^not complete: line 3 column 'a': 'x' is no number; --skip-bad .*\n$/,
  },
  {
    is: 'bad rows that may be skipped end with 0, and are named still',
    args: ['bad.csv', '--machine', 'rig-1', '--skip-bad'],
    code: 0,
    out: /rows read 3, left out 0, published 2, acknowledged 2, refused 1/,
    error: /^line 3 column 'a': 'x' is no number\n$/,
  },
  {
    is: 'a file that is not there',
    args: ['none.csv', '--machine', 'm'],
    code: 1,
    out: /^$/,
    error: /none\.csv.*ENOENT/,
  },
  {
    is: 'a map that is wrong',
    args: ['good.csv', '--machine', 'm', '--map', 'wrong.yaml'],
    code: 1,
    out: /^$/,
    error: /^wrong.yaml:1: time.*IANA/,
  },
  { is: 'no machine', args: ['good.csv'], code: 2, out: /^$/, error: /--machine[\s\S]*npm run replay/ },
  {
    is: 'a machine id that is none',
    args: ['good.csv', '--machine', 'a/b'],
    code: 2,
    out: /^$/,
    error: /'a\/b' is no machine id/,
  },
  {
    is: 'a speed that is none',
    args: ['good.csv', '--machine', 'm', '--speed', '0'],
    code: 2,
    out: /^$/,
    error: /--speed '0'/,
  },
  { is: 'an option that is none', args: ['good.csv', '--machine', 'm', '--fast'], code: 2, out: /^$/, error: /--fast/ },
  { is: 'help', args: ['--help'], code: 0, out: /--skip-bad/, error: /^$/ },
])('the command: $is', async ({ args, code, out, error }) => {
  const port = await startBroker()
  const child = spawn(process.execPath, [command, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, MQTT_PORT: String(port) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exit = new Promise((resolve) => child.once('close', resolve))
  const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exit])
  expect(stderr).toMatch(error)
  expect(stdout).toMatch(out)
  expect(exitCode).toBe(code)
})

async function startBroker(): Promise<number> {
  const broker = await Aedes.createBroker()
  const server = createServer(broker.handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    await new Promise<void>((resolve) => broker.close(() => resolve()))
    await new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}
