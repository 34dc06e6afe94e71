import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test, vi } from 'vitest'
import { openAccessBook } from '../../src/acquire/access-book.ts'
import { embeddedBroker } from '../acquire/broker-case.ts'

const program = fileURLToPath(new URL('../../bin/run.mjs', import.meta.url))

function simulate(...options: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [program, 'simulate', ...options], { stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

test('--help names every option', async () => {
  const { code, out } = await simulate('--help')
  expect(code).toBe(0)
  for (const option of ['--type', '--fault', '--speed', '--messy', '--labels', '--register'])
    expect(out).toContain(option)
})

for (const { options, says } of [
  { options: ['--type', 'bulldozer'], says: /no machine type 'bulldozer'; there are: boom_pump/ },
  { options: ['--fault', 'XX-01'], says: /no failure mode 'XX-01'; there are: EN-01/ },
  { options: ['--type', 'excavator', '--fault', 'TC-04'], says: /TC-04 .* is no failure mode of excavator/ },
  { options: ['--speed', 'fast'], says: /--speed takes a number/ },
  { options: ['--onset-hours', '-19', '--messy=gossip'], says: /no messy part 'gossip'/ },
  { options: ['--from', '2999-01-01T00:00:00Z'], says: /never passes the wall clock/ },
  { options: ['--for', 'ever'], says: /--for takes a duration/ },
  { options: ['--faults', 'CP-05'], says: /--faults/ },
])
  test(`refused with its reason: ${options.join(' ')}`, async () => {
    const { code, err } = await simulate(...options)
    expect(code).toBe(2)
    expect(err).toMatch(says)
  })

test('without a broker it says so and names the option', async () => {
  const { code, err } = await simulate('--url', 'mqtt://127.0.0.1:1', '--for', '5s')
  expect(code).toBe(1)
  expect(err).toMatch(/no MQTT broker at mqtt:\/\/127\.0\.0\.1:1 .*--url/)
})

test('it logs in with MQTT_USERNAME and MQTT_PASSWORD', async () => {
  const service = { username: 'fleet', password: 'fleet-password' }
  const key = new Uint8Array(32)
  const access = openAccessBook({ key, prefix: '', service, certificates: false, now: () => 0 })
  const broker = await embeddedBroker({ access })
  const options = ['--url', broker.address, '--type', 'excavator', '--for', '1s', '--speed', '60']
  expect(await simulate(...options)).toMatchObject({ code: 1, err: expect.stringContaining('Not authorized') })
  vi.stubEnv('MQTT_USERNAME', service.username)
  vi.stubEnv('MQTT_PASSWORD', service.password)
  onTestFinished(() => void vi.unstubAllEnvs())
  expect(await simulate(...options)).toMatchObject({ code: 0, err: '' })
  expect(broker.arrivals.length).toBeGreaterThan(0)
})
