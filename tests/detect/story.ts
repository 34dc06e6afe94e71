import type { NamedRule, Profile } from '../../src/catalogue/catalogue.ts'
import { ruleSchema, type Signal, signalSchema } from '../../src/catalogue/schema.ts'
import type { DetectorContext } from '../../src/detect/machine-detector.ts'
import type { Transition } from '../../src/detect/transition.ts'
import type { ReadingSet, SignalValue } from '../../src/reading.ts'

export const second = 1_000
export const minute = 60_000
export const hour = 3_600_000
/** On a full hour: windows and minutes begin with it. */
export const start = Date.UTC(2026, 0, 5, 8)

/** As written in a catalogue file. */
export type RuleText = Parameters<typeof ruleSchema.parse>[0] & object

interface SignalText {
  readonly intervalSeconds?: number
  readonly sent?: Signal['sent']
  readonly component?: string
  readonly unit?: string
  readonly counter?: boolean
  readonly modes?: string[]
  readonly rules?: Record<string, RuleText>
}

interface ProfileText {
  readonly signals: Record<string, SignalText>
  readonly modeFrom?: Profile['modeFrom']
  readonly parameters?: Record<string, number>
  readonly failureModes?: Profile['failureModes']
  readonly faults?: Profile['faults']
}

/** A machine of a few signals with the modes `off` 0, `idle` 1 and `working` 2. */
export function context(text: ProfileText, machine = 'm-1'): DetectorContext {
  const name = { en: 'x', zh: 'x' }
  const signals = new Map<string, Signal>()
  const rules = new Map<string, NamedRule>()
  for (const [id, { rules: ruleTexts = {}, ...signal }] of Object.entries(text.signals)) {
    const usual = { name, unit: '°C', plausible: [-1000, 1e6], intervalSeconds: 10, sent: 'periodic', component: 'oil' }
    signals.set(id, signalSchema.parse({ ...usual, ...signal }))
    for (const [key, rule] of Object.entries(ruleTexts))
      rules.set(`${id}.${key}`, { id: `${id}.${key}`, signal: id, ...ruleSchema.parse(rule) })
  }
  const profile: Profile = {
    type: 'rig',
    model: undefined,
    name,
    components: new Map(),
    modes: new Map([
      ['off', { code: 0, name }],
      ['idle', { code: 1, name }],
      ['working', { code: 2, name }],
    ]),
    modeFrom: text.modeFrom ?? [],
    serviceCounter: { signals: ['engine_hours_h'], running: [{ signal: 'rpm', above: 0 }] },
    parameters: new Map(Object.entries(text.parameters ?? {})),
    signals,
    rules,
    failureModes: text.failureModes ?? new Map(),
    faults: text.faults ?? [],
    tasks: new Map(),
  }
  return { machine, profile, rules }
}

/** Oil at most 85 °C for a minute, 95 °C for half a minute, clear 3 K below. */
export const oil = {
  oil_c: {
    rules: {
      high: {
        direction: 'high',
        warn: { limit: 85, onDelaySeconds: 60 },
        critical: { limit: 95, onDelaySeconds: 30 },
        deadband: 3,
      },
    },
  },
} as const

export function set(
  measuredAt: number,
  values: Record<string, SignalValue>,
  receivedAt = measuredAt + 200,
): ReadingSet {
  return {
    device: 'm-1',
    machine: 'm-1',
    measuredAt,
    receivedAt,
    seq: undefined,
    values: new Map(Object.entries(values)),
  }
}

/** Reading sets every `everyMs` in (from, to]. */
export function every(
  everyMs: number,
  from: number,
  to: number,
  values: (at: number) => Record<string, SignalValue>,
): ReadingSet[] {
  const sets: ReadingSet[] = []
  for (let at = from + everyMs; at <= to; at += everyMs) sets.push(set(at, values(at)))
  return sets
}

/** What a unit sends that sums up each minute of what `values` says for every second. */
export function minuteSummaries(
  from: number,
  to: number,
  values: (at: number) => Record<string, number>,
): ReadingSet[] {
  return every(minute, from, to, (end) => {
    const samples = Array.from({ length: 60 }, (_, i) => values(end - i * second))
    const names = Object.keys(samples[0] ?? {})
    return Object.fromEntries(
      names.map((name) => {
        const numbers = samples.map((sample) => sample[name] ?? Number.NaN)
        const mean = numbers.reduce((a, b) => a + b, 0) / numbers.length
        return [name, { min: Math.min(...numbers), mean, max: Math.max(...numbers), n: 60 }]
      }),
    )
  })
}

/** A transition in short: what, which alarm, how grave, minutes after `start`. */
export function short({ kind, key, severity, at }: Transition): string {
  return `${kind} ${key} ${severity} ${(at - start) / minute}`
}
