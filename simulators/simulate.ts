import { createWriteStream } from 'node:fs'
import { parseArgs } from 'node:util'
import { onStopSignal } from '../src/stop-signal.ts'
import { type FaultPlan, faults, isFaultCode, type Law, laws, type MachineType, machineTypes } from './faults.ts'
import { type FleetMachine, type FleetProgress, simulateFleet, startFor } from './fleet.ts'
import { BrokerUnreachable } from './machine-client.ts'
import { isMessyPart, type MessyPart, messyParts } from './messy.ts'

/** The model that each type is simulated after. */
const models: Record<MachineType, string> = {
  boom_pump: 'bp-52',
  mobile_crane: 'mc-60',
  crawler_crane: 'cc-150',
  tower_crane: 'tc-6015',
  excavator: 'ex-22',
}

const help = `Simulated machines that publish over MQTT.

  npm run simulate -- [options]

  --type TYPE         ${machineTypes.join(', ')}; without it a mixed fleet
  --machines N        how many (5)
  --fault CODE        failure mode to inject into every machine that can have it:
                      ${Object.keys(faults).join(' ')}
  --onset-hours H     machine hours from the start to its first sign; negative: under way (0)
  --life-hours H      machine hours from first sign to failure (drawn from the failure mode's range)
  --law LAW           how damage grows: ${laws.join(', ')} (the failure mode's own)
  --seed N            the same seed gives the same machines and readings (1)
  --speed N           simulated seconds per second, until the wall clock is reached (1)
  --hours H           simulated hours to run
  --for DURATION      how long to run, as 90s, 10m, 2h; without --hours and --for until Ctrl-C
  --from TIME         where simulated time begins, RFC 3339 (so far back that the wall clock is reached at the end)
  --start-phase P     working: begins in the middle of a morning's work; clock: wherever the site's clock stands (working)
  --start-hours H     service counter at the start (differs by machine)
  --report-every S    shortest time between two sets of a machine, seconds (speed / 20, at least 1)
  --ambient C         mean air temperature, °C (25)
  --messy[=PARTS]     as gateways are in life: ${Object.keys(messyParts).join(', ')}
  --url URL           broker (mqtt://127.0.0.1:1883, or MQTT_HOST and MQTT_PORT)
                      with MQTT_USERNAME and MQTT_PASSWORD, where they are set
  --prefix TEXT       before every topic, as site-a/
  --id-prefix TEXT    machines are TEXT1, TEXT2, … (their type and a number)
  --register API      makes the machines known first: POST API/api/v1/machines (with OUTRIGGER_API_TOKEN where set)
  --labels FILE       the truth as JSON lines: mode, failure mode, onset, damage, remaining hours
  --help
`

/** What the user typed makes no sense. */
class UsageError extends Error {
  override readonly name = 'UsageError'
}

function numberOf(name: string, text: string | undefined, lowest = Number.NEGATIVE_INFINITY): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < lowest)
    throw new UsageError(`--${name} takes a number${lowest > -1e9 ? ` from ${lowest}` : ''}, not '${text}'`)
  return value
}

const unitMs = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

function durationOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, amount, unit] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? []
  if (!amount || !unit) throw new UsageError(`--for takes a duration such as 90s, 10m or 2h, not '${text}'`)
  return Number(amount) * unitMs[unit as keyof typeof unitMs]
}

function faultOf(code: string | undefined, plan: Omit<FaultPlan, 'code'>): FaultPlan | undefined {
  if (code === undefined) return undefined
  if (!isFaultCode(code)) throw new UsageError(`no failure mode '${code}'; there are: ${Object.keys(faults).join(' ')}`)
  return { code, ...plan }
}

function messyOf(text: string | undefined): FleetMachine['messy'] {
  if (text === undefined) return undefined
  if (text === '') return 'some'
  const parts = new Set<MessyPart>()
  for (const name of text.split(',')) {
    if (!isMessyPart(name))
      throw new UsageError(`no messy part '${name}'; there are: ${Object.keys(messyParts).join(', ')}`)
    parts.add(name)
  }
  return parts
}

function isOneOf<T extends string>(values: readonly T[], text: string): text is T {
  return (values as readonly string[]).includes(text)
}

/** parseArgs knows no option whose value may be left out, as `--messy`, nor `--onset-hours -19` without `=`. */
function joined(argv: readonly string[]): string[] {
  const result: string[] = []
  for (const argument of argv) {
    const last = result.at(-1) ?? ''
    const negative = /^-\d/.test(argument) && /^--[a-z-]+$/.test(last)
    if (negative) result[result.length - 1] = `${last}=${argument}`
    if (!negative) result.push(argument === '--messy' ? '--messy=' : argument)
  }
  return result
}

function settings(argv: readonly string[], env: NodeJS.ProcessEnv, wallMs: number) {
  const text = { type: 'string' } as const
  const { values } = parse()
  function parse() {
    try {
      return parseArgs({
        args: joined(argv),
        options: {
          ...{
            type: text,
            machines: text,
            fault: text,
            'onset-hours': text,
            'life-hours': text,
            law: text,
            seed: text,
          },
          ...{ speed: text, hours: text, for: text, from: text, 'start-phase': text, 'start-hours': text },
          ...{ 'report-every': text, ambient: text, messy: text, url: text, prefix: text, 'id-prefix': text },
          ...{ register: text, labels: text, help: { type: 'boolean' } as const },
        },
      })
    } catch (error) {
      throw new UsageError((error as Error).message)
    }
  }
  if (values.help) return undefined

  if (values.type !== undefined && !isOneOf(machineTypes, values.type))
    throw new UsageError(`no machine type '${values.type}'; there are: ${machineTypes.join(', ')}`)
  if (values.law !== undefined && !isOneOf(laws, values.law))
    throw new UsageError(`no law '${values.law}'; there are: ${laws.join(', ')}`)
  const phase = values['start-phase'] ?? 'working'
  if (!isOneOf(['working', 'clock'] as const, phase))
    throw new UsageError(`--start-phase is working or clock, not '${phase}'`)
  const fault = faultOf(values.fault, {
    onsetHours: numberOf('onset-hours', values['onset-hours']),
    lifeHours: numberOf('life-hours', values['life-hours'], 0.01),
    law: values.law as Law | undefined,
  })
  const applies = (type: MachineType) => fault && (faults[fault.code].types as readonly MachineType[]).includes(type)
  if (fault && values.type && !applies(values.type as MachineType))
    throw new UsageError(`${fault.code} (${faults[fault.code].name}) is no failure mode of ${values.type}`)

  const count = numberOf('machines', values.machines, 1) ?? 5
  const seed = numberOf('seed', values.seed) ?? 1
  const machines = Array.from({ length: Math.floor(count) }, (_, index): FleetMachine => {
    const type = (values.type ?? machineTypes[index % machineTypes.length]) as MachineType
    return {
      id: `${values['id-prefix'] ?? `${type.replaceAll('_', '-')}-`}${index + 1}`,
      type,
      seed: `${seed}/${index}`,
      fault: applies(type) ? fault : undefined,
      startHours: numberOf('start-hours', values['start-hours'], 0),
      startPhase: phase,
      ambientC: numberOf('ambient', values.ambient),
      messy: messyOf(values.messy),
    }
  })
  const wrong = machines.find(({ id }) => !/^[A-Za-z0-9._-]{1,64}$/.test(id))
  if (wrong) throw new UsageError(`'${wrong.id}' is no machine id: 1 to 64 of A–Z a–z 0–9 . _ -`)

  const speed = numberOf('speed', values.speed, 0.01) ?? 1
  const runMs = durationOf(values.for)
  const hours = numberOf('hours', values.hours, 0)
  const simulatedMs = hours === undefined ? (runMs ?? 3_600_000) * speed : hours * 3_600_000
  const startAt =
    values.from === undefined ? Math.min(wallMs, startFor(wallMs, speed, simulatedMs)) : Date.parse(values.from)
  if (Number.isNaN(startAt))
    throw new UsageError(`--from takes a time such as 2026-03-01T06:00:00Z, not '${values.from}'`)
  if (startAt > wallMs) throw new UsageError(`--from lies in the future: simulated time never passes the wall clock`)

  return {
    machines,
    speed,
    startAt,
    endAt: hours === undefined ? undefined : startAt + simulatedMs,
    runMs: hours === undefined ? runMs : undefined,
    reportEverySeconds: numberOf('report-every', values['report-every'], 1),
    url: values.url ?? `mqtt://${env.MQTT_HOST ?? '127.0.0.1'}:${env.MQTT_PORT ?? '1883'}`,
    login: env.MQTT_USERNAME ? { username: env.MQTT_USERNAME, password: env.MQTT_PASSWORD ?? '' } : undefined,
    prefix: values.prefix,
    register: values.register,
    labels: values.labels,
  }
}

/** Makes the machines known to the service; one that is known already stays as it is. */
async function register(api: string, machines: readonly FleetMachine[], token: string | undefined) {
  for (const { id, type } of machines) {
    const response = await fetch(`${api.replace(/\/+$/, '')}/api/v1/machines`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
      body: JSON.stringify({ id, type, model: models[type] }),
      signal: AbortSignal.timeout(10_000),
    }).catch((error: Error) => {
      throw new UsageError(
        `no service at ${api} (${error.cause instanceof Error ? error.cause.message : error.message})`,
      )
    })
    if (!response.ok && response.status !== 409)
      throw new UsageError(`${api} did not take machine ${id}: HTTP ${response.status} ${await response.text()}`)
  }
}

function progressLine({ clock, connected, machines, published, acknowledged, sets }: FleetProgress): string {
  const time = new Date(clock).toISOString().slice(0, 19)
  return `${time}Z  ${connected}/${machines} connected  ${sets} sets  ${published} messages, ${acknowledged} acknowledged`
}

/** On a terminal one line that changes, otherwise a line every ten seconds. */
function progressPrinter() {
  const { isTTY } = process.stdout
  let calls = 0
  return (progress: FleetProgress) => {
    calls++
    if (isTTY) process.stdout.write(`\r\x1b[K${progressLine(progress)}`)
    if (!isTTY && calls % 10 === 1) process.stdout.write(`${progressLine(progress)}\n`)
  }
}

async function simulate(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const chosen = settings(argv, env, Date.now())
  if (!chosen) {
    process.stdout.write(help)
    return 0
  }
  const { machines, speed, startAt, endAt, runMs, reportEverySeconds, url, login, prefix } = chosen
  const stop = new AbortController()
  onStopSignal(
    () => stop.abort(),
    () => process.exit(130),
  )

  if (chosen.register) await register(chosen.register, machines, env.OUTRIGGER_API_TOKEN)
  const labels = chosen.labels === undefined ? undefined : createWriteStream(chosen.labels)
  labels?.on('error', (error) => {
    process.stderr.write(`labels are not written: ${error.message}\n`)
    stop.abort()
  })
  process.stdout.write(
    `${machines.length} machines to ${url}, from ${new Date(startAt).toISOString()} at ${speed} times real time\n`,
  )
  const timer = runMs === undefined ? undefined : setTimeout(() => stop.abort(), runMs)
  try {
    const result = await simulateFleet({
      ...{ machines, connect: { url, login, prefix }, speed, startAt, endAt, reportEverySeconds, signal: stop.signal },
      onProgress: progressPrinter(),
      onLabel: labels && ((label) => labels.write(`${JSON.stringify(label)}\n`)),
    })
    const { published, acknowledged, sets } = result
    if (process.stdout.isTTY) process.stdout.write('\r\x1b[K')
    process.stdout.write(`${sets} reading sets in ${published} messages published, ${acknowledged} acknowledged\n`)
    return published === acknowledged ? 0 : 1
  } finally {
    clearTimeout(timer)
    if (labels) await new Promise((resolve) => labels.end(resolve))
  }
}

try {
  process.exitCode = await simulate(process.argv.slice(2), process.env)
} catch (error) {
  const expected = error instanceof UsageError || error instanceof BrokerUnreachable || error instanceof RangeError
  if (!expected) throw error
  const advice = error instanceof BrokerUnreachable ? '; start one with npm start, or name another with --url' : ''
  process.stderr.write(`${error.message}${advice}\n`)
  process.exitCode = error instanceof BrokerUnreachable ? 1 : 2
}
