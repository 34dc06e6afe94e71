import type { AccessChange } from './acquire/access-book.ts'
import type { AccessKey } from './acquire/access-key.ts'
import type { ClockView, ClockViewQuery } from './acquire/clock-view.ts'
import type { ConnectionEvent } from './acquire/connection-log.ts'
import type { HostVerdict } from './acquire/host-clock.ts'
import type { HttpAdmission, HttpLogin } from './acquire/http-topic.ts'
import type { LoggedMessage } from './acquire/message-log.ts'
import type { MachineSequence } from './acquire/sequence.ts'
import type { SpoolDamage } from './acquire/spool-reader.ts'
import type { SpoolStatus } from './acquire/spool-status.ts'
import type { Environment } from './config.ts'
import type { HistoryMove } from './machines/history-moves.ts'
import type { RecordsConnection } from './records/data-folder.ts'
import type { BucketQuery, LatestReading, Point, RangeQuery } from './store/telemetry-store.ts'

/** What each thread is given when it is started. */
export interface ThreadStart {
  readonly config: Environment
  /** Absolute. */
  readonly dataFolder: string
  /** Counters of receipt that the first thread writes and the second reads. */
  readonly receipts: SharedArrayBuffer
  /** Under which issued secrets are kept. */
  readonly accessKey: AccessKey
}

/** A part of the service as `/readyz` shows it. */
export interface PartState {
  readonly part: string
  readonly ready: boolean
  /** Why it is not ready, or what is to be seen to although it is. */
  readonly note?: string | undefined
}

/** What is put in again. */
export interface InjectedMessage {
  readonly topic: string
  readonly bytes: Uint8Array
  /** When it came first, epoch ms: its clock is judged by that. */
  readonly receivedAt: number
}

/** What the broker counts; its `FrontCounts`. */
export interface BrokerState {
  readonly connections: number
  readonly refused: Readonly<Record<string, number>>
}

/** The first thread: takes in and acknowledges, and passes out what is for machines. */
export interface ReceivingThread {
  /** Puts messages into the spool again, in this order; resolves when all of them are durable. */
  inject(messages: readonly InjectedMessage[]): Promise<void>
  /** Says who sends over HTTP, and under which topic. */
  admit(login: HttpLogin, machine: string | undefined): Promise<HttpAdmission>
  /** Puts into the spool what came over HTTP; resolves when it is durable. Rejects when the spool takes nothing now. */
  take(topic: string, bytes: Uint8Array): Promise<void>
  /** Publishes to the machines, retained. */
  publish(topic: string, payload: string): Promise<void>
  /** Segments of the spool before `position` are not needed any more; the stages are done with what stands before `worked`. */
  release(position: number, worked: number): void
  /** Who may log in was changed. */
  takeOverAccess(change: AccessChange): void
  /** Who has logged in since this was asked last. */
  usedCredentials(): string[]
  /** The last events of a device's connections, oldest first: log-ins, refusals, disconnects. */
  connectionsOf(id: string): ConnectionEvent[]
  /** What the devices say of the host's clock, every few seconds. */
  heedDevices(host: HostVerdict): void
  state(): { parts: PartState[]; spool: SpoolStatus; broker: BrokerState; address: string }
  cpuSeconds(): number | undefined
}

/** Counters of the second thread, one snapshot. */
export interface PipelineCounts {
  readonly received: number
  readonly stored: number
  readonly duplicate: number
  readonly quarantined: number
  readonly waiting: number
  readonly messages: { kind: string; qos: number; count: number }[]
  readonly rejected: Record<string, number>
  readonly unknownSignals: number
  readonly conflicts: number
  readonly sequenceGaps: number
  readonly sequenceRepeats: number
  readonly damage: SpoolDamage
  /** How far the host's clock is ahead of the devices' median, ms; undefined: fewer than three are heard. */
  readonly hostClockOffsetMs: number | undefined
}

/** What the second thread remembers of the last messages of some devices. */
export interface LoggedDevices {
  /** Since when it remembers, epoch ms. */
  readonly since: number
  /** What stands from here to `committed` in the spool is not in it yet. */
  readonly worked: number
  readonly committed: number
  readonly messages: readonly (LoggedMessage & { readonly device: string })[]
}

/** The second thread: tails the spool, judges, detects, stores; answers reads of telemetry. */
export interface PipelineThread {
  /** @returns the newest receipt that is recorded, epoch ms; 0: there is none */
  begin(records: RecordsConnection | string): Promise<number>
  /** The spool is durable up to here. */
  committed(position: number): void
  /** Takes over machines, bindings, overrides and corrections that were changed; what is received after the answer is judged by them. */
  refresh(): Promise<void>
  /** Times of receipt were put forward by so much, or back where it is negative. */
  receiptsStepped(at: number, byMs: number): void
  /** Clocks of devices, in order of their ids. */
  clocks(query: ClockViewQuery): ClockView[]
  sequenceOf(machine: string): MachineSequence | undefined
  counts(): PipelineCounts
  messagesOf(devices: readonly string[]): LoggedDevices
  state(): PartState
  cpuSeconds(): number | undefined
  range(query: RangeQuery, limit: number): Promise<Point[]>
  buckets(query: BucketQuery): Promise<Point[]>
  latest(machine: string): Promise<LatestReading[]>
  /** Moves stored readings, after taking over what was changed. */
  reassign(move: HistoryMove): Promise<number>
  stop(): Promise<void>
}

/** The third thread: records, queue, desk, API. */
export interface OfficeThread {
  /** Starts the records and answers how to reach them. */
  openRecords(): Promise<{ connection: RecordsConnection | string; where: string }>
  /** Starts queue, desk and API; answers where the API listens. */
  open(): Promise<string>
  /** There are new alarm events of machines, which may need something; the hours of others moved. */
  machinesChanged(machines: string[], moved: string[]): void
  stop(): Promise<void>
}
