import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import { type Columns, findColumns, type ReplayMap } from './replay-map.ts'
import { RecordingUnreadable, readHeader, readRows } from './replay-rows.ts'

export interface ReplayOptions {
  /** A CSV, plain or packed by gzip. */
  readonly file: string
  readonly machine: string
  /** Broker, `mqtt://host:port`. */
  readonly url: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Before the topic; empty or ending in `/`. */
  readonly topicPrefix?: string
  readonly map?: ReplayMap | undefined
  /** How many times faster than recorded; none: as fast as the broker acknowledges. */
  readonly speed?: number | undefined
  /** Shifts the recording so that its last row is now. */
  readonly toNow?: boolean
  /** Leaves out what was measured before, epoch ms of the recording. */
  readonly from?: number | undefined
  /** Goes on after a bad row; without it the first one ends the replay. */
  readonly skipBad?: boolean
  /** Pause before connecting again, and how many connections in a row may end without one acknowledgement. */
  readonly reconnectMs?: number
  readonly attempts?: number
  /** Ends the replay early; what is under way is still awaited. */
  readonly signal?: AbortSignal
  /** Told once what was found in the header. */
  readonly onStart?: (found: {
    columns: Columns
    header: readonly string[]
    separator: string
    shiftMs: number
  }) => void
  readonly onBadRow?: (line: number, reason: string) => void
  readonly onProgress?: (counts: ReplayCounts, part: number) => void
}

export interface ReplayCounts {
  /** Rows read, below the header. */
  readonly read: number
  /** Of these, those that the filter or `from` left out. */
  readonly leftOut: number
  readonly bad: number
  readonly published: number
  readonly acknowledged: number
}

/** How a replay ended: `failure` says why it is not complete. */
export interface ReplayResult {
  readonly counts: ReplayCounts
  readonly failure?: string | undefined
}

/** No broker answers, or it refuses us. */
export class BrokerUnreachable extends Error {
  override readonly name = 'BrokerUnreachable'
}

const IN_FLIGHT = 200

/**
 * Publishes a recording as the machine would have: a reading set per row at its recorded time, QoS 1, many at a time.
 * Every row published is awaited until it is acknowledged, however often the connection breaks meanwhile.
 *
 * @throws {MapInvalid} map and header do not go together
 * @throws {RecordingUnreadable} the file cannot be opened
 * @throws {BrokerUnreachable} there is no connection to begin with
 */
export async function replayFile(options: ReplayOptions): Promise<ReplayResult> {
  const { file, map, onStart, onBadRow, onProgress } = options
  const { header, separator } = await readHeader(file, map?.separator)
  const columns = findColumns(header, map)
  const shiftMs = options.toNow ? Date.now() - (await lastTime(file, separator, columns)) : 0
  onStart?.({ columns, header, separator, shiftMs })

  const publisher = await connect(options)
  const counts = { read: 0, leftOut: 0, bad: 0, published: 0, acknowledged: 0 }
  const all = (): ReplayCounts => ({ ...counts, acknowledged: publisher.acknowledged() })
  const pace = pacer(options.speed, options.signal)
  let part = 0
  let failure: string | undefined
  try {
    for await (const row of readRows(file, separator, columns, (read) => {
      part = read
    })) {
      if (options.signal?.aborted) break
      counts.read += 1
      const leftOut =
        row.kind === 'left out' || (row.kind === 'reading' && row.measuredAt < (options.from ?? row.measuredAt))
      if (leftOut) {
        counts.leftOut += 1
        continue
      }
      const reason = row.kind === 'bad' ? row.reason : futureReason(row.measuredAt + shiftMs)
      if (row.kind === 'bad' || reason !== undefined) {
        counts.bad += 1
        onBadRow?.(row.line, reason as string)
        if (options.skipBad) continue
        failure = `line ${row.line} ${reason}`
        break
      }
      await pace(row.measuredAt)
      await publisher.room()
      if (publisher.failure() !== undefined || options.signal?.aborted) break
      publisher.publish(JSON.stringify({ ts: row.measuredAt + shiftMs, signals: row.signals }))
      counts.published += 1
      onProgress?.(all(), part)
    }
  } catch (error) {
    if (!(error instanceof RecordingUnreadable)) throw error
    failure = error.message
  } finally {
    await publisher.end()
  }
  if (options.signal?.aborted) failure ??= 'it was stopped'
  if (counts.published === 0) failure ??= counts.read === 0 ? 'the file has no row' : 'no row was left to publish'
  return { counts: all(), failure: publisher.failure() ?? failure }
}

function futureReason(measuredAt: number): string | undefined {
  return measuredAt > Date.now() ? `lies in the future: ${new Date(measuredAt).toISOString()}` : undefined
}

async function lastTime(file: string, separator: string, columns: Columns): Promise<number> {
  let last = Number.NEGATIVE_INFINITY
  for await (const row of readRows(file, separator, columns))
    if (row.kind === 'reading') last = Math.max(last, row.measuredAt)
  return last
}

/** Waits until a row is due: its distance to the first one, divided by the speed. */
function pacer(speed: number | undefined, signal: AbortSignal | undefined): (measuredAt: number) => Promise<void> {
  let first: { measuredAt: number; at: number } | undefined
  return async (measuredAt) => {
    if (speed === undefined) return
    first ??= { measuredAt, at: performance.now() }
    const wait = first.at + (measuredAt - first.measuredAt) / speed - performance.now()
    if (wait > 1) await sleep(wait, undefined, { signal }).catch(() => {})
  }
}

interface Publisher {
  publish(payload: string): void
  /** Resolves when another message may be under way, or never will. */
  room(): Promise<void>
  acknowledged(): number
  /** Why it has given up. */
  failure(): string | undefined
  /** Awaits every acknowledgement, or gives up, and disconnects. */
  end(): Promise<void>
}

/**
 * MQTT.js would connect and send again by itself, but one message at a time, and it drops what is published meanwhile.
 * So each connection is a client of its own, and what is not acknowledged is sent again over the next one.
 */
async function connect(options: ReplayOptions): Promise<Publisher> {
  const { url, machine, topicPrefix = '', reconnectMs = 1000, attempts = 15 } = options
  const topic = `${topicPrefix}machines/${machine}/telemetry`
  const unacknowledged = new Map<number, string>()
  let published = 0
  let fruitless = 0
  let ending = false
  let failure: string | undefined
  let waiting: (() => void)[] = []

  let client = follow(await connected(options))

  function follow(next: MqttClient): MqttClient {
    next.on('error', () => {}) // the close after it tells
    next.once('close', () => {
      if (!ending) void reconnect()
    })
    return next
  }

  async function reconnect(): Promise<void> {
    client.end(true)
    for (fruitless += 1; fruitless < attempts; fruitless += 1) {
      await sleep(reconnectMs)
      const next = await connected(options).catch(() => undefined)
      if (!next) continue
      client = follow(next)
      for (const [id, payload] of unacknowledged) send(id, payload)
      return
    }
    failure = `the broker at ${shown(url)} is gone or refuses: ${fruitless} connections without an acknowledgement`
    notify()
  }

  function send(id: number, payload: string): void {
    client.publish(topic, payload, { qos: 1 }, (error) => {
      if (error || !unacknowledged.delete(id)) return
      fruitless = 0
      notify()
    })
  }

  function notify(): void {
    const woken = waiting
    waiting = []
    for (const wake of woken) wake()
  }

  async function until(done: () => boolean): Promise<void> {
    while (!done() && failure === undefined) await new Promise<void>((resolve) => waiting.push(resolve))
  }

  return {
    publish(payload) {
      published += 1
      unacknowledged.set(published, payload)
      send(published, payload)
    },
    room: () => until(() => unacknowledged.size < IN_FLIGHT),
    acknowledged: () => published - unacknowledged.size,
    failure: () => failure,
    async end() {
      await until(() => unacknowledged.size === 0)
      ending = true
      await client.endAsync(failure !== undefined)
    },
  }
}

async function connected({ url, username, password }: ReplayOptions): Promise<MqttClient> {
  try {
    return await mqtt.connectAsync(
      url,
      {
        clientId: `replay-${randomBytes(6).toString('hex')}`,
        ...(username !== undefined && { username, password }),
        reconnectPeriod: 0,
        connectTimeout: 10_000,
      },
      false,
    )
  } catch (error) {
    const reason = (error as Error).message || (error as { code?: string }).code
    throw new BrokerUnreachable(`no connection to the broker at ${shown(url)}: ${reason}`, { cause: error })
  }
}

/** The address without what is secret in it. */
function shown(url: string): string {
  const { protocol, host } = new URL(url)
  return `${protocol}//${host}`
}
