import { expect, test } from 'vitest'
import { killedUnderLoad } from './killed-under-load.ts'

test('killed 20 times under the load of 50 machines: what was acknowledged is stored once', async () => {
  const messages = await killedUnderLoad({ machines: 50, kills: 20, longestMs: 1_500 })
  expect(messages).toBeGreaterThan(10_000)
  console.log(`${messages} messages were acknowledged and are stored once`)
})
