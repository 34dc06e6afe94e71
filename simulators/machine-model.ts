import type { SignalValue, Summary } from '../src/reading.ts'
import { boomPump } from './boom-pump.ts'
import { crane } from './crane.ts'
import { type Activity, duty } from './duty.ts'
import { excavator } from './excavator.ts'
import { damage, type FaultPlan, faults, type MachineType } from './faults.ts'
import { clamp, type Machinery, type Put, type Scene, type Unit } from './machinery.ts'
import { seededRandom } from './random.ts'
import { towerCrane } from './tower-crane.ts'

export interface MachineOptions {
  readonly type: MachineType
  /** The same seed, start and options give the same readings; a fault changes only what the fault changes. */
  readonly seed: number | string
  /** First moment of the simulation, epoch milliseconds. */
  readonly startAt: number
  readonly fault?: FaultPlan | undefined
  /** Service counter at the start, hours: engine hours, PTO hours of a boom pump, hoist hours of a tower crane. Default: drawn. */
  readonly startHours?: number | undefined
  /** `working` (default): begins warm in the middle of a morning's work; `clock`: wherever the site's clock stands. */
  readonly startPhase?: 'working' | 'clock' | undefined
  /** Time zone of the site, hours east of UTC, for `clock`. Default 8. */
  readonly zoneHours?: number | undefined
  /** Mean air temperature at the site, °C; the day swings by 5 K around it. Default 25. */
  readonly ambientC?: number | undefined
  /** Shortest time between two reading sets, seconds; signals that are due more often wait for it. Default 1. */
  readonly reportEverySeconds?: number | undefined
}

/** What a machine measured at one instant, in the words of the payload. */
export interface SimulatedSet {
  readonly ts: number
  readonly seq: number
  readonly mode: string
  readonly signals: Record<string, SignalValue>
}

/** The truth behind the readings. */
export interface Label {
  readonly ts: number
  readonly mode: string
  readonly failureMode: string | null
  readonly onsetAt: string | null
  readonly failureAt: string | null
  /** Damage, 0 healthy to 1 failed. */
  readonly d: number
  /** Remaining useful life, machine hours. */
  readonly rulH: number | null
}

export interface MachineModel {
  readonly type: MachineType
  readonly startHours: number
  /** Local time of the site: UTC plus this. */
  readonly siteOffsetMs: number
  /**
   * Lives on to that moment and yields the reading sets that were due until then, oldest first. Takes up where the
   * last call ended; the sets do not depend on how a span is cut into calls.
   */
  advance(toMs: number): Generator<SimulatedSet>
  /** The truth at the last moment lived. */
  label(): Label
  running(): boolean
}

const heartbeatMs = 600_000
const longestStepSeconds = 60

function machinery(type: MachineType, unit: Unit): Machinery {
  if (type === 'boom_pump') return boomPump(unit)
  if (type === 'excavator') return excavator(unit)
  if (type === 'tower_crane') return towerCrane(unit)
  return crane(unit, type)
}

function rounded(value: number, decimals: number): number {
  const scale = 10 ** decimals
  return Math.round(value * scale) / scale
}

function roundedSummary({ min, mean, max, n }: Summary, decimals: number): Summary {
  const low = rounded(min, decimals)
  const high = rounded(max, decimals)
  return { min: low, mean: clamp(rounded(mean, decimals + 1), low, high), max: high, n }
}

/**
 * One simulated machine: duty, physics, wear and telematics unit, without any network.
 *
 * @throws {RangeError} the fault does not exist on this type, or a number makes no sense
 */
export function machineModel(options: MachineOptions): MachineModel {
  const { type, seed, startAt, fault, startPhase = 'working', zoneHours = 8, ambientC = 25 } = options
  const { reportEverySeconds = 1 } = options
  if (fault && !(faults[fault.code].types as readonly MachineType[]).includes(type))
    throw new RangeError(`${fault.code} (${faults[fault.code].name}) is no failure mode of ${type}`)
  if (!(reportEverySeconds >= 1)) throw new RangeError('a machine reports at most once a second')

  const random = seededRandom(`${type}/${seed}`)
  const drawnHours = random.stream('age').between(300, 6000)
  const startHours = options.startHours ?? drawnHours
  const injected = fault ? damage(fault, random.stream('fault')) : undefined
  const days = duty(type, random.stream('duty'), { startMs: startAt, phase: startPhase, zoneHours })
  const weather = random.stream('weather').between(-1.5, 1.5)
  const first = days.at(startAt)
  const unit: Unit = {
    build: random.stream('build'),
    noise: random.stream('noise'),
    damage: (code) => (injected?.code === code ? injected.level() : 0),
    startHours,
    warm: first.kind !== 'off' && startPhase === 'working',
  }
  const machine = machinery(type, unit)
  const gridMs = Math.round(reportEverySeconds * 1000)
  const phaseMs = startAt + Math.floor(random.stream('phase').next() * Math.min(gridMs, 1000))

  let lived = startAt
  /** Grid point of the last reading set considered, −1 before the first. */
  let tick = -1
  let seq = 0
  let wasRunning = false
  let sentAtKeyOn = new Map<string, SignalValue>()
  let scene = sceneAt(startAt, first)
  let onsetAt: number | undefined
  let failureAt: number | undefined
  noteDamage()

  function sceneAt(atMs: number, activity: Activity): Scene {
    const { startMs, endMs } = activity
    // Warmest at three in the afternoon.
    const hour = ((atMs + days.siteOffsetMs) % 86_400_000) / 3_600_000
    return {
      atMs,
      activity,
      share: clamp((atMs - startMs) / (endMs - startMs), 0, 1),
      ambientC: ambientC + weather + 5 * Math.cos(((hour - 15) / 12) * Math.PI),
    }
  }

  function noteDamage() {
    if (!injected) return
    if (onsetAt === undefined && injected.progress() >= 0) {
      // A fault that was under way at the start has its onset before it, in machine hours.
      onsetAt = lived === startAt ? startAt - injected.progress() * injected.lifeHours * 3_600_000 : lived
    }
    if (failureAt === undefined && injected.law !== 'intermittent' && injected.level() >= 1) failureAt = lived
  }

  /** Lets time pass, in steps that end where the activity ends. */
  function live(toMs: number) {
    while (lived < toMs) {
      const activity = days.at(lived)
      const end = Math.min(toMs, activity.endMs, lived + longestStepSeconds * 1000)
      const seconds = (end - lived) / 1000
      scene = sceneAt(lived + (end - lived) / 2, activity)
      machine.step(seconds, scene)
      if (injected && machine.running(activity)) injected.wear(seconds / 3600, machine.outputPace(scene))
      lived = end
      noteDamage()
    }
    scene = sceneAt(lived, days.at(lived))
  }

  /** The next grid point at which the machine has something to say. */
  function nextTick(): number {
    const after = tick + 1
    const at = phaseMs + after * gridMs
    const activity = days.at(lived)
    if (wasRunning || machine.running(activity) || activity.endMs <= at) return after
    const everyTicks = Math.max(1, Math.round(heartbeatMs / gridMs))
    const heartbeat = (Math.floor(tick / everyTicks) + 1) * everyTicks
    const waking = Math.ceil((activity.endMs - phaseMs) / gridMs)
    return Math.max(after, Math.min(heartbeat, waking))
  }

  function collect(from: number, now: number): SimulatedSet | undefined {
    const signals: Record<string, SignalValue> = {}
    const put: Put = (signal, value, decimals = 0) => {
      signals[signal] = typeof value === 'number' ? rounded(value, decimals) : roundedSummary(value, decimals)
    }
    const running = machine.running(scene.activity)
    if (running) {
      for (const group of machine.groups) {
        const period = group.everySeconds / reportEverySeconds
        const due = !wasRunning || Math.floor(now / period) > Math.floor(from / period)
        if (due) group.read(put, scene)
      }
    }
    if (!running) machine.heartbeat(put, scene)
    if (!wasRunning) sentAtKeyOn = new Map()
    if (running && machine.changing) {
      const before = { ...signals }
      machine.changing(put, scene)
      for (const [signal, value] of Object.entries(signals)) {
        if (signal in before) continue
        if (sentAtKeyOn.get(signal) === value) delete signals[signal]
        sentAtKeyOn.set(signal, value)
      }
    }
    wasRunning = running
    if (Object.keys(signals).length === 0) return undefined
    return { ts: lived, seq: seq++, mode: machine.mode(scene) ?? 'off', signals }
  }

  return {
    type,
    startHours,
    siteOffsetMs: days.siteOffsetMs,
    running: () => machine.running(scene.activity),
    *advance(toMs) {
      for (;;) {
        const next = nextTick()
        const at = phaseMs + next * gridMs
        if (at > toMs) return
        live(at)
        const from = tick
        tick = next
        const set = collect(from, next)
        if (set) yield set
      }
    },
    label() {
      const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString())
      return {
        ts: lived,
        mode: machine.mode(scene) ?? 'off',
        failureMode: injected?.code ?? null,
        onsetAt: iso(onsetAt),
        failureAt: iso(failureAt),
        d: injected ? rounded(injected.level(), 4) : 0,
        rulH: injected ? rounded(injected.remainingHours(), 2) : null,
      }
    },
  }
}
