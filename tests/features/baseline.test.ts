import { expect, test } from 'vitest'
import {
  type Baseline,
  baselineOf,
  emptyBaseline,
  learnBaseline,
  learnFirstReading,
} from '../../src/features/baseline.ts'

const minute = 60_000
const learn = (baseline: Baseline, cell: string, minutes: number, value: number) => {
  for (let i = 0; i < minutes; i++) learnBaseline(baseline, cell, value, minute)
}

test('normal is known after fifty hours of healthy work', () => {
  const baseline = emptyBaseline()
  learn(baseline, 'digging', 50 * 60 - 1, 100)
  expect(baselineOf(baseline, 'digging')).toBeUndefined()
  learn(baseline, 'digging', 1, 100)
  expect(baselineOf(baseline, 'digging')).toBe(100)
})

test('each mode and band needs thirty values of its own', () => {
  const baseline = emptyBaseline()
  learn(baseline, 'digging', 50 * 60, 100)
  learn(baseline, 'lifting', 29, 50)
  expect(baselineOf(baseline, 'lifting')).toBeUndefined()
  learn(baseline, 'lifting', 1, 50)
  expect(baselineOf(baseline, 'lifting')).toBe(50)
})

test('what has been learned for fifty hours is not unlearned by slow wear', () => {
  const baseline = emptyBaseline()
  learn(baseline, 'digging', 50 * 60, 100)
  learn(baseline, 'digging', 500 * 60, 130)
  expect(baselineOf(baseline, 'digging')).toBe(100)
})

test('how often the machine sends does not matter', () => {
  const baseline = emptyBaseline()
  for (let i = 0; i < 3_600; i++) learnBaseline(baseline, 'digging', i < 1_800 ? 1 : 2, 1_000)
  expect(baseline.cells.digging?.median.count).toBe(60)
})

test('too many bands are not learned', () => {
  const baseline = emptyBaseline()
  for (let i = 0; i < 200; i++) learnBaseline(baseline, `digging|${i}`, 1, minute)
  expect(Object.keys(baseline.cells)).toHaveLength(64)
})

test('what people measure is compared with the first time', () => {
  const baseline = emptyBaseline()
  learnFirstReading(baseline, '', 0.4)
  learnFirstReading(baseline, '', 0.9)
  expect(baselineOf(baseline, '')).toBe(0.4)
})
