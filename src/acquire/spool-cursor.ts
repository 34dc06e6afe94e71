import { readAround } from './read-around.ts'
import { findRecord, recordSize } from './spool-format.ts'

/** Goes through the whole records of a stretch of one segment. */
export interface SpoolCursor {
  /** Goes on to the next whole record, over damage where there is some. @returns false where there is none */
  next(): boolean
  /** Of the record that was found last: the buffer it stands in, its place there, its bytes, its position. */
  readonly buffer: Buffer
  readonly offset: number
  readonly size: number
  readonly position: number
}

const CHUNK_BYTES = 1 << 20
const NOTHING = Buffer.alloc(0)

/**
 * Between the end of a record and the position of the next one found, or `to`, lies damage.
 *
 * @param from position of the first record
 * @param to position where the last one ends at the latest
 * @param chunkBytes how much is read at once; a larger record is read whole
 */
export function openCursor(
  { fd, base }: { readonly fd: number; readonly base: number },
  from: number,
  to: number,
  chunkBytes = CHUNK_BYTES,
): SpoolCursor {
  let at = from // where the next record should be
  let chunkAt = from
  let asked = 0
  let length = 0
  const found = { buffer: NOTHING, offset: 0, size: 0, position: from, next }

  function fill(bytes: number): void {
    asked = Math.min(bytes, to - at)
    found.buffer = Buffer.allocUnsafeSlow(asked)
    length = readAround(fd, found.buffer, at - base)
    chunkAt = at
  }

  function next(): boolean {
    while (at < to) {
      const offset = at - chunkAt
      const size = recordSize(found.buffer, offset, length, at)
      if (size > 0) {
        found.offset = offset
        found.size = size
        found.position = at
        at += size
        return true
      }
      const cut = size < 0 && at - size <= to && !(chunkAt === at && asked >= -size)
      if (cut) fill(Math.max(chunkBytes, -size))
      else if (!skipDamage()) return false
    }
    return false
  }

  function skipDamage(): boolean {
    fill(to - at)
    const offset = findRecord(found.buffer, 1, length, at)
    if (offset < 0) return false
    at += offset
    return true
  }

  return found
}
