import type { Clocks } from './acquire/clocks.ts'
import { decode } from './acquire/decode.ts'
import { describeRejections, judge, type RejectionReason } from './acquire/judge.ts'
import type { Codec, Decoded, FaultCode, RawSet, Refusal, SpooledMessage, UndecodedSet } from './acquire/message.ts'
import type { QuarantineEntry } from './acquire/quarantine.ts'
import { deviceOfTopic } from './acquire/topics.ts'
import { type Catalogue, GENERIC_TYPE } from './catalogue/catalogue.ts'
import type { Registry } from './machines/registry.ts'
import type { ReadingSet } from './reading.ts'

/** A judged reading set with where it came from. */
interface SetOfBatch {
  readonly set: ReadingSet
  /** Of its message in the spool. */
  readonly position: number
}

/** A status or fault message, with the machine it is about. */
export type Notice = {
  /** The id of the topic, before binding. */
  readonly device: string
  readonly machine: string
  readonly position: number
  readonly measuredAt: number
  readonly receivedAt: number
} & (
  | { readonly kind: 'status'; readonly online: boolean }
  | { readonly kind: 'faults'; readonly codes: readonly FaultCode[] }
)

/** What a batch of messages holds, before anybody asked whether it is new. */
export interface DecodedBatch {
  readonly messages: readonly SpooledMessage[]
  /** In the order of receipt. */
  readonly sets: readonly SetOfBatch[]
  readonly notices: readonly Notice[]
  readonly quarantine: readonly QuarantineEntry[]
  readonly rejected: ReadonlyMap<RejectionReason, number>
  /** Values of signals that the catalogue does not know. */
  readonly unknownSignals: number
}

export interface DecodeParts {
  readonly codecs: readonly Codec[]
  readonly catalogue: Catalogue
  readonly registry: Registry
  readonly clocks: Clocks
  /** Of all topics. */
  readonly prefix: string
  /** What was measured longer ago than this is not kept; undefined: everything is. */
  readonly retentionMs: number | undefined
}

/**
 * Decodes and judges messages; nothing is lost: what cannot be used is an entry for the quarantine.
 *
 * @param now epoch ms: when that is received which is put in again, for all but the judgement of its clock
 */
export function decodeBatch(messages: readonly SpooledMessage[], parts: DecodeParts, now: number): DecodedBatch {
  const { codecs, catalogue, registry, clocks, retentionMs = Number.POSITIVE_INFINITY } = parts
  const { modeCodes, modeNames } = catalogue
  const sets: SetOfBatch[] = []
  const notices: Notice[] = []
  const quarantine: QuarantineEntry[] = []
  const rejected = new Map<RejectionReason, number>()
  const gateways = `${parts.prefix}gateways/`
  let unknownSignals = 0

  const keep = (message: SpooledMessage, item: number, refusal: Refusal, bytes: Buffer, device?: string) => {
    const { position, receivedAt, topic } = message
    const sender = device ?? deviceOfTopic(topic, parts.prefix)
    quarantine.push({
      position,
      item,
      receivedAt,
      topic,
      device: sender,
      reason: refusal.reason,
      detail: refusal.detail,
      bytes,
    })
  }

  for (const message of messages) {
    const { topic, payload, position } = message
    const receivedAt = message.origin === 'replay' ? now : message.receivedAt

    if (message.origin === 'damage') {
      keep(message, 0, { reason: 'damaged', detail: describeDamage(message) }, payload)
      continue
    }
    const decoded = decode(codecs, topic, payload)
    if (decoded.kind === 'undecodable') {
      keep(message, 0, decoded, payload)
      continue
    }
    if (decoded.kind !== 'telemetry') {
      const measuredAt = decoded.kind === 'will' ? receivedAt : clocks.judge(decoded.device, decoded, message, 0)
      if (typeof measuredAt !== 'number') keep(message, 0, measuredAt, payload)
      else
        notices.push(noticeOf(decoded, registry.resolve(decoded.device, measuredAt), measuredAt, position, receivedAt))
      continue
    }
    const assigned = topic.startsWith(gateways)
      ? registry.assigned(deviceOfTopic(topic, parts.prefix) ?? '')
      : undefined
    for (let item = 0; item < decoded.sets.length; item++) {
      const raw = decoded.sets[item] as RawSet | UndecodedSet
      if ('reason' in raw) {
        keep(message, item, raw, raw.bytes(), raw.device)
        continue
      }
      if (assigned && !assigned.has(raw.device)) {
        keep(
          message,
          item,
          { reason: 'not_assigned', detail: `'${raw.device}' is not assigned to this gateway` },
          raw.bytes(),
        )
        continue
      }
      const measuredAt = clocks.judge(raw.device, raw, message, item)
      if (typeof measuredAt !== 'number') {
        keep(message, item, measuredAt, raw.bytes(), raw.device)
        continue
      }
      if (receivedAt - measuredAt > retentionMs) {
        keep(message, item, { reason: 'retention', detail: 'older than what is kept' }, raw.bytes(), raw.device)
        continue
      }
      const machine = registry.resolve(raw.device, measuredAt)
      const profile = registry.machine(machine)?.profile ?? catalogue.profile(GENERIC_TYPE)
      const isArrival = measuredAt === message.receivedAt + item && clocks.hasNoClock(raw.device, message.receivedAt)
      const judged = judge(raw, { machine, profile, modeCodes, modeNames, measuredAt, isArrival, receivedAt })
      for (const { reason } of judged.rejected) rejected.set(reason, (rejected.get(reason) ?? 0) + 1)
      unknownSignals += judged.unknownSignals
      if (judged.set) sets.push({ set: judged.set, position })
      else
        keep(message, item, { reason: 'values', detail: describeRejections(judged.rejected) }, raw.bytes(), raw.device)
    }
  }
  clocks.heardTo(messages.at(-1)?.next ?? 0)
  return { messages, sets, notices, quarantine, rejected, unknownSignals }
}

function noticeOf(
  decoded: Exclude<Decoded, { kind: 'telemetry' | 'undecodable' }>,
  machine: string,
  measuredAt: number,
  position: number,
  receivedAt: number,
): Notice {
  const about = { device: decoded.device, machine, position, measuredAt, receivedAt }
  if (decoded.kind === 'faults') return { kind: 'faults', ...about, codes: decoded.codes }
  return { kind: 'status', ...about, online: decoded.kind === 'status' && decoded.online }
}

function describeDamage({ position, next, lost = 0 }: SpooledMessage): string {
  const stood = lost === 0 ? 'no message is known to be lost with it' : `${lost} messages were lost with it`
  return `the spool could not be read over ${next - position} bytes: ${stood}`
}
