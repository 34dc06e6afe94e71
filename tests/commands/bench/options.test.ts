import { expect, test } from 'vitest'
import { readBenchOptions, UsageError } from '../../../src/commands/bench/options.ts'

test('without options a minute with 100 connections is measured, quickly two seconds', () => {
  expect(readBenchOptions([])).toEqual({ json: false, quick: false, seconds: 60, connections: 100 })
  expect(readBenchOptions(['--quick', '--json'])).toEqual({ json: true, quick: true, seconds: 2, connections: 100 })
})

for (const args of [
  ['--seconds', '0'],
  ['--seconds', '601'],
  ['--seconds', '1.5'],
  ['--connections', '1001'],
  ['--connections', 'many'],
  ['--conections', '5'],
  ['surplus'],
])
  test(`'${args.join(' ')}' is refused`, () => expect(() => readBenchOptions(args)).toThrow(UsageError))
