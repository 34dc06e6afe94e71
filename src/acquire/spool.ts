import { mkdirSync } from 'node:fs'
import type { Log } from '../log.ts'
import { readCheckpoint } from './checkpoint.ts'
import { MESSAGE_KINDS, type MessageKind } from './message.ts'
import { addTally, bearingSets } from './message-tally.ts'
import { isDiskFull, nodeDisk, type SpoolDisk, type SpoolFile } from './spool-disk.ts'
import { HEAD_BYTES, type Incoming, listSegments, segmentPath, writeHead } from './spool-format.ts'
import {
  addToGroup,
  isEmpty,
  type KnownTopic,
  newGroup,
  recordBytes,
  reuseGroup,
  type SpoolGroup,
} from './spool-group.ts'
import { openSegments } from './spool-segments.ts'
import { describeSpool, type SpoolStatus } from './spool-status.ts'
import { surveySpool } from './spool-survey.ts'

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
  readonly waitingAtStart: Float64Array
  /**
   * Resolves when the message survives a crash of the process and a power cut; messages that become durable together
   * share the promise. The payload is copied before it returns. While the disk fails or the budget is used up, it waits.
   * @throws when the spool was closed before the message could be kept: it must not be acknowledged
   */
  append(message: Incoming): Promise<void>
  /**
   * Whether so much waits to become durable that no more should be read from connections. What is appended all the
   * same is kept, and takes memory.
   */
  full(): boolean
  /** Called when it is not full any more. */
  onRoom(listener: () => void): void
  /** Called after each group commit, before those who wait for it hear of it. */
  onCommit(listener: (notice: CommitNotice) => void): void
  /** What stands before `position` is worked off: its files go, as far as they are not kept as history. Never rejects. */
  release(position: number): Promise<void>
  status(): SpoolStatus
  /** Writes what was appended, as far as the disk takes it, then refuses. */
  close(): Promise<void>
}

export interface SpoolOptions {
  /** Made when it is not there; nobody else may write in it. */
  readonly folder: string
  /** Size at which a new segment begins; one group of messages never spans two. */
  readonly segmentBytes?: number
  /** How much may stand in the folder. */
  readonly budgetBytes?: number
  /** How much of it may be messages that are worked off. */
  readonly historyBytes?: number
  readonly kindOf: (topic: string) => MessageKind
  readonly disk?: SpoolDisk
  readonly log: Log
}

interface OpenSegment {
  readonly file: SpoolFile
  readonly base: number
  size: number
}

const FIRST_RETRY_MS = 50
const RETRY_MS = 1_000
const DISK_LOOK_MS = 10_000
const SEGMENTS_OF_BUDGET = 16 // so that room comes in small steps
const ROOM_AGAIN = 0.95 // of the budget: below it, a spool that was full goes on
const GROUP_BYTES = 1 << 20 // a message larger than that is a group of its own
const FULL_BYTES = 32 << 20 // waiting to become durable
/** So much of the disk is left to the store and the records: without it they could not work off what waits here. */
const RESERVE_BYTES = 256 << 20
const BESIDE_RESERVE_BYTES = 128 << 20 // may wait all the same
const KEPT_TOPICS = 20_000
const KEPT_TOPIC_LENGTH = 256 // longer ones are nobody's, and would take memory

/**
 * Opens the spool. Commits are self-clocked: the next write and fdatasync begin when the last ones have ended, so the
 * groups are as large as the disk is slow, and no timer delays a message. A group that could not be written, or whose
 * sync failed, is written again in a new segment until it is durable.
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { folder, budgetBytes = 4 * 2 ** 30, historyBytes = 0, kindOf, disk = nodeDisk, log } = options
  const segmentBytes = Math.min(options.segmentBytes ?? 16 << 20, Math.floor(budgetBytes / SEGMENTS_OF_BUDGET))
  const groupBytes = Math.min(GROUP_BYTES, segmentBytes)
  mkdirSync(folder, { recursive: true })
  const checkpoint = readCheckpoint(folder)
  const survey = surveySpool(listSegments(folder), checkpoint)
  const limits = { budgetBytes, historyBytes }
  const segments = openSegments(folder, { disk, limits, log })

  let committed = Math.max(survey.end, checkpoint) || freshPosition()
  const lifetime = survey.tally.slice() // of what is committed
  let released = 0 // what is worked off may still be read again, until the stages say that it is not
  let current: OpenSegment | undefined // undefined: the next group begins a new one
  const queued: SpoolGroup[] = [] // before `filling`, because it grew too large
  let filling = newGroup(committed, bearingSets(lifetime))
  let spare: SpoolGroup | undefined
  let unsafeBytes = 0 // appended, not yet durable
  let full = false
  let held: 'budget' | 'disk' | undefined // why nothing more is written
  let failure: Error | undefined // of the last write
  let writingSince: number | undefined // performance.now()
  let freeBytes = await disk.freeBytes(folder).catch(() => Number.POSITIVE_INFINITY)
  let closed = false
  let running: Promise<void> | undefined
  let wake = () => {}
  const topics = new Map<string, KnownTopic>()
  const commitListeners: ((notice: CommitNotice) => void)[] = []
  const roomListeners: (() => void)[] = []

  const topicOf = (name: string): KnownTopic => {
    const known = topics.get(name)
    if (known) return known
    const topic = { bytes: Buffer.from(name), kind: MESSAGE_KINDS.indexOf(kindOf(name)) }
    if (name.length > KEPT_TOPIC_LENGTH) return topic
    if (topics.size >= KEPT_TOPICS) topics.clear()
    topics.set(name, topic)
    return topic
  }

  const lookAtDisk = async () => {
    freeBytes = await disk.freeBytes(folder).catch(() => freeBytes)
  }
  const looking = setInterval(() => void lookAtDisk(), DISK_LOOK_MS).unref()

  const wait = (ms: number) =>
    new Promise<void>((done) => {
      const timer = setTimeout(done, ms)
      wake = () => {
        clearTimeout(timer)
        done()
      }
    })

  const workedOff = () => released >= committed

  /** What is in the way of so many bytes more. */
  const obstacle = (bytes: number): typeof held => {
    if (workedOff()) return undefined
    const after = segments.waitingBytes() + bytes
    if (after > (held === 'budget' ? budgetBytes * ROOM_AGAIN : budgetBytes)) return 'budget'
    return freeBytes < RESERVE_BYTES && after > BESIDE_RESERVE_BYTES ? 'disk' : undefined
  }

  /** Waits until there is room for the group. @returns false where the spool was closed before */
  const awaitRoom = async (group: SpoolGroup): Promise<boolean> => {
    for (let found = obstacle(group.used); found; found = obstacle(group.used)) {
      if (closed) return false
      if (!held)
        log.error({ folder, budgetBytes, freeBytes }, 'spool is full, nothing is acknowledged until there is room')
      held = found
      if (found === 'disk') await segments.trim(Number.POSITIVE_INFINITY)
      await wait(RETRY_MS)
      if (found === 'disk') await lookAtDisk()
    }
    if (held) log.info({ folder }, 'spool has room again')
    held = undefined
    return true
  }

  const beginSegment = async (base: number): Promise<OpenSegment> => {
    void lookAtDisk()
    const file = await disk.create(segmentPath(folder, base))
    return { file, base, size: 0 }
  }

  /** A file that is full, or that must not be trusted with more. */
  const endSegment = async () => {
    const ended = current
    current = undefined
    await ended?.file.close().catch((error: Error) => log.warn({ err: error, folder }, 'spool file cannot be closed'))
  }

  const write = async (group: SpoolGroup) => {
    const tooLarge = current && current.size + group.used > segmentBytes
    // all that is here is worked off: only in a new file it can make way
    const overBudget = current && workedOff() && segments.waitingBytes() + group.used > budgetBytes
    if (tooLarge || overBudget) await endSegment()
    await segments.trim(group.used)
    current ??= await beginSegment(group.base)
    const { file, base, size } = current
    for (let from = 0; from < group.used; )
      from += await file.write(group.buffer, from, group.used - from, group.base - base + from)
    // the name of a new file has to survive a power cut as well
    if (size === 0) await Promise.all([file.datasync(), disk.syncFolder(folder)])
    else await file.datasync()
    if (size === 0) segments.add({ path: segmentPath(folder, base), base })
    segments.grow(group.used)
    segments.release(released) // the file before may have waited for this one to begin
    current.size += group.used
  }

  /** Writes the group until it is durable. @returns false where the spool was closed before */
  const makeDurable = async (group: SpoolGroup): Promise<boolean> => {
    writeHead(group.buffer, group.base, lifetime, group.ordinal)
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_MS)) {
      if (!(await awaitRoom(group))) return false
      writingSince = performance.now()
      try {
        await write(group)
        writingSince = undefined
        if (failure) log.info({ folder }, 'spool can be written again')
        failure = undefined
        return true
      } catch (error) {
        writingSince = undefined
        if (!failure) log.error({ err: error, folder }, 'spool cannot be written, nothing is acknowledged until it can')
        failure = error instanceof Error ? error : new Error(String(error))
        // after a failed sync nobody knows what of the file will survive: the group goes into a new one
        await endSegment()
        if (closed) return false
        if (isDiskFull(error)) await segments.trim(Number.POSITIVE_INFINITY)
        await lookAtDisk()
        if (!closed) await wait(pauseMs)
      }
    }
  }

  /** Closes the group that is filled: what is appended from now on goes into the next one. */
  const takeFilling = (): SpoolGroup => {
    const group = filling
    const base = group.base + group.used
    const ordinal = group.ordinal + group.bearing
    filling = spare ? reuseGroup(spare, base, ordinal) : newGroup(base, ordinal)
    spare = undefined
    return group
  }

  const nextGroup = (): SpoolGroup | undefined => queued.shift() ?? (isEmpty(filling) ? undefined : takeFilling())

  const commit = (group: SpoolGroup) => {
    committed = group.base + group.used
    addTally(lifetime, group.tally)
    for (const listener of commitListeners) listener({ position: committed, tally: group.tally })
    group.done.resolve()
    if (group.buffer.length <= GROUP_BYTES) spare = group
    unsafeBytes -= group.used - HEAD_BYTES
    if (!full || unsafeBytes > FULL_BYTES / 2) return
    full = false
    for (const listener of roomListeners) listener()
  }

  const run = async () => {
    for (let group = nextGroup(); group; group = nextGroup()) {
      if (await makeDurable(group)) commit(group)
      else group.done.reject(failure ?? new Error('the spool is closed'))
    }
    running = undefined
  }

  return {
    get committed() {
      return committed
    },
    checkpoint,
    waitingAtStart: survey.waiting,
    append(message) {
      if (closed) return Promise.reject(new Error('the spool is closed'))
      const topic = topicOf(message.topic)
      const size = recordBytes(message, topic)
      if (filling.used + size > groupBytes && !isEmpty(filling)) queued.push(takeFilling())
      addToGroup(filling, message, topic)
      unsafeBytes += size
      if (unsafeBytes >= FULL_BYTES) full = true
      // begun after this turn, so that all messages of one chunk from a socket go together
      running ??= Promise.resolve().then(run)
      return filling.done.promise
    },
    full: () => full,
    onRoom(listener) {
      roomListeners.push(listener)
    },
    onCommit(listener) {
      commitListeners.push(listener)
    },
    async release(position) {
      released = Math.max(released, position)
      segments.release(released)
      wake()
      await segments.trim()
    },
    status: () =>
      describeSpool({
        waitingBytes: segments.waitingBytes(),
        historyBytes: segments.historyBytes(),
        budgetBytes,
        freeBytes,
        held,
        failure,
        silentMs: writingSince === undefined ? 0 : performance.now() - writingSince,
      }),
    async close() {
      closed = true
      clearInterval(looking)
      wake()
      await running
      await endSegment()
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
