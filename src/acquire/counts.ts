import { MESSAGE_KINDS, type MessageKind, type SpooledMessage } from './message.ts'
import { bearingSets, bearsSets, TALLY_PLACES, tallyPlace } from './message-tally.ts'

/**
 * Everything is counted, in reading sets: at any moment received = stored + duplicate + quarantined + waiting.
 * A message counts as one set until it is decoded. The receiving thread counts messages that are durable, the thread
 * behind it what became of them; `received` is what the two make together, so that the sum holds in every snapshot.
 */

/** Messages that are durable, counted by the receiving thread and read by any. */
export interface Receipts {
  /** To be handed to the other threads. */
  readonly shared: SharedArrayBuffer
  /** Adds what became durable, before anybody may read it from the spool. */
  add(tally: Uint32Array | Float64Array): void
  /** Messages that bear reading sets. */
  bearingSets(): number
  messages(): { kind: MessageKind; qos: 0 | 1 | 2; count: number }[]
}

const SET_BEARING_PLACE = TALLY_PLACES

/** @param shared of another thread's receipts; a new one where it is left out */
export function openReceipts(shared = new SharedArrayBuffer((TALLY_PLACES + 1) * 8)): Receipts {
  const counts = new BigInt64Array(shared)
  return {
    shared,
    add(tally) {
      for (const [place, count] of tally.entries()) if (count > 0) Atomics.add(counts, place, BigInt(count))
      Atomics.add(counts, SET_BEARING_PLACE, BigInt(bearingSets(tally)))
    },
    bearingSets: () => Number(Atomics.load(counts, SET_BEARING_PLACE)),
    messages: () =>
      MESSAGE_KINDS.flatMap((kind) =>
        ([0, 1, 2] as const).map((qos) => ({
          kind,
          qos,
          count: Number(Atomics.load(counts, tallyPlace(kind, qos))),
        })),
      ),
  }
}

/** What became of a batch of messages. */
interface BatchOutcome {
  /** The messages of the batch, damaged stretches among them. */
  readonly messages: Iterable<Pick<SpooledMessage, 'kind' | 'lost'>>
  /** Reading sets. A malformed fault or status message, and a damaged stretch, is one quarantined set; a good one is none. */
  readonly stored: number
  readonly duplicate: number
  readonly quarantined: number
}

export interface SetCounts {
  readonly received: number
  readonly stored: number
  readonly duplicate: number
  readonly quarantined: number
  readonly waiting: number
}

export interface Counts {
  /** Books a batch as a whole, when its readings are durable in the store and its quarantine in the records. */
  settle(outcome: BatchOutcome): void
  /** One consistent snapshot; every number but `waiting` only rises. */
  snapshot(): SetCounts
}

/** The outcome side, in the thread that judges. */
export function openCounts(receipts: Receipts): Counts {
  let settled = 0 // messages that bear sets
  let stored = 0
  let duplicate = 0
  let quarantined = 0
  return {
    settle(outcome) {
      for (const { kind, lost } of outcome.messages) {
        if (lost === undefined) {
          if (bearsSets(kind)) settled++
          continue
        }
        settled += lost
        quarantined += Math.max(0, lost - 1) // the stretch is one entry, whatever stood in it
      }
      stored += outcome.stored
      duplicate += outcome.duplicate
      quarantined += outcome.quarantined
    },
    snapshot() {
      const waiting = receipts.bearingSets() - settled
      return { received: stored + duplicate + quarantined + waiting, stored, duplicate, quarantined, waiting }
    },
  }
}
