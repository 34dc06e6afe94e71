import type { StoredReading, StoredSet } from '../../src/store/telemetry-store.ts'

/** Readings as sets of one value each, as a store takes them. */
export function setsOf(readings: readonly StoredReading[]): StoredSet[] {
  return readings.map(({ machine, measuredAt, signal, value }) => ({
    machine,
    measuredAt,
    values: new Map([[signal, value]]),
  }))
}
