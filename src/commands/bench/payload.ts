import { machineModel, type SimulatedSet } from '../../../simulators/machine-model.ts'
import { seededRandom } from '../../../simulators/random.ts'

/** Signals of each message of the load, a boom pump's. Whatever else is published has them too. */
export const LOAD_SIGNALS = [
  'pump_vib_rms_mm_s',
  'hyd_oil_temp_c',
  'main_pressure_bar',
  'coolant_temp_c',
  'engine_speed_rpm',
  'engine_hours_h',
] as const

/** Measured so far apart by one machine: time runs faster than the clock under load, so it begins in the past. */
export const STEP_MS = 1_000

/**
 * A reading set as JSON of a fixed length, in which time, number and hour counter are written over for each message:
 * `{"ts":…13 digits…,"seq":…8 digits…,` and `"engine_hours_h":dddd.dddd` somewhere behind.
 */
export interface Payload {
  readonly text: string
  /** Texts of one length that take the place of what stands at `variedAt`, so that values differ as measured ones do. */
  readonly variants: readonly string[]
  readonly variedAt: number
}

const TS_AT = '{"ts":'.length
const SEQ_AT = '{"ts":1767225600000,"seq":'.length
const FIRST_SEQ = 10_000_000
/** Between two inspections, so that nothing falls due. */
const START_HOURS = '1300.0000'
const HOURS_NAME = '"engine_hours_h":'
const VARIANTS = 4_096

/** Six signals of a healthy pump at work, about 190 bytes. Waves with noise on them: constants would compress to nothing. */
export function loadPayload(): Payload {
  const random = seededRandom('bench')
  const variants = Array.from({ length: VARIANTS }, (_, index) => {
    const wave = (count: number) => Math.sin((2 * Math.PI * count * index) / VARIANTS)
    const noise = () => random.between(-1, 1)
    return [
      `"pump_vib_rms_mm_s":${(2.2 + 0.3 * wave(9) + 0.1 * noise()).toFixed(3)}`,
      `"hyd_oil_temp_c":${(58 + 3.6 * wave(3) + 0.4 * noise()).toFixed(2)}`,
      `"main_pressure_bar":${(210 + 30 * wave(64) + 5 * noise()).toFixed(1)}`,
      `"coolant_temp_c":${(82 + 1.8 * wave(2) + 0.2 * noise()).toFixed(2)}`,
      `"engine_speed_rpm":${1600 + Math.round(100 * noise())}`,
    ].join(',')
  })
  const before = `{"ts":1767225600000,"seq":${FIRST_SEQ},"signals":{`
  const text = `${before}${variants[0]},${HOURS_NAME}${START_HOURS}}}`
  return { text, variants, variedAt: before.length }
}

/** Every signal that a boom pump's telematics unit sends, in one set: a machine that has all the state it can have. */
export function wholePumpPayload(): Payload {
  const startAt = Date.UTC(2026, 0, 1, 8)
  const model = machineModel({ type: 'boom_pump', seed: 'bench', startAt, startHours: 800, reportEverySeconds: 10 })
  const signals: SimulatedSet['signals'] = {}
  for (const set of model.advance(startAt + 3_600_000)) Object.assign(signals, set.signals)
  const { engine_hours_h: _, ...others } = signals
  const text = `{"ts":1767225600000,"seq":${FIRST_SEQ},"signals":{${JSON.stringify(others).slice(1, -1)},${HOURS_NAME}${START_HOURS}}}`
  return { text, variants: [], variedAt: 0 }
}

/** Writes the number of a machine's message into a packet whose payload begins at `at`. */
export function payloadWriter({ text, variants, variedAt }: Payload, startMs: number, stepMs = STEP_MS) {
  const hoursAt = text.indexOf(HOURS_NAME) + HOURS_NAME.length
  const startTenThousandths = Math.round(Number(START_HOURS) * 10_000)
  const texts = variants.map((variant) => Buffer.from(variant))
  return (packet: Buffer, at: number, number: number): void => {
    writeDigits(packet, at + TS_AT, startMs + number * stepMs, 13)
    writeDigits(packet, at + SEQ_AT, FIRST_SEQ + number, 8)
    const hours = startTenThousandths + Math.floor((number * stepMs) / 360)
    writeDigits(packet, at + hoursAt, Math.floor(hours / 10_000), 4)
    writeDigits(packet, at + hoursAt + 5, hours % 10_000, 4)
    if (texts.length > 0) (texts[number % texts.length] as Buffer).copy(packet, at + variedAt)
  }
}

function writeDigits(target: Buffer, at: number, value: number, digits: number): void {
  for (let place = at + digits - 1, rest = value; place >= at; place--) {
    const next = Math.floor(rest / 10)
    target[place] = 48 + rest - next * 10
    rest = next
  }
}
