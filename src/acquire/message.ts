/**
 * What a topic promises, known at receipt. Telemetry (of machines and of gateways) and whatever is on nobody's topic
 * (`other`) bears reading sets; faults and status bear none.
 */
export const MESSAGE_KINDS = ['telemetry', 'faults', 'status', 'other'] as const
export type MessageKind = (typeof MESSAGE_KINDS)[number]

/** What a broker delivered. */
export interface Arrival {
  readonly receivedAt: number
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retained: boolean
}

/** A message as it stands in the spool: what was received, before anybody looked inside. */
export interface SpooledMessage extends Arrival {
  /** Global byte offset of the record in the spool; rises, never repeats. */
  readonly position: number
  /** Offset of the record after it: progress is recorded as this number. */
  readonly next: number
  readonly kind: MessageKind
  /** `replay`: put in again from quarantine. `damage`: no message, but a stretch of the spool that cannot be read. */
  readonly origin: 'mqtt' | 'replay' | 'damage'
  /** Messages that bear sets and stood in a damaged stretch, as far as their number is known. */
  readonly lost?: number
}

/** Why something went to quarantine. */
export const QUARANTINE_REASONS = [
  'topic', // nobody's topic, or an id that is none
  'encoding', // not UTF-8, not JSON, nested too deep
  'empty', // no bytes, or an array without sets
  'shape', // JSON, but not a reading set, fault list or status
  'time', // no usable time
  'clock', // more than 5 min ahead of arrival
  'values', // no usable value
  'retention', // older than what is kept
  'not_assigned', // a gateway spoke for a machine that is not assigned to it
  'failed', // we failed at it, which is for us to mend
  'damaged', // the spool could not be read there
] as const
export type QuarantineReason = (typeof QUARANTINE_REASONS)[number]

/** Why something cannot be used, with a detail for the person who looks at it. */
export interface Refusal {
  readonly reason: QuarantineReason
  readonly detail: string
}

/** The time of measuring as the device states it. Nobody has judged it yet, and its clock may be wrong. */
export interface StatedTime {
  /** Epoch ms, whole; NaN where it states none that can be read. */
  readonly measuredAt: number
  /** It came as text without a zone, and is read as if it were UTC. */
  readonly zoneless: boolean
}

/** What a codec makes of one message. Judgement of times, values and machines comes after it. */
export type Decoded =
  | { readonly kind: 'telemetry'; readonly sets: readonly (RawSet | UndecodedSet)[] }
  | ({ readonly kind: 'faults'; readonly device: string; readonly codes: readonly FaultCode[] } & StatedTime)
  | ({ readonly kind: 'status'; readonly device: string; readonly online: boolean } & StatedTime)
  | { readonly kind: 'will'; readonly device: string } // offline as of its receipt
  | ({ readonly kind: 'undecodable' } & Refusal)

export interface RawSet extends StatedTime {
  readonly device: string
  readonly seq: number | undefined
  readonly mode: string | undefined
  /** As they came; a name may be anything. */
  readonly signals: Readonly<Record<string, unknown>>
  /** How many values were overwritten by a later one under the same name in the same set. */
  readonly repeated: number
  /** The bytes of this set alone, made when it has to be kept. */
  readonly bytes: () => Buffer
}

export interface UndecodedSet extends Refusal {
  readonly device?: string
  readonly bytes: () => Buffer
}

export interface FaultCode {
  readonly spn: number
  readonly fmi: number
  readonly oc?: number | undefined
  readonly sa?: number | undefined
  readonly lamp?: string | undefined
}

/** Turns topic and bytes into reading sets; the native JSON is the first, foreign formats follow. */
export interface Codec {
  readonly name: string
  /** undefined: this codec does not speak that topic. Never throws. */
  decode(topic: string, payload: Buffer): Decoded | undefined
}
