import type { Summary } from '../src/reading.ts'
import type { Activity } from './duty.ts'
import type { FaultCode } from './faults.ts'
import type { Random } from './random.ts'

/** Gives a value to a reading set, rounded to so many decimals. */
export type Put = (signal: string, value: number | Summary, decimals?: number) => void

/** What is around the machine at one instant. */
export interface Scene {
  readonly atMs: number
  readonly activity: Activity
  /** How much of the activity has passed, 0 to 1. */
  readonly share: number
  readonly ambientC: number
}

/** One machine of its kind, with its own differences, and its damage. */
export interface Unit {
  /** Differences between units, drawn once when the machine is made. */
  readonly build: Random
  /** Noise of sensors. */
  readonly noise: Random
  /** How far this failure mode has come, 0 to 1; 0 for all that were not injected. */
  damage(code: FaultCode): number
  /** Hour-meter of the service counter at the start. */
  readonly startHours: number
  /** The machine has been working before the start: it is warm. */
  readonly warm: boolean
}

/** Signals that go out together. */
export interface Group {
  readonly everySeconds: number
  read(put: Put, scene: Scene): void
}

/** The physics of one machine. */
export interface Machinery {
  /** Moves temperatures, counters and levels on by so many seconds. */
  step(seconds: number, scene: Scene): void
  /** What the machine says it does; undefined with the key off. */
  mode(scene: Scene): string | undefined
  /** Hours of running per hour, 0 or 1: damage grows in machine hours. */
  running(activity: Activity): boolean
  /** Usual pace of wear 1; what wears with output wears with this. */
  outputPace(scene: Scene): number
  /** What is sent while running. */
  readonly groups: readonly Group[]
  /** What is sent when it changes, with the full set at key-on. */
  changing?(put: Put, scene: Scene): void
  /** What the telematics unit sends with the key off. */
  heartbeat(put: Put, scene: Scene): void
}

/** Moves a first-order quantity towards its target, exactly for any length of step. */
export function approach(value: number, target: number, seconds: number, timeConstantSeconds: number): number {
  return target + (value - target) * Math.exp(-seconds / timeConstantSeconds)
}

export function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value))
}

/** Between the two ends of a motion. */
export function along(scene: Scene): number {
  return scene.activity.from + (scene.activity.to - scene.activity.from) * scene.share
}

/** Position, radio and sky: what every telematics unit sends. */
export function telematics({ build, noise }: Unit) {
  const latitude = build.between(23, 40)
  const longitude = build.between(104, 121)
  const signal = build.between(-85, -65)
  return (put: Put, { ambientC }: Scene) => {
    put('latitude', latitude + noise.normal() * 2e-6, 6)
    put('longitude', longitude + noise.normal() * 2e-6, 6)
    put('gnss_fix', 1)
    put('rssi_dbm', clamp(signal + noise.normal() * 3, -100, -50))
    put('ambient_temp_c', ambientC + noise.normal() * 0.2, 1)
  }
}
