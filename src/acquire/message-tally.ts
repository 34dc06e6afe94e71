import { MESSAGE_KINDS, type MessageKind } from './message.ts'

/** Number of messages by kind and QoS, as a flat array that threads can share. */
export function messageTally(): Uint32Array {
  return new Uint32Array(TALLY_PLACES)
}

/** The same of everything that a spool ever held, which 32 bits do not hold. */
export function lifetimeTally(): Float64Array {
  return new Float64Array(TALLY_PLACES)
}

export const TALLY_PLACES = MESSAGE_KINDS.length * 3

export function tallyPlace(kind: MessageKind, qos: 0 | 1 | 2): number {
  return MESSAGE_KINDS.indexOf(kind) * 3 + qos
}

/** Whether a message counts as one reading set until it is decoded. */
export function bearsSets(kind: MessageKind): boolean {
  return kind === 'telemetry' || kind === 'other'
}

export function placeBearsSets(place: number): boolean {
  return bearsSets(MESSAGE_KINDS[Math.floor(place / 3)] ?? 'other')
}

/** How many of the messages bear sets. */
export function bearingSets(tally: Uint32Array | Float64Array): number {
  let bearing = 0
  for (const [place, count] of tally.entries()) if (placeBearsSets(place)) bearing += count
  return bearing
}

export function addTally(sum: Uint32Array | Float64Array, tally: Uint32Array | Float64Array): void {
  for (let place = 0; place < TALLY_PLACES; place++) sum[place] = (sum[place] ?? 0) + (tally[place] ?? 0)
}
