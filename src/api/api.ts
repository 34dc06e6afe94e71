import type { FastifyInstance } from 'fastify'
import type { Kysely } from 'kysely'
import type { AccessKey } from '../acquire/access-key.ts'
import { jsonCodec } from '../acquire/json-codec.ts'
import type { SpoolStatus } from '../acquire/spool-status.ts'
import type { TicketDesk } from '../advise/desk.ts'
import type { Catalogue } from '../catalogue/catalogue.ts'
import type { Environment } from '../config.ts'
import type { Log } from '../log.ts'
import { finishMoves, type MoveHistory } from '../machines/history-moves.ts'
import { MachineUnknown, machineById } from '../machines/machines.ts'
import type { Database } from '../records/tables.ts'
import type { BrokerState, PartState, PipelineCounts } from '../threads.ts'
import { version } from '../version.ts'
import { alarmRoutes } from './alarms.ts'
import { auditRoutes } from './audit.ts'
import { type ClockReads, clockRoutes } from './clocks.ts'
import { counterRoutes } from './counters.ts'
import { credentialRoutes } from './credentials.ts'
import { fleetRoutes } from './fleet.ts'
import { healthRoutes } from './health.ts'
import { type IngestParts, ingestRoutes } from './ingest.ts'
import { inspectionRoutes } from './inspections.ts'
import { machineRoutes } from './machines.ts'
import { openMetrics } from './metrics.ts'
import { quarantineRoutes } from './quarantine.ts'
import { quarantineBulkRoutes } from './quarantine-bulk.ts'
import { readingRoutes, type TelemetryReads } from './readings.ts'
import { ruleRoutes } from './rules.ts'
import { buildServer } from './server.ts'
import { type TailRouteParts, tailRoutes } from './tail.ts'
import { workRoutes } from './work.ts'

export interface ApiParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  readonly config: Pick<
    Environment,
    'OUTRIGGER_API_TOKEN' | 'OUTRIGGER_QUARANTINE_BYTES' | 'MQTT_TOPIC_PREFIX' | 'MQTT_MAX_PACKET_BYTES'
  >
  readonly log: Log
  /** The built-in desk, where it takes the jobs. */
  readonly desk: TicketDesk | undefined
  readonly now: () => number
  readonly telemetry: TelemetryReads
  readonly clockReads: ClockReads
  /** Resolves when the stages have taken over what was changed in the records. */
  readonly refresh: () => Promise<void>
  readonly moveHistory: MoveHistory
  /** Puts a message into the spool again, as of its first receipt (epoch ms); resolves when it is durable. */
  readonly inject: (topic: string, bytes: Uint8Array, receivedAt: number) => Promise<void>
  readonly messagesOf: TailRouteParts['messagesOf']
  readonly connectionsOf: TailRouteParts['connectionsOf']
  readonly spoolFolder: string
  /** Asks the broker's book who sends over HTTP. */
  readonly admit: IngestParts['admit']
  /** Puts what came over HTTP into the spool; resolves when it is durable. */
  readonly take: IngestParts['take']
  /** Told that a bulk decision on the quarantine waits to be worked off. */
  readonly bulkStarted: () => void
  /** Told of machines of which something was changed here. */
  readonly changed: (machine: string) => void
  /** Under which issued secrets are kept. */
  readonly accessKey: AccessKey
  /** Resolves when the broker has taken over who may log in. */
  readonly refreshAccess: () => Promise<void>
  /** Told that a message for the queue was written. */
  readonly queued: () => void
  readonly counts: () => Promise<PipelineCounts>
  readonly spool: () => Promise<SpoolStatus>
  readonly broker: () => Promise<BrokerState>
  readonly threads: () => Promise<Readonly<Record<string, number | undefined>>>
  readonly queueCounts: () => Promise<Readonly<Record<string, number>>>
  readonly parts: () => Promise<readonly PartState[]>
}

/** The whole API, ready to listen. */
export function buildApi(parts: ApiParts): Promise<FastifyInstance> {
  const { db, catalogue, config, log } = parts
  const profileOf = async (id: string) => {
    try {
      const { type, model } = await machineById(db, id)
      return catalogue.profile(type, model)
    } catch (error) {
      if (error instanceof MachineUnknown) return undefined
      throw error
    }
  }
  const movesPlanned = () =>
    void finishMoves(db, parts.moveHistory).catch((error: unknown) =>
      log.warn({ err: error }, 'history of devices could not be moved yet, the next start tries again'),
    )
  const metrics = openMetrics({
    db,
    counts: parts.counts,
    broker: parts.broker,
    threads: parts.threads,
    queue: parts.queueCounts,
    quarantineBytes: config.OUTRIGGER_QUARANTINE_BYTES,
    spool: parts.spool,
  })
  return buildServer(
    { log, token: config.OUTRIGGER_API_TOKEN, version },
    [healthRoutes({ parts: parts.parts, metrics }), ingestRoutes({ ...parts, ...ingestSettings(config) })],
    [
      machineRoutes(parts),
      fleetRoutes({ ...parts, movesPlanned }),
      credentialRoutes(parts),
      readingRoutes({ telemetry: parts.telemetry, profileOf }),
      ruleRoutes(parts),
      counterRoutes(parts),
      clockRoutes(parts),
      alarmRoutes(parts),
      workRoutes(parts),
      inspectionRoutes(parts),
      tailRoutes({ ...parts, ...tailSettings(config) }),
      quarantineRoutes(parts),
      quarantineBulkRoutes(parts),
      auditRoutes(parts),
    ],
  )
}

function ingestSettings(config: ApiParts['config']): Pick<IngestParts, 'token' | 'prefix' | 'maxBytes'> {
  return {
    token: config.OUTRIGGER_API_TOKEN,
    prefix: config.MQTT_TOPIC_PREFIX,
    maxBytes: config.MQTT_MAX_PACKET_BYTES,
  }
}

function tailSettings({ MQTT_TOPIC_PREFIX: prefix }: ApiParts['config']): Pick<TailRouteParts, 'prefix' | 'codecs'> {
  return { prefix, codecs: [jsonCodec({ prefix })] }
}
