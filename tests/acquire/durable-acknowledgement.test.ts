import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { bundled } from '../bundled.ts'
import { client } from './broker-case.ts'
import { temporaryFolder } from './spool-case.ts'

const hasStrace = spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0
const required = process.env.OUTRIGGER_REQUIRE_SERVERS === '1'

/** A system call as strace shows it; those of several threads are interleaved. */
interface Call {
  readonly name: string
  readonly path: string
  readonly data: string
  readonly moment: 'begun' | 'done'
}

const WHOLE = /^\d+ +(\w+)\(\d+<([^>]*)>(?:, (?:\[\{iov_base=)?"([^"]*)")?.*\) += \d+/
const BEGUN = /^(\d+) +(\w+)\(\d+<([^>]*)>(?:, (?:\[\{iov_base=)?"([^"]*)")?.*<unfinished/
const RESUMED = /^(\d+) +<\.\.\. (\w+) resumed>.* = \d+/

function callsOf(trace: string): Call[] {
  const open = new Map<string, Call>()
  return trace.split('\n').flatMap((line): Call[] => {
    const begun = BEGUN.exec(line)
    if (begun) {
      const [, thread = '', name = '', path = '', data = ''] = begun
      const call: Call = { name, path, data, moment: 'begun' }
      open.set(thread + name, call)
      return [call]
    }
    const resumed = RESUMED.exec(line)
    const before = resumed && open.get(`${resumed[1]}${resumed[2]}`)
    if (before) return [{ ...before, moment: 'done' }]
    const [, name, path = '', data = ''] = WHOLE.exec(line) ?? []
    return name ? (['begun', 'done'] as const).map((moment) => ({ name, path, data, moment })) : []
  })
}

test.skipIf(!hasStrace && !required)(
  'strace: the segment is synced, and the folder of a new one, before each PUBACK',
  { timeout: 60_000 },
  async () => {
    const program = await bundled(join(import.meta.dirname, 'crash-broker.ts'))
    const folder = temporaryFolder()
    const trace = join(temporaryFolder(), 'trace')
    const traced = spawn(
      'strace',
      [
        '-f',
        '-y',
        '-e',
        'trace=pwrite64,fdatasync,fsync,write,writev,sendto',
        '-o',
        trace,
        process.execPath,
        program,
        folder,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'], detached: true },
    )
    const ended = once(traced, 'exit')
    const end = () => process.kill(-(traced.pid as number), 'SIGKILL')
    onTestFinished(() => void (traced.exitCode === null && traced.signalCode === null && end()))
    const [line] = (await once(traced.stdout, 'data')) as [Buffer]

    const machine = await client({ address: line.toString().trim() })
    for (let i = 0; i < 40; i++) await machine.publishAsync('machines/m/telemetry', 'x'.repeat(4_000), { qos: 1 })
    await machine.endAsync(true)
    end()
    await ended

    const unsynced = new Set<string>()
    const unnamed = new Set<string>()
    const seen = new Set<string>()
    let acknowledged = 0
    let written = 0
    for (const { name, path, data, moment } of callsOf(readFileSync(trace, 'utf8'))) {
      if (path.endsWith('.spool') && name === 'pwrite64') {
        unsynced.add(path)
        if (!seen.has(path)) unnamed.add(path)
        seen.add(path)
        written++
      }
      if (moment === 'done' && name.endsWith('sync')) unsynced.delete(path)
      if (moment === 'done' && name === 'fsync')
        for (const file of unnamed) if (dirname(file) === path) unnamed.delete(file)
      const isPuback = moment === 'begun' && path.startsWith('socket:') && data.startsWith('@\\2')
      if (!isPuback) continue
      acknowledged++
      expect({ unsynced, unnamed }, `at PUBACK ${acknowledged}`).toEqual({ unsynced: new Set(), unnamed: new Set() })
      expect(written).toBeGreaterThan(0)
      written = 0
    }
    expect(acknowledged).toBe(40)
    expect(seen.size).toBeGreaterThan(2)
  },
)
