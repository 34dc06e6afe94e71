import type { MachineFacts } from './machine-facts.ts'

/** null: not measured; `failures` says why. */
type Figure = number | null

export interface AckMs {
  readonly p50: Figure
  readonly p99: Figure
}

/** What the load reached with one number of connections. */
export interface LoadFigures {
  connections: number
  /** Acknowledged. */
  messages_per_s: Figure
  /** Of what Aedes alone acknowledges to the same generator. */
  ratio_to_bare_broker: Figure
  /** Of what Mosquitto alone acknowledges to the same generator. */
  ratio_to_mosquitto: Figure
  ack_ms: { full_load: AckMs; half_load: AckMs }
  /** true: the generator held something up, so the ratios mean nothing, or the times at half load. */
  void: boolean
  void_reasons: string[]
  /** Medians of the turns of `service`, `aedes`, `mosquitto`; `full_load` and `half_load` were one each. */
  slices: Record<string, { messages_per_s: Figure; generator_cpu_share: Figure; busiest_thread_share: Figure }>
}

/** CPU seconds per million messages, by part. */
export type CpuByPart = Record<string, number>

/** The object that `--json` prints. */
export interface Figures extends LoadFigures {
  values_per_s: Figure
  thousand_connections: LoadFigures
  /** What waited in the spool when full load ended, in seconds of that load. */
  backlog_s: Figure
  /** Acknowledged messages that the store does not hold. */
  lost: Figure
  /** Rows of the store beyond one per identity. */
  duplicated: Figure
  /** The service with its PostgreSQL, by the number of machines that have state. */
  rss_mb: Record<string, Figure>
  rss_full_load_mb: Figure
  restart_ready_s: Figure
  /** Messages that waited in the spool then, to be worked off behind it. */
  restart_waiting: Figure
  cpu_s_per_million: CpuByPart | null
  /** In the telemetry file when the service has stopped. */
  bytes_per_message: Figure
  /** In the spool's folder when everything is stored. */
  spool_left_mb: Figure
  raw_store_messages_per_s: Figure
  ratio_to_raw_store: Figure
  /** Raised by the load, whose values are healthy: there should be none. */
  alarms: Figure
  run: {
    seconds: number
    window: number
    quick: boolean
    /** Messages in the store of both services in the end. */
    stored: Figure
    took_s: number
  }
  machine: MachineFacts | null
  failures: { phase: string; reason: string }[]
}

const unknownAck = (): AckMs => ({ p50: null, p99: null })

function emptyLoadFigures(connections: number): LoadFigures {
  return {
    connections,
    messages_per_s: null,
    ratio_to_bare_broker: null,
    ratio_to_mosquitto: null,
    ack_ms: { full_load: unknownAck(), half_load: unknownAck() },
    void: false,
    void_reasons: [],
    slices: {},
  }
}

/** All keys, nothing measured yet. */
export function emptyFigures(run: Figures['run'], connections: number, manyConnections: number): Figures {
  return {
    ...emptyLoadFigures(connections),
    values_per_s: null,
    thousand_connections: emptyLoadFigures(manyConnections),
    backlog_s: null,
    lost: null,
    duplicated: null,
    rss_mb: { 1000: null, 10000: null },
    rss_full_load_mb: null,
    restart_ready_s: null,
    restart_waiting: null,
    cpu_s_per_million: null,
    bytes_per_message: null,
    spool_left_mb: null,
    raw_store_messages_per_s: null,
    ratio_to_raw_store: null,
    alarms: null,
    run,
    machine: null,
    failures: [],
  }
}

/** A number as it is shown, three significant digits or whole; null: it is none. */
export function figure(value: number): Figure {
  if (!Number.isFinite(value)) return null
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}
