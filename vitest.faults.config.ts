import { defineConfig } from 'vitest/config'

/** `npm run test:faults`: crashes, outages and bad networks, minutes long; much of it is waiting, so two at a time. */
export default defineConfig({
  test: {
    include: ['tests/faults/**/*.faults.ts'],
    globalSetup: ['tests/global-setup.ts'],
    testTimeout: 600_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
