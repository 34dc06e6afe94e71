import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import type { Log } from '../log.ts'
import type { SpooledMessage } from './message.ts'
import { findRecord, listSegments, RECORD_PREFIX_BYTES, readRecord, recordSize, type Segment } from './spool-format.ts'

export interface SpoolReader {
  /** Where the next message will be read. */
  readonly position: number
  /** Damaged stretches that were skipped; each is reported with file and offset when it is met. */
  readonly damaged: number
  /**
   * The next messages in the order of receipt. Fewer than asked for, and none, when no more are committed. Their
   * payloads are views of one buffer, which lives as long as any of them.
   * @param upTo position up to which the spool is committed
   * @param maxBytes stops after the message that reaches it, so one message is read however large it is
   * @throws what the file system throws; then nothing was read
   */
  read(upTo: number, maxMessages: number, maxBytes: number): SpooledMessage[]
  close(): void
}

const CHUNK_BYTES = 1 << 20

/**
 * Reads a spool behind its writer, also in another thread or after a crash.
 * @param from where to begin; what was released before is skipped
 */
export function openSpoolReader({ folder, from, log }: { folder: string; from: number; log: Log }): SpoolReader {
  let position = from
  let damaged = 0
  let segment: (Segment & { readonly fd: number }) | undefined

  const closeSegment = () => {
    if (segment) closeSync(segment.fd)
    segment = undefined
  }

  const open = (found: Segment) => {
    closeSegment()
    segment = { fd: openSync(found.path, 'r'), ...found }
  }

  /** Opens the segment that holds `position`; what was before the first one is released. */
  const openFirst = (): boolean => {
    const segments = listSegments(folder)
    const found = segments.findLast(({ base }) => base <= position) ?? segments[0]
    if (!found) return false
    position = Math.max(position, found.base)
    open(found)
    return true
  }

  /** Goes on to the next segment when this one is read to its end. @returns false where there is none */
  const openNext = ({ base, path }: Segment): boolean => {
    const next = listSegments(folder).find((candidate) => candidate.base > base)
    if (!next) return false
    if (next.base > position) reportDamage(position, next.base, path)
    position = next.base
    open(next)
    return true
  }

  const reportDamage = (start: number, end: number, file: string) => {
    damaged++
    log.error({ file, offset: start - (segment?.base ?? start), bytes: end - start }, 'spool damaged, skipped')
  }

  /** Skips what cannot be read up to the next whole record, or to the end of what may be read. */
  const skipDamage = (end: number) => {
    const { fd, base, path } = segment as NonNullable<typeof segment>
    const rest = Buffer.allocUnsafeSlow(end - position)
    const length = readFully(fd, rest, position - base)
    const found = findRecord(rest, 1, length, position)
    const next = found < 0 ? end : position + found
    reportDamage(position, next, path)
    position = next
  }

  /** Reads messages out of one chunk. @returns whether to go on */
  const readChunk = (end: number, wanted: number, messages: SpooledMessage[], limit: Limit): boolean => {
    const { fd, base } = segment as NonNullable<typeof segment>
    const chunk = Buffer.allocUnsafeSlow(Math.min(end - position, wanted))
    const length = readFully(fd, chunk, position - base)
    const start = position
    while (position - start < length) {
      const offset = position - start
      const size = recordSize(chunk, offset, length, position)
      if (size > 0) {
        messages.push(readRecord(chunk, offset, size, position))
        position += size
        limit.messages--
        limit.bytes -= size
        if (limit.messages <= 0 || limit.bytes <= 0) return false
        continue
      }
      if (size < 0 && position - size <= end) {
        if (offset > 0) return true // cut by the chunk's end: the next one begins with it
        return readChunk(end, Math.max(-size, RECORD_PREFIX_BYTES), messages, limit)
      }
      skipDamage(end)
      return true
    }
    return length > 0
  }

  return {
    get position() {
      return position
    },
    get damaged() {
      return damaged
    },
    read(upTo, maxMessages, maxBytes) {
      const messages: SpooledMessage[] = []
      const limit = { messages: maxMessages, bytes: maxBytes }
      const chunkBytes = Math.max(4096, Math.min(CHUNK_BYTES, maxBytes))
      while (position < upTo && (segment || openFirst())) {
        const current = segment as NonNullable<typeof segment>
        const end = Math.min(current.base + fstatSync(current.fd).size, upTo)
        const more = position < end ? readChunk(end, chunkBytes, messages, limit) : openNext(current)
        if (!more) break
      }
      return messages
    },
    close: closeSegment,
  }
}

interface Limit {
  messages: number
  bytes: number
}

function readFully(fd: number, target: Buffer, at: number): number {
  let length = 0
  while (length < target.length) {
    const bytes = readSync(fd, target, length, target.length - length, at + length)
    if (bytes === 0) break
    length += bytes
  }
  return length
}
