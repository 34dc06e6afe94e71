import { highest, level, lowest, type SignalValue, type Summary } from '../src/reading.ts'
import type { SimulatedSet } from './machine-model.ts'
import type { Random } from './random.ts'

/** What telematics units and gateways do to readings in life, with the share of machines that do it under `--messy`. */
export const messyParts = {
  summaries: 0.6, // one-minute {min, mean, max, n} instead of readings
  'on-change': 0.4, // a signal is sent when it has moved, or after ten minutes
  'no-mode': 0.5,
  'fill-values': 0.8, // J1939's error and not-available codes, raw and scaled
  'wrong-zone': 0.15, // the unit's clock runs on the site's local time and calls it UTC
  dropouts: 1, // single values, single sets, minutes of silence
  'counter-reset': 0.25, // a replaced controller counts from zero
  'night-battery': 0.4, // the main switch is off at night: no heartbeat
  offline: 0.6, // hours in a dead zone, then the backlog, newest first
  arrays: 0.5, // several sets in one message
  gateway: 0.25, // sent through a gateway's topic
} as const
export type MessyPart = keyof typeof messyParts

export function isMessyPart(name: string): name is MessyPart {
  return Object.hasOwn(messyParts, name)
}

/** Draws the parts of one machine out of the whole profile. */
export function drawMessyParts(random: Random): Set<MessyPart> {
  const names = Object.keys(messyParts) as MessyPart[]
  return new Set(names.filter((name) => random.chance(messyParts[name])))
}

/** One payload as it leaves the unit. */
export interface Message {
  readonly topic: string
  readonly payload: string
  /** Reading sets in it. */
  readonly sets: number
}

/** What turns reading sets into messages. */
export interface Sender {
  /**
   * @param set what was measured
   * @returns what is sent because of it, possibly nothing
   */
  take(set: SimulatedSet): Message[]
  /** Whether the unit has power and network after the last set. */
  connected(): boolean
  /** Sends what still waits in the unit. */
  flush(): Message[]
}

/** A unit that sends each set at once. */
export function plainSender(prefix: string, id: string): Sender {
  const topic = `${prefix}machines/${id}/telemetry`
  return {
    take: (set) => [{ topic, payload: JSON.stringify(set), sets: 1 }],
    connected: () => true,
    flush: () => [],
  }
}

interface Draft {
  ts: number
  seq: number
  mode: string | undefined
  signals: Record<string, SignalValue>
}

const counters = new Set([
  'engine_hours_h',
  'idle_hours_h',
  'pto_hours_h',
  'hoist_hours_h',
  'power_on_hours_h',
  'breaker_hours_h',
  'stroke_count',
  'pumped_volume_m3',
  'lift_cycles',
  'overload_events',
])

/** Scaled (raw × resolution + offset) and raw codes that mean error or not available. */
const fillCodes: Record<string, readonly number[]> = {
  coolant_temp_c: [215, 214, 255],
  hyd_oil_temp_c: [215, 214, 255],
  engine_oil_temp_c: [1775, 65535],
  engine_speed_rpm: [8191.875, 65535],
  engine_load_pct: [255, 254],
  engine_oil_pressure_kpa: [1020, 1016],
  fuel_rate_l_h: [3276.75, 65535],
  fuel_level_pct: [102, 101.6, 255],
  def_level_pct: [102, 255],
  battery_voltage_v: [3276.75, 65535],
  ambient_temp_c: [1775, 65535],
  engine_hours_h: [214748364.75, 4294967295],
  idle_hours_h: [214748364.75],
}

const minuteMs = 60_000
const hourMs = 3_600_000
const heartbeatMs = 10 * minuteMs
const arrayLength = 5

/** Deterministic for a seed: the same sets become the same messages. */
export function messySender(options: {
  readonly id: string
  readonly prefix: string
  readonly parts: ReadonlySet<MessyPart>
  readonly random: Random
  readonly startAt: number
  /** Local time of the site: UTC plus this. */
  readonly siteOffsetMs: number
}): Sender {
  const { id, prefix, parts, random, startAt, siteOffsetMs } = options
  const gateway = parts.has('gateway')
  const topic = gateway
    ? `${prefix}gateways/gw-${1 + Math.floor(random.next() * 3)}/telemetry`
    : `${prefix}machines/${id}/telemetry`
  const resetAt = startAt + random.between(1, 4) * hourMs

  let seq = 0
  let connected = true
  let silentUntil = 0
  let outage = nextOutage(startAt)
  let minute: { mode: string; from: number; last: number; values: Map<string, SignalValue[]> } | undefined
  let waiting: Draft[] = []
  const resetBase = new Map<string, number>()
  const lastSent = new Map<string, { value: number; at: number }>()

  function nextOutage(after: number) {
    const from = after + random.between(1.5, 6) * hourMs
    return { from, to: from + random.between(1, 3) * hourMs }
  }

  function restarted(set: SimulatedSet): SimulatedSet['signals'] {
    if (!parts.has('counter-reset') || set.ts < resetAt) return set.signals
    const signals = { ...set.signals }
    for (const [name, value] of Object.entries(signals)) {
      if (!counters.has(name) || typeof value !== 'number') continue
      const base = resetBase.get(name) ?? value
      resetBase.set(name, base)
      signals[name] = Math.round((value - base) * 100) / 100
    }
    return signals
  }

  function dropped(ts: number): boolean {
    if (!parts.has('dropouts')) return false
    if (ts < silentUntil) return true
    if (random.chance(0.0005)) silentUntil = ts + random.between(30, 180) * 1000
    return random.chance(0.005)
  }

  /** Values of the minute that has ended, or undefined while it runs. */
  function summarised(ts: number, mode: string, signals: Record<string, SignalValue>): Draft | undefined {
    const from = Math.floor(ts / minuteMs) * minuteMs
    const ended = minute && minute.from !== from ? closeMinute() : undefined
    minute ??= { mode, from, last: ts, values: new Map() }
    minute.last = ts
    minute.mode = mode
    for (const [name, value] of Object.entries(signals)) {
      const values = minute.values.get(name) ?? []
      values.push(value)
      minute.values.set(name, values)
    }
    return ended
  }

  function closeMinute(): Draft | undefined {
    if (!minute) return undefined
    const signals: Record<string, SignalValue> = {}
    for (const [name, values] of minute.values) {
      const last = values.at(-1) as SignalValue
      signals[name] = counters.has(name) ? last : summary(values)
    }
    const draft = { ts: Math.min(minute.from + minuteMs - 1, minute.last), seq: seq++, mode: minute.mode, signals }
    minute = undefined
    return draft
  }

  function moved(draft: Draft): Draft {
    const signals: Record<string, SignalValue> = {}
    for (const [name, value] of Object.entries(draft.signals)) {
      const now = level(value)
      const before = lastSent.get(name)
      const same = before && Math.abs(now - before.value) <= 0.01 * Math.abs(before.value) + 0.01
      if (before && same && draft.ts - before.at < heartbeatMs) continue
      signals[name] = value
      lastSent.set(name, { value: now, at: draft.ts })
    }
    return { ...draft, signals }
  }

  function spoiled(draft: Draft): Draft {
    const signals: Record<string, SignalValue> = {}
    for (const [name, value] of Object.entries(draft.signals)) {
      if (parts.has('dropouts') && random.chance(0.01)) continue
      const codes = fillCodes[name]
      const code = codes?.[Math.floor(random.next() * codes.length)]
      signals[name] = parts.has('fill-values') && code !== undefined && random.chance(0.02) ? code : value
    }
    return {
      ts: parts.has('wrong-zone') ? draft.ts + siteOffsetMs : draft.ts,
      seq: draft.seq,
      mode: parts.has('no-mode') ? undefined : draft.mode,
      signals,
    }
  }

  function messages(drafts: readonly Draft[]): Message[] {
    const entries = drafts.map((draft) => (gateway ? { machine: id, ...draft } : draft))
    const size = parts.has('arrays') ? arrayLength : 1
    const result: Message[] = []
    for (let at = 0; at < entries.length; at += size) {
      const chunk = entries.slice(at, at + size)
      result.push({ topic, payload: JSON.stringify(size > 1 ? chunk : chunk[0]), sets: chunk.length })
    }
    return result
  }

  function release(): Message[] {
    const drafts = waiting
    waiting = []
    return messages(drafts)
  }

  return {
    connected: () => connected,
    flush() {
      const ended = parts.has('summaries') ? closeMinute() : undefined
      if (ended) waiting.push(spoiled(ended))
      return connected ? release() : []
    },
    take(set) {
      const resting = set.mode === 'off' || set.mode === 'weathervane'
      if (parts.has('night-battery') && resting) {
        const last = connected ? this.flush() : []
        connected = false
        return last
      }
      const signals = restarted(set)
      let result: Message[] = []
      if (parts.has('offline') && set.ts >= outage.to) {
        waiting.reverse()
        connected = true
        result = release()
        outage = nextOutage(set.ts)
      }
      connected = !(parts.has('offline') && set.ts >= outage.from)
      if (dropped(set.ts)) return result

      const whole = parts.has('summaries')
        ? summarised(set.ts, set.mode, signals)
        : { ts: set.ts, seq: seq++, mode: set.mode, signals }
      if (!whole) return result
      const draft = spoiled(parts.has('on-change') ? moved(whole) : whole)
      if (Object.keys(draft.signals).length > 0) waiting.push(draft)
      const full = parts.has('arrays') ? waiting.length >= arrayLength : waiting.length > 0
      return connected && full ? [...result, ...release()] : result
    },
  }
}

function summary(values: readonly SignalValue[]): Summary {
  const mean = values.reduce<number>((sum, value) => sum + level(value), 0) / values.length
  const min = Math.min(...values.map(lowest))
  const max = Math.max(...values.map(highest))
  const rounded = Math.min(max, Math.max(min, Math.round(mean * 1000) / 1000))
  return { min, mean: rounded, max, n: values.length }
}
