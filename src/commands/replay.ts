import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { ConfigInvalid, type Environment, readConfig } from '../config.ts'
import { onStopSignal } from '../stop-signal.ts'
import { BrokerUnreachable, type ReplayCounts, type ReplayOptions, replayFile } from './replay-file.ts'
import { MapInvalid, parseReplayMap } from './replay-map.ts'
import { RecordingUnreadable } from './replay-rows.ts'
import { readTimes } from './replay-time.ts'

const USAGE = `npm run replay -- FILE --machine ID [options]

Publishes a recorded CSV (or .csv.gz) over MQTT as a machine would, and counts what was acknowledged.

  --machine ID    the machine, 1-64 of A-Z a-z 0-9 . _ -
  --map FILE      YAML that says what the columns are; none: the header bears the names of signals
  --speed N       N times as fast as recorded; none: as fast as it is acknowledged
  --now           shifts the recording so that its last row is now
  --from TIME     leaves out what was measured before
  --skip-bad      goes on after a row that cannot be published
  --url URL       the broker; none: MQTT_URL, else MQTT_HOST and MQTT_PORT
`

/** The command was given wrongly. */
class UsageError extends Error {
  override readonly name = 'UsageError'
}

async function readOptions(args: string[], config: Environment): Promise<ReplayOptions> {
  const { values, positionals } = parseArguments(args)
  const [file, ...more] = positionals
  if (file === undefined || more.length > 0) throw new UsageError('give one FILE')
  if (values.machine === undefined) throw new UsageError('say with --machine which machine this is')
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(values.machine))
    throw new UsageError(`'${values.machine}' is no machine id: 1-64 of A-Z a-z 0-9 . _ -`)
  const speed = values.speed === undefined ? undefined : Number(values.speed)
  if (speed !== undefined && !(speed > 0 && Number.isFinite(speed)))
    throw new UsageError(`--speed '${values.speed}' is no number above 0`)
  if (values.url !== undefined && !URL.canParse(values.url))
    throw new UsageError(`--url '${values.url}' is no address such as mqtt://localhost:1883`)

  const map =
    values.map === undefined ? undefined : parseReplayMap(await readFile(given(values.map), 'utf8'), values.map)
  return {
    file: given(file),
    machine: values.machine,
    url: values.url ?? config.MQTT_URL ?? `mqtt://${reachable(config.MQTT_HOST)}:${config.MQTT_PORT}`,
    username: config.MQTT_USERNAME,
    password: config.MQTT_PASSWORD,
    topicPrefix: config.MQTT_TOPIC_PREFIX,
    map,
    speed,
    toNow: values.now ?? false,
    from: values.from === undefined ? undefined : instant(values.from, map?.time.zone),
    skipBad: values['skip-bad'] ?? false,
  }
}

function parseArguments(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        machine: { type: 'string' },
        map: { type: 'string' },
        speed: { type: 'string' },
        now: { type: 'boolean' },
        from: { type: 'string' },
        'skip-bad': { type: 'boolean' },
        url: { type: 'string' },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error })
  }
}

/** npm changes to the folder of the package: a path is meant from where the person stood. */
function given(path: string): string {
  const here = resolve(path)
  return existsSync(here) ? here : resolve(process.env.INIT_CWD ?? '.', path)
}

function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

function instant(text: string, zone: string | undefined): number {
  try {
    return readTimes('auto', zone)(text)[0] as number
  } catch (error) {
    throw new UsageError(`--from: ${(error as Error).message}`, { cause: error })
  }
}

const EXPECTED = [UsageError, ConfigInvalid, MapInvalid, RecordingUnreadable, BrokerUnreachable]

/** Runs the command. @returns the exit code */
async function main(args: string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    console.log(USAGE)
    return 0
  }
  const stop = new AbortController()
  onStopSignal(
    () => stop.abort(),
    () => process.exit(130),
  )
  try {
    const options = await readOptions(args, readConfig(process.env))
    const progress = progressLine()
    const { counts, failure } = await replayFile({
      ...options,
      signal: stop.signal,
      onStart({ columns, header, separator, shiftMs }) {
        if (!options.map && 'index' in columns.time) {
          const time = header[columns.time.index]
          const names = columns.signals.map(({ name }) => name).join(', ')
          console.log(
            `no map: separator ${JSON.stringify(separator)}, time from '${time}' (UTC where it names no zone), signals: ${names}`,
          )
        }
        if (options.toNow) console.log(`shifted by ${shiftMs} ms, so that the last row is now`)
      },
      onBadRow(line, reason) {
        if (!options.skipBad) return // told at the end as what ended it
        progress.clear()
        console.error(`line ${line} ${reason}`)
      },
      onProgress: progress.show,
    })
    progress.clear()
    return summary(counts, failure, options)
  } catch (error) {
    if (!EXPECTED.some((type) => error instanceof type) && (error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw error
    console.error((error as Error).message)
    if (error instanceof UsageError) console.error(`\n${USAGE}`)
    return error instanceof UsageError ? 2 : 1
  }
}

function summary(counts: ReplayCounts, failure: string | undefined, { machine, skipBad }: ReplayOptions): number {
  const { read, leftOut, bad, published, acknowledged } = counts
  const unacknowledged = published - acknowledged
  console.log(
    `machine ${machine}: rows read ${read}, left out ${leftOut}, published ${published}, acknowledged ${acknowledged}, refused ${bad + unacknowledged}` +
      (bad + unacknowledged > 0 ? ` (bad rows ${bad}, not acknowledged ${unacknowledged})` : ''),
  )
  if (failure !== undefined)
    console.error(`not complete: ${failure}${bad > 0 && !skipBad ? '; --skip-bad goes on after bad rows' : ''}`)
  return failure === undefined && unacknowledged === 0 ? 0 : 1
}

/** A line that is written over on a terminal, and now and then a new one elsewhere. */
function progressLine() {
  const terminal = process.stderr.isTTY
  const everyMs = terminal ? 200 : 5000
  let last = performance.now()
  return {
    show({ read, acknowledged }: ReplayCounts, part: number): void {
      if (performance.now() - last < everyMs) return
      last = performance.now()
      const text = `${Math.floor(part * 100)} %: rows read ${read}, acknowledged ${acknowledged}`
      process.stderr.write(terminal ? `\r\u001B[K${text}` : `${text}\n`)
    },
    clear(): void {
      if (terminal) process.stderr.write('\r\u001B[K')
    },
  }
}

process.exitCode = await main(process.argv.slice(2))
