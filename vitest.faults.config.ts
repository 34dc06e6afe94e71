import { defineConfig } from 'vitest/config'

/** `npm run test:faults`: crashes, outages and bad networks, minutes long, one after another. */
export default defineConfig({
  test: {
    include: ['tests/faults/**/*.faults.ts'],
    globalSetup: ['tests/global-setup.ts'],
    testTimeout: 600_000,
    hookTimeout: 60_000,
    maxWorkers: 1,
  },
})
