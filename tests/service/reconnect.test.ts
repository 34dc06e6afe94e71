import { test } from 'vitest'
import { reconnectingFleet } from '../faults/reconnecting-fleet.ts'

test('a fleet comes back at once after kill -9 while subscribers are frozen: all of it is served, and stored once', {
  timeout: 120_000,
}, async () => {
  await reconnectingFleet({ machines: 200, hot: 5, sets: 30, frozen: 10 })
})
