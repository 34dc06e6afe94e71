import { z } from 'zod'

/**
 * The shape of `catalogue/*.yaml`. A file describes a machine type or a model; a type may extend other types (later
 * ones win), a model extends its type. What a file leaves out it inherits; maps merge by key at every depth, `null` as
 * an entry removes what was inherited, lists replace (but `faults`, where the nearest file's entries come first).
 * The shape holds for what comes out of this inheritance.
 */

const text = z.strictObject({ en: z.string().min(1), zh: z.string().min(1) })
const identifier = z.string().regex(/^[a-z][a-z0-9_]*$/, 'lower-case letters, digits and _')
export const severity = z.enum(['S1', 'S2', 'S3', 'S4'])
export const partClass = z.enum(['A', 'B', 'C'])
const range = z.tuple([z.number(), z.number()]).refine(([low, high]) => low < high, 'the lower end comes first')

/** Holds while the signal is known and inside; a condition on a signal that is not known holds only with `orUnknown`. */
const conditionSchema = z
  .strictObject({
    signal: identifier,
    above: z.number().optional(),
    below: z.number().optional(),
    equals: z.number().optional(),
    orUnknown: z.literal(true).optional(),
  })
  .refine(
    (c) => c.above !== undefined || c.below !== undefined || c.equals !== undefined,
    'needs above, below or equals',
  )

/**
 * What a rule looks at. Without `stat` it is the value itself (highest of a summary for `high`, lowest for `low`).
 * With `stat`, over the last `windowSeconds`: mean, max, min, range (max − min), increase (last − first), slope_per_h
 * (unit per hour), share_above (% of the time above `level`). An `increase` may be taken `per` the increase of another
 * counter over the same window (strokes per m³). Then compared, at most one of:
 * `difference` to another signal (a − b), `signalPercent` of another signal (100·(a − b)/b), `gapPercent` to another
 * signal (|a−b| in % of the larger), `baselinePercent` (change in % against this machine's own baseline in the same mode
 * and band), `baselineFactor` (value / baseline), `baselineDifference` (value − baseline), `ratedFraction` (value / the
 * parameter of that name), `startPercent` (change over the window in % of its start). The baseline of a `manual` signal
 * is its first reading. Windows run while the rule is meant: half an hour is half an hour of that work. With `restart` the
 * window is empty again whenever the rule was not meant in between (a lift, a set-up), otherwise it goes on where it stopped.
 */
const measureSchema = z.strictObject({
  stat: z.enum(['mean', 'max', 'min', 'range', 'increase', 'slope_per_h', 'share_above']).optional(),
  windowSeconds: z.number().positive().optional(),
  restart: z.literal(true).optional(),
  level: z.number().optional(),
  per: identifier.optional(),
  difference: identifier.optional(),
  signalPercent: identifier.optional(),
  gapPercent: identifier.optional(),
  baselinePercent: z.literal(true).optional(),
  baselineFactor: z.literal(true).optional(),
  baselineDifference: z.literal(true).optional(),
  ratedFraction: identifier.optional(),
  startPercent: z.literal(true).optional(),
  /** Signals that have to be alike for a baseline comparison, with the width of a band in the signal's unit. */
  like: z.array(z.strictObject({ signal: identifier, band: z.number().positive() })).optional(),
})

const levelSchema = z.strictObject({
  limit: z.number(),
  onDelaySeconds: z.number().min(0).default(0),
  /** Overrides what the failure mode or the default (warn S2, critical S3) says. */
  severity: severity.optional(),
})

export const ruleSchema = z
  .strictObject({
    direction: z.enum(['high', 'low']),
    /** The limit itself is already over it (≥, ≤); otherwise only what lies beyond. */
    inclusive: z.boolean().default(false),
    measure: measureSchema.optional(),
    warn: levelSchema.optional(),
    critical: levelSchema.optional(),
    /** How far inside the limit the value must be to clear, in the unit of what is compared. */
    deadband: z.number().min(0),
    offDelaySeconds: z.number().min(0).default(60),
    /** The modes in which the limit is meant; all when left out. An unknown mode is none of them. */
    modes: z.array(identifier).optional(),
    when: z.array(conditionSchema).optional(),
    /** Code of the failure mode that this limit points to; none: `limit.<signal>.<high|low>`. */
    failureMode: z.string().optional(),
  })
  .refine((rule) => rule.warn || rule.critical, 'needs warn or critical')

export const signalSchema = z.strictObject({
  name: text,
  /** As shown to people: °C, bar, kPa, mm/s, h, %, –. */
  unit: z.string(),
  /** Values outside cannot be true: they count as no value. */
  plausible: range,
  /** Expected time between readings while running; for `on_change` the heartbeat after which it is no longer trusted is the machine's own silence. */
  intervalSeconds: z.number().positive(),
  sent: z.enum(['periodic', 'on_change', 'manual']),
  component: identifier,
  /** The modes in which the signal means something; all when left out. An unknown mode counts as one of them. */
  modes: z.array(identifier).optional(),
  /** A counter never falls (hours, strokes, m³). */
  counter: z.boolean().default(false),
  /** Documented integers of an enumeration. */
  values: z.record(z.string().regex(/^-?\d+$/), text).optional(),
  /** How the value stands in J1939, to know its error and not-available codes: raw = (value − offset) / resolution. */
  j1939: z
    .strictObject({
      spn: z.int().positive(),
      resolution: z.number().positive(),
      offset: z.number(),
      bytes: z.union([z.literal(1), z.literal(2), z.literal(4)]),
    })
    .optional(),
  /** Keyed by a short name that is unique within the signal (`high`, `low`, `rise`, …). */
  rules: z.record(identifier, ruleSchema.nullable()).optional(),
})

const partSchema = z.strictObject({
  number: z.string().min(1),
  name: text,
  quantity: z.number().positive(),
  unit: z.string().min(1),
  class: partClass,
})

const failureModeSchema = z.strictObject({
  name: text,
  component: identifier,
  /** Of the warn and of the critical level of its rules. */
  severity: z.strictObject({ warn: severity, critical: severity }),
  /** The signs in words. */
  signature: text,
  /**
   * The signs as data, at equal load: y = y0·(1 + (factor − 1)·d) + add·d, d the damage from 0 to 1. So `factor` 1.4 is
   * +40 % at full damage, `add` is in the signal's unit.
   */
  effects: z
    .array(z.strictObject({ signal: identifier, factor: z.number().optional(), add: z.number().optional() }))
    .default([]),
  /** How damage grows and how long from the first sign to failure. */
  law: z.strictObject({
    kind: z.enum(['linear', 'power', 'exponential', 'step', 'shock', 'intermittent']),
    exponent: z.number().positive().optional(),
    hours: range.optional(),
    m3: range.optional(),
    /** The same failure can also come at once (a burst hose, a dead fan motor). */
    also: z.strictObject({ kind: z.enum(['step', 'shock']), hours: range.optional() }).optional(),
  }),
  action: text,
  parts: z.array(partSchema),
})

const spans = {
  hours: z.number().positive().optional(),
  m3: z.number().positive().optional(),
  days: z.int().positive().optional(),
  weeks: z.int().positive().optional(),
  months: z.int().positive().optional(),
  years: z.int().positive().optional(),
}

/** One of: hours of the service counter, m³, or calendar time. */
const spanSchema = z
  .strictObject(spans)
  .refine(
    (span) => Object.values(span).filter((v) => v !== undefined).length === 1,
    'needs exactly one of hours, m3, days, weeks, months, years',
  )

const COUNTERS = ['hours', 'm3'] as const
const CALENDAR = ['days', 'weeks', 'months', 'years'] as const

/** A single due point: at a counter's value, after calendar time, or at whichever of the two comes first. */
const pointSchema = z.strictObject(spans).refine((point) => {
  const counters = COUNTERS.filter((key) => point[key] !== undefined).length
  const dates = CALENDAR.filter((key) => point[key] !== undefined).length
  return counters <= 1 && dates <= 1 && counters + dates >= 1
}, 'needs hours or m3, or days, weeks, months or years, or one of each')

const taskSchema = z.strictObject({
  name: text,
  performer: z.enum(['operator', 'customer', 'service']),
  /** One-time points, each by itself (run-in services, the twelve spot inspections). */
  points: z.array(pointSchema).default([]),
  /** Comes back every so many hours or m³, and/or every so much calendar time, whichever is first. */
  every: spanSchema.optional(),
  calendar: spanSchema.optional(),
  /** Window around an hour point; default ±10 % of the interval (or of the point), at most ±50 h. Aligned with `points` where given as an array. */
  window: z.array(z.strictObject({ beforeHours: z.number().positive(), afterHours: z.number().positive() })).optional(),
  work: text,
  parts: z.array(partSchema).default([]),
  labourHours: z.number().min(0).optional(),
})

/** Where the type's service counter comes from: the first of `signals` that the machine sends; then running time derived from `running`; then a manual reading. */
const serviceCounterSchema = z.strictObject({
  signals: z.array(identifier).min(1),
  running: z.array(conditionSchema).min(1),
  volume: identifier.optional(),
})

const faultSchema = z.strictObject({
  spn: z.int().min(0).max(524_287),
  fmi: z.int().min(0).max(31).optional(),
  treat: z.enum(['ignore', 'watch', 'ticket']),
  component: identifier.optional(),
  failureMode: z.string().optional(),
  severity: severity.optional(),
  name: text.optional(),
})

export const catalogueFileSchema = z.strictObject({
  type: identifier.optional(),
  model: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/)
    .optional(),
  extends: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
  /** A base that no machine has as its type. */
  abstract: z.boolean().default(false),
  name: text,
  components: z.record(identifier, text.nullable()).optional(),
  /** `code` is the documented integer under which the mode is stored; the same id has the same code in every type. */
  modes: z.record(identifier, z.strictObject({ code: z.int().min(0), name: text }).nullable()).optional(),
  /** How `mode` follows from signals when the machine does not send it: the first entry whose conditions all hold. */
  modeFrom: z.array(z.strictObject({ mode: identifier, when: z.array(conditionSchema).min(1) })).optional(),
  serviceCounter: serviceCounterSchema.optional(),
  /** Ratings of the model that rules and simulators use (`main_pump_max_flow_l_min`, `hoist_rated_current_a`, …). */
  parameters: z.record(identifier, z.number()).optional(),
  signals: z.record(identifier, signalSchema.nullable()).optional(),
  failureModes: z.record(z.string().regex(/^[A-Z]{2}-\d{2}$/), failureModeSchema.nullable()).optional(),
  faults: z.array(faultSchema).optional(),
  tasks: z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), taskSchema.nullable()).optional(),
})

/** What a file says once inheritance is resolved. */
export type MachineFile = z.infer<typeof catalogueFileSchema>
export type Severity = z.infer<typeof severity>

/** Severities in order: the higher, the worse. */
export const severityRank: Readonly<Record<Severity, number>> = { S1: 1, S2: 2, S3: 3, S4: 4 }
export type Text = z.infer<typeof text>
export type Condition = z.infer<typeof conditionSchema>
export type Measure = z.infer<typeof measureSchema>
export type Rule = z.infer<typeof ruleSchema>
export type Signal = z.infer<typeof signalSchema>
export type Part = z.infer<typeof partSchema>
export type FailureMode = z.infer<typeof failureModeSchema>
export type Task = z.infer<typeof taskSchema>
export type Span = z.infer<typeof spanSchema>
export type FaultEntry = z.infer<typeof faultSchema>
export type ServiceCounter = z.infer<typeof serviceCounterSchema>
