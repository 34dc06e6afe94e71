import { statSync } from 'node:fs'
import type { Log } from '../log.ts'
import { checkpointPath } from './checkpoint.ts'
import type { SpoolDisk } from './spool-disk.ts'
import { listSegments, type Segment } from './spool-format.ts'

/** The files of a spool: what waits to be worked off, and what is kept of the rest for people who look back. */
export interface SpoolSegments {
  /** Bytes of the files that are not worked off. */
  waitingBytes(): number
  historyBytes(): number
  /** Adds a file that has become durable. */
  add(segment: Segment): void
  /** The newest file has grown. */
  grow(bytes: number): void
  /** What stands before `position` is worked off. */
  release(position: number): void
  /**
   * Deletes the oldest of what is worked off, down to what is kept. Never rejects.
   * @param room bytes that are wanted; the history makes way for them
   */
  trim(room?: number): Promise<void>
}

export interface SegmentLimits {
  readonly budgetBytes: number
  readonly historyBytes: number
}

interface KeptSegment extends Segment {
  bytes: number
}

export function openSegments(
  folder: string,
  { disk, limits, log }: { disk: SpoolDisk; limits: SegmentLimits; log: Log },
): SpoolSegments {
  const history: KeptSegment[] = []
  const waiting: KeptSegment[] = listSegments(folder).map((segment) => ({
    ...segment,
    bytes: statSync(segment.path).size,
  }))
  let historyBytes = 0
  let failing = false // to delete
  let waitingBytes = sum(waiting)

  const release = (position: number) => {
    while (waiting[1] && waiting[1].base <= position) {
      const done = waiting.shift() as KeptSegment
      history.push(done)
      historyBytes += done.bytes
      waitingBytes -= done.bytes
    }
  }

  return {
    waitingBytes: () => waitingBytes,
    historyBytes: () => historyBytes,
    add(segment) {
      // in place of one in which nothing became durable
      if (waiting.at(-1)?.base === segment.base) waitingBytes -= waiting.pop()?.bytes ?? 0
      waiting.push({ ...segment, bytes: 0 })
    },
    grow(bytes) {
      const newest = waiting.at(-1)
      if (!newest) return
      newest.bytes += bytes
      waitingBytes += bytes
    },
    release,
    async trim(room = 0) {
      const tooMuch = () =>
        historyBytes > limits.historyBytes || waitingBytes + historyBytes + room > limits.budgetBytes
      if (!history[0] || !tooMuch()) return
      try {
        // or a power cut could bring back a checkpoint that stands in a file that is gone
        await disk.syncFile(checkpointPath(folder))
        while (history[0] && tooMuch()) {
          const { path, bytes } = history.shift() as KeptSegment
          historyBytes -= bytes
          await disk.remove(path)
        }
        failing = false
      } catch (error) {
        if (failing) return // told already; it is tried with every batch
        failing = true
        log.warn({ err: error, folder }, 'spool files that are done with cannot be deleted')
      }
    },
  }
}

function sum(segments: readonly KeptSegment[]): number {
  return segments.reduce((bytes, segment) => bytes + segment.bytes, 0)
}
