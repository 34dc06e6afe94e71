import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { reconnectingFleet } from './reconnecting-fleet.ts'

const MACHINES = 5_000
const FROZEN = 200
const SERVED_MS = 60_000
const MEMORY_MB = 1_024

// Node takes as many as it may
const files = Number(execFileSync('sh', ['-c', 'ulimit -Hn']).toString()) || Number.POSITIVE_INFINITY

test.skipIf(files < MACHINES + FROZEN + 500)(
  '5,000 machines come back at once after kill -9, each with 20 minutes, while 200 subscribers are frozen: all are served within a minute',
  async () => {
    const { readyMs, servedMs, peakMb } = await reconnectingFleet({
      machines: MACHINES,
      hot: 200,
      sets: 120,
      frozen: FROZEN,
    })
    const seconds = (ms: number) => (ms / 1_000).toFixed(1)
    console.log(
      `there after ${seconds(readyMs)} s, all served ${seconds(servedMs)} s later, at most ${peakMb.toFixed(0)} MiB`,
    )
    expect(servedMs).toBeLessThan(SERVED_MS)
    expect(peakMb).toBeLessThan(MEMORY_MB)
  },
)
