import { closeSync, openSync } from 'node:fs'
import { basename } from 'node:path'
import type { Log } from '../log.ts'
import type { SpooledMessage } from './message.ts'
import { readAround } from './read-around.ts'
import { openCursor, type SpoolCursor } from './spool-cursor.ts'
import {
  isHead,
  listSegments,
  nextOrdinal,
  readRecord,
  recordOrdinal,
  recordReceivedAt,
  type Segment,
} from './spool-format.ts'
import { lostBetween, ordinalAt } from './spool-survey.ts'

export interface SpoolReader {
  /** Where the next message will be read. */
  readonly position: number
  readonly damage: SpoolDamage
  /**
   * The next messages in the order of receipt. Fewer than asked for, and none, when no more are committed. Their
   * payloads are views of one buffer, which lives as long as any of them. A stretch that cannot be read is one message
   * of the origin `damage`, handed over when the next whole record tells how much was lost in it.
   *
   * @param upTo position up to which the spool is committed
   * @param maxBytes stops after the message that reaches it, so one message is read however large it is
   * @throws what the file system throws; then nothing was read
   */
  read(upTo: number, maxMessages: number, maxBytes: number): SpooledMessage[]
  close(): void
}

/** What could not be read since the reader was opened. */
export interface SpoolDamage {
  readonly stretches: number
  /** Messages that bear sets, as far as their number is known. */
  readonly lost: number
  /** File and offset of the last one: `0003745000000000.spool@4711`. */
  readonly last: string | undefined
}

const CHUNK_BYTES = 1 << 20
const KEPT_DAMAGE_BYTES = 1 << 20

/**
 * Reads a spool behind its writer, also in another thread or after a crash.
 * @param from where to begin; 0: with the oldest that is there
 */
export function openSpoolReader({ folder, from, log }: { folder: string; from: number; log: Log }): SpoolReader {
  let position = from
  let expected = -1 // ordinal of the record at `position`
  let searched = 0 // up to here there is nothing but damage
  const damage = { stretches: 0, lost: 0, last: undefined as string | undefined }
  let opened: { readonly base: number; readonly fd: number } | undefined

  const closeSegment = () => {
    if (opened) closeSync(opened.fd)
    opened = undefined
  }

  const open = ({ path, base }: Segment) => {
    if (opened?.base === base) return opened
    closeSegment()
    opened = { fd: openSync(path, 'r'), base }
    return opened
  }

  /** What stands between `position` and the record that was found behind it. */
  const damagedStretch = (segment: Segment | undefined, cursor: SpoolCursor): SpooledMessage => {
    const end = cursor.position
    const lost = lostBetween(expected, recordOrdinal(cursor.buffer, cursor.offset))
    const offset = position - (segment?.base ?? position)
    const file = segment ? basename(segment.path) : 'missing'
    damage.stretches++
    damage.lost += lost
    damage.last = `${file}@${offset}`
    log.error({ file: segment?.path, offset, bytes: end - position, lost }, 'spool damaged, skipped')
    return {
      position,
      next: end,
      receivedAt: recordReceivedAt(cursor.buffer, cursor.offset),
      topic: `$spool/${file}@${offset}`,
      payload: segment ? readStretch(segment, offset, end - position) : Buffer.alloc(0),
      qos: 0,
      retained: false,
      origin: 'damage',
      kind: 'other',
      lost,
    }
  }

  /** Adds the messages of one segment. @returns whether there is room for more */
  const readSegment = (segments: readonly Segment[], index: number, from: number, to: number, batch: Batch) => {
    const segment = open(segments[index] as Segment)
    const cursor = openCursor(segment, from, to, Math.max(4096, Math.min(CHUNK_BYTES, batch.bytesLeft)))
    while (batch.messagesLeft > 0 && batch.bytesLeft > 0) {
      if (!cursor.next()) return true
      if (cursor.position > position) {
        const damaged = segments.findLast(({ base }) => base <= position)
        if (expected < 0 && damaged) expected = ordinalAt(damaged, position)
        batch.messages.push(damagedStretch(damaged, cursor))
        batch.messagesLeft--
      }
      const { buffer, offset, size } = cursor
      const ordinal = recordOrdinal(buffer, offset)
      if (!isHead(buffer, offset)) {
        batch.messages.push(readRecord(buffer, offset, size, cursor.position))
        batch.messagesLeft--
        batch.bytesLeft -= size
      }
      expected = ordinal < 0 ? -1 : nextOrdinal(buffer, offset, ordinal)
      position = cursor.position + size
    }
    return false
  }

  const readSegments = (segments: readonly Segment[], upTo: number, batch: Batch) => {
    if (position === 0) position = segments[0]?.base ?? 0
    const first = Math.max(
      0,
      segments.findLastIndex(({ base }) => base <= position),
    )
    for (let index = first; index < segments.length; index++) {
      const from = Math.max(position, segments[index]?.base ?? 0)
      const to = Math.min(segments[index + 1]?.base ?? upTo, upTo)
      if (from < to && !readSegment(segments, index, from, to, batch)) return
    }
    if (position < upTo) searched = upTo
  }

  return {
    get position() {
      return position
    },
    damage,
    read(upTo, maxMessages, maxBytes) {
      const batch: Batch = { messages: [], messagesLeft: maxMessages, bytesLeft: maxBytes }
      if (upTo <= position || upTo <= searched) return batch.messages
      const before = { position, expected, damage: { ...damage } }
      try {
        readSegments(listSegments(folder), upTo, batch)
      } catch (error) {
        position = before.position
        expected = before.expected
        Object.assign(damage, before.damage)
        throw error
      }
      return batch.messages
    },
    close: closeSegment,
  }
}

interface Batch {
  readonly messages: SpooledMessage[]
  messagesLeft: number
  bytesLeft: number
}

function readStretch({ path }: Segment, offset: number, bytes: number): Buffer {
  const fd = openSync(path, 'r')
  try {
    const stretch = Buffer.alloc(Math.min(bytes, KEPT_DAMAGE_BYTES))
    return stretch.subarray(0, readAround(fd, stretch, offset))
  } finally {
    closeSync(fd)
  }
}
