import { expect, test } from 'vitest'
import { killedUnderLoad } from '../faults/killed-under-load.ts'

test('killed under load, and again soon after: what was acknowledged is stored once', {
  timeout: 120_000,
}, async () => {
  const messages = await killedUnderLoad({ machines: 10, kills: 2, longestMs: 700, messagesPerSecond: 2_000 })
  expect(messages).toBeGreaterThan(100)
})
