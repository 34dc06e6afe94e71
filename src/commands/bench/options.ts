import { parseArgs } from 'node:util'

export const USAGE = `npm run bench -- [options]

Measures what Outrigger takes in and stores, beside the bare brokers and the raw store in the same run. It starts the
service as npm start would, with default settings, at free ports and in a temporary folder (TMPDIR says on which disk),
which it removes again. It takes at most eight minutes; docs/performance.md says what the figures mean.

  --json           one JSON object on standard output and nothing else; progress goes to standard error
  --seconds N      how long full load lasts, 1 to 600 (default 60)
  --connections N  how many machines publish at once under full load, 1 to 1000 (default 100)
  --quick          everything short, once, with 200 connections instead of 1,000 and a small fleet: shows that all
                   parts work; its figures mean little
`

export interface BenchOptions {
  readonly json: boolean
  readonly quick: boolean
  /** Of full load. */
  readonly seconds: number
  /** Under full load. */
  readonly connections: number
}

/** The command was given wrongly. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws {UsageError} */
export function readBenchOptions(args: string[]): BenchOptions {
  const { json = false, quick = false, seconds, connections } = parseArguments(args)
  return {
    json,
    quick,
    seconds: wholeNumber('--seconds', seconds ?? (quick ? '2' : '60'), 600),
    connections: wholeNumber('--connections', connections ?? '100', 1_000),
  }
}

function parseArguments(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        json: { type: 'boolean' },
        quick: { type: 'boolean' },
        seconds: { type: 'string' },
        connections: { type: 'string' },
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error })
  }
}

function wholeNumber(option: string, text: string, highest: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : 0
  if (value < 1 || value > highest) throw new UsageError(`${option} '${text}' is no whole number from 1 to ${highest}`)
  return value
}
