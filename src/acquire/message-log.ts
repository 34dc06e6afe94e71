import { QUARANTINE_REASONS, type QuarantineReason } from './message.ts'

/** What a message of a device was, as far as the device is concerned. */
const LOGGED_KINDS = ['telemetry', 'gateway', 'faults', 'status', 'other'] as const
export type LoggedKind = (typeof LOGGED_KINDS)[number]

/** One of the last messages of a device, and what became of it. Its bytes are in the spool, for as long as that keeps them. */
export interface LoggedMessage {
  /** In the spool. */
  readonly position: number
  readonly receivedAt: number
  readonly kind: LoggedKind
  /** Newest of its sets that were stored before or now; undefined where none was. */
  readonly measuredAt: number | undefined
  /** Reading sets of this device in it; 65,535 stands for that or more. A good fault or status message has none. */
  readonly stored: number
  readonly duplicate: number
  readonly quarantined: number
  /** Of the last set that went to quarantine. */
  readonly reason: QuarantineReason | undefined
}

/** What became of one reading set, or of a message without sets (`taken`). */
export type LoggedOutcome = 'stored' | 'duplicate' | 'quarantined' | 'taken'

/** The last messages of each device, in memory and bounded: it starts with the process. */
export interface MessageLog {
  /** In the order of the spool for each device; several sets of one message in turn. */
  note(
    device: string,
    message: { readonly position: number; readonly receivedAt: number },
    kind: LoggedKind,
    outcome: LoggedOutcome,
    detail?: number | QuarantineReason,
  ): void
  /** Oldest first. */
  of(device: string): LoggedMessage[]
}

const MESSAGES_OF_ONE = 50
const DEVICES_OF_BLOCK = 64
const MOST = 65_535
const TRIED = 16 // devices looked at to find one that was silent for long

/** Numbers of some devices: 32 bytes for a message, without an object for each. */
interface Block {
  /** How many messages each device had. */
  readonly noted: Uint32Array
  readonly position: Float64Array
  readonly receivedAt: Float64Array
  readonly measuredAt: Float64Array
  readonly stored: Uint16Array
  readonly duplicate: Uint16Array
  readonly quarantined: Uint16Array
  /** Place in `LOGGED_KINDS`, and times 16 in `QUARANTINE_REASONS`, counted from 1; 0: none. */
  readonly marks: Uint8Array
}

/** @param devices of so many the messages are kept; one that was silent for long gives way to a new one */
export function openMessageLog(devices = 20_000): MessageLog {
  const places = new Map<string, number>()
  const names: string[] = []
  const blocks: Block[] = []
  let hand = 0

  const blockOf = (place: number) => blocks[place >> 6] as Block

  function enter(device: string): number {
    const place = names.length < devices ? names.length : giveWay()
    names[place] = device
    places.set(device, place)
    if (place >> 6 === blocks.length) blocks.push(newBlock())
    blockOf(place).noted[place & 63] = 0
    return place
  }

  /** Of the next few, the one that was silent for longest: an exact order would cost as much as all the rest. */
  function giveWay(): number {
    let silent = hand
    let since = Number.POSITIVE_INFINITY
    for (let tried = 0; tried < TRIED; tried++) {
      const place = hand
      hand = (hand + 1) % names.length
      const heard = newestReceipt(place)
      if (heard >= since) continue
      silent = place
      since = heard
    }
    places.delete(names[silent] as string)
    return silent
  }

  function newestReceipt(place: number): number {
    const block = blockOf(place)
    const noted = block.noted[place & 63] as number
    return noted === 0 ? 0 : (block.receivedAt[slotOf(place & 63, noted - 1)] as number)
  }

  return {
    note(device, { position, receivedAt }, kind, outcome, detail) {
      const place = places.get(device) ?? enter(device)
      const block = blockOf(place)
      const noted = block.noted[place & 63] as number
      let slot = slotOf(place & 63, noted - 1)
      if (noted === 0 || block.position[slot] !== position) {
        slot = slotOf(place & 63, noted)
        block.noted[place & 63] = noted + 1
        block.position[slot] = position
        block.receivedAt[slot] = receivedAt
        block.measuredAt[slot] = Number.NEGATIVE_INFINITY
        block.stored[slot] = 0
        block.duplicate[slot] = 0
        block.quarantined[slot] = 0
        block.marks[slot] = LOGGED_KINDS.indexOf(kind)
      }
      if (outcome === 'taken') return
      const count = block[outcome]
      count[slot] = Math.min((count[slot] as number) + 1, MOST)
      if (typeof detail === 'number') {
        if (detail > (block.measuredAt[slot] as number)) block.measuredAt[slot] = detail
      } else if (detail !== undefined) {
        block.marks[slot] = ((block.marks[slot] as number) & 15) | ((QUARANTINE_REASONS.indexOf(detail) + 1) << 4)
      }
    },
    of(device) {
      const place = places.get(device)
      if (place === undefined) return []
      const block = blockOf(place)
      const noted = block.noted[place & 63] as number
      const messages: LoggedMessage[] = []
      for (let at = Math.max(0, noted - MESSAGES_OF_ONE); at < noted; at++)
        messages.push(messageAt(block, slotOf(place & 63, at)))
      return messages
    },
  }
}

function newBlock(): Block {
  const slots = DEVICES_OF_BLOCK * MESSAGES_OF_ONE
  return {
    noted: new Uint32Array(DEVICES_OF_BLOCK),
    position: new Float64Array(slots),
    receivedAt: new Float64Array(slots),
    measuredAt: new Float64Array(slots),
    stored: new Uint16Array(slots),
    duplicate: new Uint16Array(slots),
    quarantined: new Uint16Array(slots),
    marks: new Uint8Array(slots),
  }
}

function slotOf(device: number, message: number): number {
  return device * MESSAGES_OF_ONE + (message % MESSAGES_OF_ONE)
}

function messageAt(block: Block, slot: number): LoggedMessage {
  const marks = block.marks[slot] as number
  const measuredAt = block.measuredAt[slot] as number
  return {
    position: block.position[slot] as number,
    receivedAt: block.receivedAt[slot] as number,
    kind: LOGGED_KINDS[marks & 15] as LoggedKind,
    measuredAt: Number.isFinite(measuredAt) ? measuredAt : undefined,
    stored: block.stored[slot] as number,
    duplicate: block.duplicate[slot] as number,
    quarantined: block.quarantined[slot] as number,
    reason: QUARANTINE_REASONS[(marks >> 4) - 1],
  }
}
