import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { build } from 'esbuild'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openDuckdbStore } from '../../src/store/duckdb-store.ts'
import type { StoredReading, TelemetryStore } from '../../src/store/telemetry-store.ts'
import { setsOf } from './sets-of.ts'
import { telemetryStoreContract } from './telemetry-store-contract.ts'

const T0 = Date.UTC(2026, 0, 1)
const EVER = { from: 0, to: T0 * 2 }
const ROOT = resolve(import.meta.dirname, '../..')

telemetryStoreContract('duckdb store', async () => openDuckdbStore({ file: await newFile() }))

describe('a duckdb store that is opened again', () => {
  test('knows everything, with the newest of each signal', async () => {
    const file = await newFile()
    const first = await openDuckdbStore({ file })
    await first.append(
      setsOf([
        row('m', 's', T0, 1),
        row('m', '__proto__', T0 + 5, 2),
        row('m2', 's', T0, { min: 1, mean: 2, max: 3, n: 4 }),
      ]),
    )
    await first.append(setsOf([row('m', 's', T0 + 1, 3)]), [row('m2', 's', T0, 9)])
    const before = await answers(first)
    await first.close()

    const second = await openedAt(file)
    expect(await answers(second)).toEqual(before)
    await second.append(setsOf([row('m3', 'new', T0, 1)]))
    expect(await second.latest('m3')).toEqual([{ signal: 'new', measuredAt: T0, value: 1 }])
    expect(await second.latest('m2')).toEqual([{ signal: 's', measuredAt: T0, value: 9 }])
  })

  test('after a million readings and more, that a checkpoint has gone through', async () => {
    const file = await newFile()
    const first = await openDuckdbStore({ file })
    const batch = (number: number) =>
      Array.from({ length: 150_000 }, (_, index) =>
        row(`m${index % 50}`, 's', T0 + number * 3_000_000 + Math.floor(index / 50) * 1000, index),
      )
    let logBefore = 0
    let logAfter = Number.POSITIVE_INFINITY
    for (let number = 0; number < 8; number++) {
      await first.append(setsOf(batch(number)))
      const size = (await stat(`${file}.wal`)).size
      if (size < logBefore) logAfter = size
      logBefore = size
    }
    expect(logAfter).toBeLessThan(10_000_000)
    const marks = [...(await first.highWaterMarks())]
    await first.close()

    const second = await openedAt(file)
    expect([...(await second.highWaterMarks())]).toEqual(marks)
    expect(await second.buckets({ machine: 'm7', signal: 's', ...EVER, everyMs: 1e14, fn: 'count' })).toEqual([
      [0, 24_000],
    ])
  })

  test('after `kill -9` in the middle of appends, with each of them whole or not at all', async () => {
    const file = await newFile()
    const script = await appendingScript()
    let known = 0
    for (const appendsBeforeKill of [1, 2, 5, 11]) {
      const acknowledged = await appendUntilKilled(script, file, appendsBeforeKill)
      const store = await openDuckdbStore({ file })
      const [[, count] = [0, 0]] = await store.buckets({
        machine: 'm',
        signal: 's',
        ...EVER,
        everyMs: 1e14,
        fn: 'count',
      })
      const [newest] = await store.latest('m')
      await store.close()
      expect(count % 5000).toBe(0)
      expect(count).toBeGreaterThanOrEqual(known + acknowledged * 5000)
      expect(newest).toEqual({ signal: 's', measuredAt: T0 + count, value: count })
      known = count
    }
  })
})

test('a duckdb file that another process holds is refused with its pid', async () => {
  const file = await newFile()
  const child = spawn(process.execPath, [await appendingScript(), file], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  await expect(openDuckdbStore({ file })).rejects.toThrow(`${file} is held by process ${child.pid}`)
})

test('an append that fails leaves nothing behind, and the next one works', async () => {
  const store = await openedAt(await newFile())
  const impossible = row('new', 'new', Number.NaN, 1)
  await expect(store.append(setsOf([row('m', 's', T0, 1), impossible]))).rejects.toThrow()
  expect([...(await store.highWaterMarks())]).toEqual([])
  await store.append(setsOf([row('m', 's', T0, 2)]))
  expect(await store.history({ machine: 'm', ...EVER })).toEqual([row('m', 's', T0, 2)])
  expect(await store.latest('new')).toEqual([])
})

test('closing waits for what has begun', async () => {
  const file = await newFile()
  const store = await openDuckdbStore({ file })
  const appending = store.append(setsOf(Array.from({ length: 20_000 }, (_, index) => row('m', 's', T0 + index, index))))
  await store.append(setsOf([row('m', 's', T0 - 1, 0)]))
  const reading = store.range({ machine: 'm', signal: 's', ...EVER }, 100_000)
  await store.close()
  await appending
  expect(await reading).toHaveLength(20_001)
})

test('a slow read holds up neither appends nor the look-up of identities', async () => {
  const store = await openedAt(await newFile())
  await store.append(
    setsOf(Array.from({ length: 400_000 }, (_, index) => row('m', `s${index % 2}`, T0 + index, index))),
  )
  const order: string[] = []
  const slow = Array.from({ length: 6 }, async () => {
    await store.history({ machine: 'm', ...EVER })
    order.push('slow')
  })
  const quick = (async () => {
    await store.append(setsOf([row('m', 's0', T0 - 1, 1)]))
    await store.find([{ machine: 'm', signal: 's0', measuredAt: T0 - 1 }])
    order.push('quick')
  })()
  await Promise.all([...slow, quick])
  expect(order.indexOf('quick')).toBeLessThan(order.lastIndexOf('slow'))
})

test('a closed store answers with an error', async () => {
  const store = await openDuckdbStore({ file: await newFile() })
  await store.append(setsOf([row('m', 's', T0, 1)]))
  await store.range({ machine: 'm', signal: 's', ...EVER }, 1)
  await store.close()
  await expect(store.range({ machine: 'm', signal: 's', ...EVER }, 1)).rejects.toThrow()
  await expect(store.append(setsOf([row('m', 's', T0 + 1, 1)]))).rejects.toThrow()
})

function row(machine: string, signal: string, measuredAt: number, value: StoredReading['value']): StoredReading {
  return { machine, signal, measuredAt, value }
}

async function newFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger store '))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'telemetry.duckdb')
}

async function openedAt(file: string): Promise<TelemetryStore> {
  const store = await openDuckdbStore({ file })
  onTestFinished(() => store.close())
  return store
}

async function answers(store: TelemetryStore) {
  return {
    marks: [...(await store.highWaterMarks())],
    latest: [await store.latest('m'), await store.latest('m2')],
    history: [await store.history({ machine: 'm', ...EVER }), await store.history({ machine: 'm2', ...EVER })],
  }
}

/** A program that appends 5,000 readings after the other to the store of its argument and says so each time. */
async function appendingScript(): Promise<string> {
  // Below node_modules, so that the packages are found from there.
  const folder = await mkdtemp(join(ROOT, 'node_modules', '.outrigger-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const outfile = join(folder, 'append.mjs')
  await build({
    stdin: {
      contents: `
        import { openDuckdbStore } from './src/store/duckdb-store.ts'
        const store = await openDuckdbStore({ file: process.argv[2] })
        let count = ((await store.latest('m'))[0]?.value ?? 0)
        for (;;) {
          await store.append(Array.from({ length: 5000 }, () => {
            count += 1
            return { machine: 'm', measuredAt: ${T0} + count, values: new Map([['s', count]]) }
          }))
          process.stdout.write('appended\\n')
        }`,
      resolveDir: ROOT,
      loader: 'ts',
    },
    outfile,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  })
  return outfile
}

async function appendUntilKilled(script: string, file: string, appends: number): Promise<number> {
  const child = spawn(process.execPath, [script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  let acknowledged = 0
  const lines = createInterface({ input: child.stdout })
  lines.on('line', () => {
    acknowledged += 1
    if (acknowledged === appends) child.kill('SIGKILL')
  })
  await Promise.all([once(child, 'close'), once(lines, 'close')])
  return acknowledged
}
