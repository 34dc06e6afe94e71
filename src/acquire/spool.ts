import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import type { Log } from '../log.ts'
import { readCheckpoint } from './checkpoint.ts'
import type { MessageKind } from './message.ts'
import { messageTally, tallyPlace } from './message-tally.ts'
import {
  findRecord,
  type Incoming,
  listSegments,
  RECORD_OVERHEAD_BYTES,
  recordSize,
  segmentPath,
  writeRecord,
} from './spool-format.ts'
import { openSpoolReader } from './spool-reader.ts'

export type { Incoming }

/** Said once per group of messages that became durable together. */
interface CommitNotice {
  /** Everything before it is durable. */
  readonly position: number
  /** How many messages of each kind and QoS those were, see `message-tally.ts`; valid during the call only. */
  readonly tally: Uint32Array
}

/** Messages between their receipt and the store, on disk. */
export interface Spool {
  /** Everything before it is durable; a position never comes twice. */
  readonly committed: number
  /** Where the stages begin to read: what was finished before the last stop. */
  readonly checkpoint: number
  /** What stood in the spool after the checkpoint when it was opened, by kind and QoS. */
  readonly waitingAtStart: Uint32Array
  /** false while the last write has failed: nothing is acknowledged. The disk is tried again with what comes. */
  healthy(): boolean
  /**
   * Resolves when the message survives a crash of the process and a power cut. The payload is copied before it returns.
   * @throws the failure of the disk, of this write or of one a moment before: the message must not be acknowledged
   */
  append(message: Incoming): Promise<void>
  /** Called after each group commit, before those who wait for it hear of it. */
  onCommit(listener: (notice: CommitNotice) => void): void
  /** Deletes the segments that end before `position`; the newest one stays. Never rejects. */
  release(position: number): Promise<void>
  /** Writes what was appended, then refuses. */
  close(): Promise<void>
}

export interface SpoolOptions {
  /** Made when it is not there; nobody else may write in it. */
  readonly folder: string
  /** Size at which a new segment begins; one group of messages never spans two. */
  readonly segmentBytes?: number
  readonly kindOf: (topic: string) => MessageKind
  readonly log: Log
}

interface Group {
  buffer: Buffer
  used: number
  base: number
  readonly tally: Uint32Array
  done: PromiseWithResolvers
}

interface PromiseWithResolvers {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

const RETRY_MS = 1_000 // after a failed write, before the disk is tried again
const GROUP_BYTES = 1 << 18
const KEPT_GROUP_BYTES = 8 << 20 // a group that grew larger gives its memory back

/**
 * Opens the spool and repairs its end. Commits are self-clocked: the next write and fdatasync begin when the last ones
 * have ended, so the groups are as large as the disk is slow, and no timer delays a message.
 */
export async function openSpool({ folder, segmentBytes = 64 << 20, kindOf, log }: SpoolOptions): Promise<Spool> {
  mkdirSync(folder, { recursive: true })
  const checkpoint = readCheckpoint(folder)
  const recovered = recover(folder, log)
  let end = Math.max(recovered, checkpoint) || freshPosition()
  const waitingAtStart = countWaiting(folder, checkpoint, recovered, log)

  let file = await openLast(folder, end)
  let committed = end
  let failure: Error | undefined // of the last write
  let failedAt = 0
  let closed = false
  let running: Promise<void> | undefined
  let filling = newGroup(end)
  let spare: Group | undefined
  const listeners: ((notice: CommitNotice) => void)[] = []
  const segments = listSegments(folder)

  const write = async (group: Group) => {
    const size = group.base - file.base
    // what a failed write left behind is cut off, and its file not trusted with more
    if (failure) await file.handle.truncate(size)
    if (size > 0 && (failure || size + group.used > segmentBytes)) {
      const full = file
      file = await openSegment(folder, group.base)
      segments.push({ path: segmentPath(folder, group.base), base: group.base })
      await full.handle.close()
    }
    const { handle, base } = file
    for (let from = 0; from < group.used; ) {
      const { bytesWritten } = await handle.write(group.buffer, from, group.used - from, group.base - base + from)
      from += bytesWritten
    }
    await handle.datasync()
  }

  /** What was not written is its senders' again, and its positions are free. */
  const fail = (group: Group, error: Error) => {
    if (!failure) log.error({ err: error, folder }, 'spool cannot be written, nothing is acknowledged until it can')
    failure = error
    failedAt = performance.now()
    group.done.reject(error)
    if (filling.used > 0) filling.done.reject(error)
    end = committed
    filling = newGroup(end)
  }

  const run = async () => {
    while (filling.used > 0) {
      const group = filling
      filling = reuse(spare, end)
      spare = undefined
      try {
        await write(group)
      } catch (error) {
        fail(group, error instanceof Error ? error : new Error(String(error)))
        break
      }
      if (failure) log.info({ folder }, 'spool can be written again')
      failure = undefined
      committed = group.base + group.used
      for (const listener of listeners) listener({ position: committed, tally: group.tally })
      group.done.resolve()
      spare = group
    }
    running = undefined
  }

  return {
    get committed() {
      return committed
    },
    checkpoint,
    waitingAtStart,
    healthy: () => failure === undefined,
    append(message) {
      if (failure && performance.now() - failedAt < RETRY_MS) return Promise.reject(failure)
      if (closed) return Promise.reject(new Error('the spool is closed'))
      const topicBytes = Buffer.byteLength(message.topic)
      const size = RECORD_OVERHEAD_BYTES + topicBytes + message.payload.length
      makeRoom(filling, size)
      const kind = kindOf(message.topic)
      writeRecord(filling.buffer, filling.used, end, message, kind, topicBytes)
      filling.used += size
      end += size
      const place = tallyPlace(kind, message.qos)
      filling.tally[place] = (filling.tally[place] ?? 0) + 1
      // begun after this turn, so that all messages of one chunk from a socket go together
      running ??= Promise.resolve().then(run)
      return filling.done.promise
    },
    onCommit(listener) {
      listeners.push(listener)
    },
    async release(position) {
      while (segments[1] && segments[1].base <= position) {
        const path = segments.shift()?.path ?? ''
        await rm(path, { force: true }).catch((error: Error) => {
          log.warn({ err: error, file: path }, 'spool file that is done with cannot be deleted')
        })
      }
    },
    async close() {
      closed = true
      await running
      await file.handle.close()
    },
  }
}

/**
 * Where a spool begins that has nothing behind it. Positions stand in the records too, so one that was lost together
 * with its folder must not be met again: at under 2 MiB/s in the long run, time is always ahead of the old spool.
 */
function freshPosition(): number {
  return Math.floor(Date.now() / 1000) * 2 ** 21
}

function newGroup(base: number): Group {
  return { buffer: Buffer.allocUnsafeSlow(GROUP_BYTES), used: 0, base, tally: messageTally(), done: withResolvers() }
}

function reuse(group: Group | undefined, base: number): Group {
  if (!group || group.buffer.length > KEPT_GROUP_BYTES) return newGroup(base)
  group.used = 0
  group.base = base
  group.tally.fill(0)
  group.done = withResolvers()
  return group
}

function makeRoom(group: Group, size: number): void {
  const needed = group.used + size
  if (needed <= group.buffer.length) return
  const larger = Buffer.allocUnsafeSlow(Math.max(needed, group.buffer.length * 2))
  group.buffer.copy(larger, 0, 0, group.used)
  group.buffer = larger
}

function withResolvers(): PromiseWithResolvers {
  let resolve!: () => void
  let reject!: (error: Error) => void
  const promise = new Promise<void>((onDone, onFailed) => {
    resolve = onDone
    reject = onFailed
  })
  return { promise, resolve, reject }
}

/**
 * Cuts a torn tail off the newest segment: a group that a crash interrupted, which nobody was told is durable.
 * @returns the position at which the spool ends
 */
function recover(folder: string, log: Log): number {
  const last = listSegments(folder).at(-1)
  if (!last) return 0
  const bytes = readFileSync(last.path)
  let offset = 0
  while (offset < bytes.length) {
    const size = recordSize(bytes, offset, bytes.length, last.base + offset)
    if (size > 0) {
      offset += size
      continue
    }
    // damage with whole records behind it is no torn tail: the reader reports and skips it
    const next = findRecord(bytes, offset + 1, bytes.length, last.base)
    if (next < 0) break
    offset = next
  }
  if (offset < bytes.length) {
    log.warn({ file: last.path, offset, bytes: bytes.length - offset }, 'spool ends in a torn record, cut off')
    truncateSync(last.path, offset)
    syncPath(last.path)
  }
  return last.base + offset
}

function countWaiting(folder: string, from: number, end: number, log: Log): Uint32Array {
  const tally = messageTally()
  const reader = openSpoolReader({ folder, from, log })
  for (;;) {
    const messages = reader.read(end, 10_000, 4 << 20)
    if (messages.length === 0) break
    for (const { kind, qos } of messages) {
      const place = tallyPlace(kind, qos)
      tally[place] = (tally[place] ?? 0) + 1
    }
  }
  reader.close()
  return tally
}

interface SpoolFile {
  readonly handle: FileHandle
  readonly base: number
}

async function openLast(folder: string, end: number): Promise<SpoolFile> {
  const last = listSegments(folder).at(-1)
  if (!last || last.base + statSync(last.path).size !== end) return openSegment(folder, end)
  return { handle: await open(last.path, 'r+'), base: last.base }
}

/** A new segment, whose name survives a power cut before anything in it is promised. */
async function openSegment(folder: string, base: number): Promise<SpoolFile> {
  const path = segmentPath(folder, base)
  const handle = await open(path, 'w')
  try {
    await handle.sync()
    syncPath(folder)
  } catch (error) {
    await handle.close()
    await rm(path, { force: true }) // or the segment before it would grow past its beginning
    throw error
  }
  return { handle, base }
}

function syncPath(path: string): void {
  if (process.platform === 'win32') return // neither needed nor possible for a folder there
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
