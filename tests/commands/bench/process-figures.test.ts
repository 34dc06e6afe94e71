import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  cpuSeconds,
  cpuSecondsOfAll,
  descendants,
  pssMb,
  rssMb,
  threadCpuSeconds,
} from '../../../src/commands/bench/process-figures.ts'

/** A process with a busy child that has 60 MiB in use; its pid. */
async function busyFamily(): Promise<{ parent: number; child: number }> {
  const busy = 'const held = Buffer.alloc(60 << 20, 1); console.log(process.pid); for (;;) held[0]++'
  const program = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(busy)}], { stdio: 'inherit' })`
  const parent = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(parent.stdout, 'data')
  const child = Number(line)
  onTestFinished(async () => {
    process.kill(child, 'SIGKILL')
    parent.kill('SIGKILL')
    await once(parent, 'exit')
  })
  return { parent: parent.pid as number, child }
}

describe.skipIf(process.platform !== 'linux')('what Linux tells of processes', () => {
  test('a child is found, with its memory and its CPU time', async () => {
    const { parent, child } = await busyFamily()
    expect(descendants(parent)).toEqual([child])
    expect(rssMb(child)).toBeGreaterThan(60)
    expect(pssMb([child])).toBeGreaterThan(60)

    const before = cpuSeconds(child) as number
    while ((cpuSeconds(child) as number) < before + 0.1) await new Promise((done) => setTimeout(done, 10))
    const threads = [...threadCpuSeconds(child).values()]
    expect(Math.max(...threads)).toBeGreaterThanOrEqual(0.1)
    expect(cpuSecondsOfAll([parent, child])).toBeGreaterThan(before)
  })

  test('of a process that is not there nothing is told', () => {
    const gone = 2 ** 22 + 1 // more than Linux gives
    expect([cpuSeconds(gone), cpuSecondsOfAll([gone]), rssMb(gone), pssMb([gone])]).toEqual(Array(4).fill(undefined))
    expect(threadCpuSeconds(gone).size).toBe(0)
    expect(descendants(gone)).toEqual([])
  })
})
