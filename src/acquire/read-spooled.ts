import { closeSync, fstatSync, openSync } from 'node:fs'
import type { SpooledMessage } from './message.ts'
import { openCursor } from './spool-cursor.ts'
import { isHead, listSegments, readRecord } from './spool-format.ts'

const USUAL_BYTES = 4096

/**
 * Reads one message out of the spool or its history, in any thread.
 *
 * @param position of the message
 * @returns undefined where its segment is not kept any more, or no whole message stands there
 */
export function readSpooled(folder: string, position: number): SpooledMessage | undefined {
  const segment = listSegments(folder).findLast(({ base }) => base <= position)
  if (!segment) return undefined
  const fd = openIfThere(segment.path)
  if (fd === undefined) return undefined
  try {
    const cursor = openCursor({ fd, base: segment.base }, position, segment.base + fstatSync(fd).size, USUAL_BYTES)
    if (!cursor.next() || cursor.position !== position || isHead(cursor.buffer, cursor.offset)) return undefined
    return readRecord(cursor.buffer, cursor.offset, cursor.size, position)
  } finally {
    closeSync(fd)
  }
}

/** The writer may have deleted it a moment ago. */
function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
