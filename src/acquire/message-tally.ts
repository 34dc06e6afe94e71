import { MESSAGE_KINDS, type MessageKind } from './message.ts'

/** Number of messages by kind and QoS, as a flat array that threads can share. */
export function messageTally(): Uint32Array {
  return new Uint32Array(TALLY_PLACES)
}

export const TALLY_PLACES = MESSAGE_KINDS.length * 3

export function tallyPlace(kind: MessageKind, qos: 0 | 1 | 2): number {
  return MESSAGE_KINDS.indexOf(kind) * 3 + qos
}

/** Whether a message counts as one reading set until it is decoded. */
export function bearsSets(kind: MessageKind): boolean {
  return kind === 'telemetry' || kind === 'other'
}
