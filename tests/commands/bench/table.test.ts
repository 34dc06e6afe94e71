import { expect, test } from 'vitest'
import { emptyFigures } from '../../../src/commands/bench/figures.ts'
import { figuresTable } from '../../../src/commands/bench/table.ts'

const run = { seconds: 60, window: 20, quick: false, stored: null, took_s: 300 }
const empty = emptyFigures(run, 100, 1_000)

function lineOf(table: string, name: string): string | undefined {
  return table.split('\n').find((line) => line.includes(name))
}

test('a figure stands beside its budget, with whether it keeps it', () => {
  const table = figuresTable({ ...empty, messages_per_s: 40_000, backlog_s: 2, lost: 0, bytes_per_message: 41 })
  expect(lineOf(table, 'acknowledged  ')).toMatch(/40,000 messages\/s +✓ ≥ 40,000$/)
  expect(lineOf(table, 'waiting when')).toMatch(/2 s +✗ < 2$/)
  expect(lineOf(table, 'not in it')).toMatch(/0 messages +✓ = 0$/)
  expect(lineOf(table, 'on disk')).toMatch(/41 bytes +✗ ≤ 40$/)
})

test('what was not measured keeps no budget, and says why', () => {
  const table = figuresTable({ ...empty, failures: [{ phase: 'the store is counted', reason: 'no time is left' }] })
  expect(lineOf(table, 'twice in it')).toMatch(/– +\? = 0$/)
  expect(table).toContain('Failed: the store is counted: no time is left')
})

test('void ratios are told', () => {
  const thousand_connections = { ...empty.thousand_connections, void: true, void_reasons: ['mosquitto: busy'] }
  expect(figuresTable({ ...empty, thousand_connections })).toContain('Void, mosquitto: busy')
})
