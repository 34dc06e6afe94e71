import { onStopSignal } from '../stop-signal.ts'
import { type BenchOptions, readBenchOptions, USAGE, UsageError } from './bench/options.ts'
import { runBench } from './bench/run-bench.ts'
import { figuresTable } from './bench/table.ts'
import { openWorkplace } from './bench/workplace.ts'

/** Runs the command. @returns the exit code: 1 where something could not be measured */
async function main(args: string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    console.log(USAGE)
    return 0
  }
  try {
    return await bench(readBenchOptions(args))
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    console.error(`${error.message}\n\n${USAGE}`)
    return 2
  }
}

async function bench(options: BenchOptions): Promise<number> {
  const stop = new AbortController()
  const workplace = await openWorkplace(stop.signal)
  process.on('exit', () => workplace.killAll())
  onStopSignal(
    () => stop.abort(),
    () => process.exit(130),
  )
  process.on('SIGHUP', () => stop.abort()) // the terminal is gone
  const begun = performance.now()
  const say = (line: string) => {
    const seconds = Math.round((performance.now() - begun) / 1000)
    process.stderr.write(`${String(seconds).padStart(4)} s  ${line}\n`)
  }
  try {
    const figures = await runBench(options, workplace, say)
    console.log(options.json ? JSON.stringify(figures) : figuresTable(figures))
    return figures.failures.length > 0 ? 1 : 0
  } catch (error) {
    if (!stop.signal.aborted) throw error
    say('stopped')
    return 130
  } finally {
    await workplace.close()
  }
}

process.exitCode = await main(process.argv.slice(2))
