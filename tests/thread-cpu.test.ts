import { expect, test } from 'vitest'
import { threadCpuSeconds } from '../src/thread-cpu.ts'

test.skipIf(process.platform !== 'linux')('the CPU time of a thread rises with its work, by about as much', () => {
  const before = threadCpuSeconds() ?? Number.NaN
  const begun = process.cpuUsage()
  let usedMs = 0
  while (usedMs < 200) {
    const { user, system } = process.cpuUsage(begun)
    usedMs = (user + system) / 1000
  }
  const used = (threadCpuSeconds() ?? Number.NaN) - before
  expect(used).toBeGreaterThan(0.05) // the rest may be other threads of this process
  expect(used).toBeLessThan(0.25)
})
