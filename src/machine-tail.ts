import { isUtf8 } from 'node:buffer'
import { type Kysely, sql } from 'kysely'
import type { ConnectionEvent } from './acquire/connection-log.ts'
import { decode } from './acquire/decode.ts'
import { judge, type Rejection } from './acquire/judge.ts'
import type { Codec, SpooledMessage } from './acquire/message.ts'
import type { LoggedKind, LoggedMessage } from './acquire/message-log.ts'
import { readSpooled } from './acquire/read-spooled.ts'
import { openSpoolReader } from './acquire/spool-reader.ts'
import { deviceOfTopic } from './acquire/topics.ts'
import type { Catalogue } from './catalogue/catalogue.ts'
import { type Diagnosis, diagnose } from './diagnosis.ts'
import type { Log } from './log.ts'
import { type Machine, type MachineStatus, MachineUnknown, machineById } from './machines/machines.ts'
import type { Database } from './records/tables.ts'
import type { LoggedDevices } from './threads.ts'

export type TailOutcome = 'stored' | 'duplicate' | 'quarantined' | 'mixed' | 'taken' | 'waiting'

/** One of the last messages of a device, as far as it can still be told. */
export interface TailMessage {
  readonly device: string
  readonly position: number
  /** It came before this process began, and of such the quarantine alone knows. */
  readonly isOlder: boolean
  readonly receivedAt: number
  /** Newest of its usable sets. */
  readonly measuredAt: number | undefined
  readonly outcome: TailOutcome
  /** Reading sets. */
  readonly stored: number
  readonly duplicate: number
  readonly quarantined: number
  /** The first of them that are still in quarantine. */
  readonly quarantine: readonly { readonly id: number; readonly reason: string; readonly detail: string }[]
  /** The first values that counted as no value; undefined where the bytes are gone, or too many to look at again. */
  readonly rejected: readonly Rejection[] | undefined
  /** undefined: not known any more. */
  readonly topic: string | undefined
  /** The message as it came; undefined where the spool has forgotten it. */
  readonly message: Pick<SpooledMessage, 'qos' | 'retained' | 'origin'> | undefined
  readonly size: number | undefined
  /** The beginning of the bytes; undefined where nobody has them any more. */
  readonly payload: { readonly text: string; readonly encoding: 'utf8' | 'base64'; readonly isCut: boolean } | undefined
}

export interface MachineTail {
  readonly id: string
  /** The machine for which the device of this id speaks now; undefined where none is known. */
  readonly machine: (Machine & MachineStatus) | undefined
  /** Devices whose messages these are: the one of this id, and those that are bound to the machine of this id. */
  readonly devices: readonly string[]
  /** Since when messages and connections are remembered, epoch ms; what is older is from the records. */
  readonly since: number
  /** Bytes in the spool that nobody has judged yet, of all devices. */
  readonly unjudgedBytes: number
  /** Oldest first. */
  readonly connections: readonly ConnectionEvent[]
  /** Newest first. */
  readonly messages: readonly TailMessage[]
  /** Most important first. */
  readonly diagnosis: readonly Diagnosis[]
}

export interface TailParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  readonly codecs: readonly Codec[]
  readonly prefix: string
  readonly spoolFolder: string
  readonly messagesOf: (devices: string[]) => Promise<LoggedDevices>
  readonly connectionsOf: (id: string) => Promise<ConnectionEvent[]>
  readonly log: Log
}

const MESSAGES = 50
const CONNECTIONS = 50
const DEVICES = 20
const PAYLOAD_BYTES = 4_096
// what holds up everybody else who asks something is bounded
const LOOKED_AT_BYTES = 64 << 10 // a larger message is not judged again
const READ_BYTES = 16 << 20 // of the spool; what is older is shown without its bytes
const REJECTED = 20
const QUARANTINED = 5
const WAITING_BYTES = 4 << 20
const WAITING_MESSAGES = 20_000

/** The last messages of a device or machine and what became of them: the answer to "why is my machine not showing?". */
export async function machineTail(parts: TailParts, id: string, now: number): Promise<MachineTail> {
  const { db } = parts
  const { devices, speaksFor } = await devicesOf(db, id, now)
  const [machine, logged, connections] = await Promise.all([
    machineIfKnown(db, speaksFor),
    parts.messagesOf(devices),
    Promise.all(devices.map((device) => parts.connectionsOf(device))),
  ])
  const remembered = readNewest(parts, logged.messages, machine)
  const waiting = waitingOf(parts, logged, devices)
  const known = new Set(logged.messages.map(({ position }) => position))
  const kept = await quarantineOf(db, devices, [...known])
  const messages = [
    ...waiting,
    ...remembered.map((message) => withQuarantine(message, kept)),
    ...forgotten(kept, known),
  ]
    .sort((a, b) => b.position - a.position)
    .slice(0, MESSAGES)
  const tail = {
    id,
    machine,
    devices,
    since: logged.since,
    unjudgedBytes: Math.max(0, logged.committed - logged.worked),
    connections: connections
      .flat()
      .sort((a, b) => a.at - b.at)
      .slice(-CONNECTIONS),
    messages,
  }
  return { ...tail, diagnosis: diagnose(tail, now) }
}

/** A machine may be spoken for by devices of other names, and a device may speak for a machine of another one. */
async function devicesOf(db: Kysely<Database>, id: string, now: number) {
  const at = new Date(now)
  const bound = await db
    .selectFrom('bindings')
    .select(['device', 'machine'])
    .where('replaced_at', 'is', null)
    .where((where) => where.or([where('device', '=', id), where('machine', '=', id)]))
    .where((where) => where.or([where('bound_from', 'is', null), where('bound_from', '<=', at)]))
    .where((where) => where.or([where('bound_to', 'is', null), where('bound_to', '>', at)]))
    .execute()
  const others = bound.filter(({ machine }) => machine === id).map(({ device }) => device)
  const speaksFor = bound.find(({ device }) => device === id)?.machine ?? id
  return { devices: [...new Set([id, ...others])].slice(0, DEVICES), speaksFor }
}

async function machineIfKnown(db: Kysely<Database>, id: string): Promise<(Machine & MachineStatus) | undefined> {
  try {
    return await machineById(db, id)
  } catch (error) {
    if (error instanceof MachineUnknown) return undefined
    throw error
  }
}

type Logged = LoggedMessage & { readonly device: string }

function readNewest(parts: TailParts, logged: readonly Logged[], machine: Machine | undefined): TailMessage[] {
  let left = READ_BYTES
  return [...logged]
    .sort((a, b) => b.position - a.position)
    .slice(0, MESSAGES)
    .map((one) => {
      const message = left > 0 ? readSpooled(parts.spoolFolder, one.position) : undefined
      left -= message?.payload.length ?? 0
      return fromSpool(parts, one, message, machine)
    })
}

function fromSpool(
  parts: TailParts,
  logged: Logged,
  message: SpooledMessage | undefined,
  machine: Machine | undefined,
): TailMessage {
  const { device, position, receivedAt, measuredAt, stored, duplicate, quarantined } = logged
  return {
    device,
    position,
    isOlder: false,
    receivedAt,
    measuredAt,
    outcome: outcomeOf(logged),
    stored,
    duplicate,
    quarantined,
    quarantine: [],
    rejected: message && rejectedIn(parts, message, device, machine),
    ...(message ? asItCame(message) : { ...gone, topic: topicOf(logged, parts.prefix) }),
  }
}

const gone = { topic: undefined, message: undefined, size: undefined, payload: undefined }

function asItCame(message: SpooledMessage) {
  const { topic, qos, retained, origin, payload } = message
  return { topic, message: { qos, retained, origin }, size: payload.length, payload: beginningOf(payload) }
}

function outcomeOf({ stored, duplicate, quarantined }: Pick<Logged, 'stored' | 'duplicate' | 'quarantined'>) {
  const outcomes = { stored, duplicate, quarantined }
  const found = (['stored', 'duplicate', 'quarantined'] as const).filter((outcome) => outcomes[outcome] > 0)
  if (found.length > 1) return 'mixed'
  return found[0] ?? 'taken'
}

function topicOf({ device, kind }: { readonly device: string; readonly kind: LoggedKind }, prefix: string) {
  return kind === 'gateway' || kind === 'other' ? undefined : `${prefix}machines/${device}/${kind}`
}

function beginningOf(bytes: Buffer): NonNullable<TailMessage['payload']> {
  const isCut = bytes.length > PAYLOAD_BYTES
  const shown = bytes.subarray(0, PAYLOAD_BYTES)
  if (!isUtf8(bytes)) return { text: shown.toString('base64'), encoding: 'base64', isCut }
  const text = shown.toString()
  return { text: isCut ? text.replace(/\ufffd$/, '') : text, encoding: 'utf8', isCut }
}

/** Judged again for the one who looks: keeping every verdict would cost every message. */
function rejectedIn(
  { codecs, catalogue }: TailParts,
  { topic, payload, receivedAt }: SpooledMessage,
  device: string,
  machine: Machine | undefined,
): Rejection[] | undefined {
  if (payload.length > LOOKED_AT_BYTES) return undefined
  const decoded = decode(codecs, topic, payload)
  if (decoded.kind !== 'telemetry') return []
  const { modeCodes, modeNames } = catalogue
  const profile = catalogue.profile(machine?.type ?? '', machine?.model)
  const rejected: Rejection[] = []
  for (const raw of decoded.sets) {
    if ('reason' in raw || raw.device !== device) continue
    const context = {
      machine: device,
      profile,
      modeCodes,
      modeNames,
      measuredAt: raw.measuredAt,
      isArrival: false,
      receivedAt,
    }
    rejected.push(...judge(raw, context).rejected)
    if (rejected.length >= REJECTED) break
  }
  return rejected.slice(0, REJECTED)
}

/** What of these devices stands in the spool and is not judged yet; of a long backlog its beginning. */
function waitingOf(parts: TailParts, { worked, committed }: LoggedDevices, devices: readonly string[]): TailMessage[] {
  if (worked >= committed) return []
  const silent = parts.log.child({}, { level: 'silent' }) // damage is told by the stages, once
  const reader = openSpoolReader({ folder: parts.spoolFolder, from: worked, log: silent })
  try {
    const waiting: TailMessage[] = []
    for (const message of reader.read(committed, WAITING_MESSAGES, WAITING_BYTES)) {
      const device = deviceOfTopic(message.topic, parts.prefix)
      if (device === undefined || !devices.includes(device)) continue
      waiting.push(waitingMessage(message, device))
    }
    return waiting.slice(-MESSAGES)
  } finally {
    reader.close()
  }
}

function waitingMessage(message: SpooledMessage, device: string): TailMessage {
  const { position, receivedAt } = message
  const nothing = {
    stored: 0,
    duplicate: 0,
    quarantined: 0,
    quarantine: [],
    rejected: undefined,
    measuredAt: undefined,
  }
  return { device, position, isOlder: false, receivedAt, outcome: 'waiting', ...nothing, ...asItCame(message) }
}

interface KeptEntry {
  readonly id: number
  readonly device: string
  readonly position: number
  readonly received_at: Date
  readonly topic: string
  readonly reason: string
  readonly detail: string
  readonly size: number
  readonly bytes: Buffer | null
  /** How many of the message and the device there are. */
  readonly entries: number
}

/** Entries of the messages at these positions, and the newest others, the first few of each message. */
async function quarantineOf(
  db: Kysely<Database>,
  devices: readonly string[],
  positions: readonly number[],
): Promise<KeptEntry[]> {
  const { rows } = await sql<KeptEntry>`
    with newest as (
      select distinct recent.position from unnest(${devices}::text[]) as one (device), lateral (
        select position from quarantine where device = one.device and bytes is not null order by id desc limit ${MESSAGES}
      ) recent
    ), wanted as (
      select position from newest union select unnest(${positions}::bigint[])
    )
    select entry.* from wanted, lateral (
      select id, device, position, received_at, topic, reason, detail, size,
        case when size <= ${PAYLOAD_BYTES} then bytes else substring(bytes from 1 for ${PAYLOAD_BYTES + 1}) end as bytes,
        count(*) over (partition by device) as entries
      from quarantine q where q.position = wanted.position and device = any(${devices}::text[])
      order by item limit ${QUARANTINED}
    ) entry
    order by entry.position, entry.id`.execute(db)
  return rows
}

/** Where the spool has forgotten a message, a single entry of it in the quarantine still has its bytes. */
function withQuarantine(message: TailMessage, kept: readonly KeptEntry[]): TailMessage {
  const found = kept.filter(({ position, device }) => position === message.position && device === message.device)
  const [first] = found
  if (!first) return message
  const quarantine = found.map(({ id, reason, detail }) => ({ id, reason, detail }))
  const isAll = first.entries === 1 && message.stored + message.duplicate === 0
  if (message.payload || !isAll) return { ...message, topic: message.topic ?? first.topic, quarantine }
  return { ...message, quarantine, topic: first.topic, size: first.size, payload: bytesOf(first) }
}

/** Messages from before this process began, of which the quarantine has something. */
function forgotten(kept: readonly KeptEntry[], known: ReadonlySet<number>): TailMessage[] {
  const messages = new Map<string, TailMessage>()
  for (const entry of kept) {
    if (known.has(entry.position)) continue
    const { device, position, topic, entries } = entry
    const key = `${position}/${device}`
    if (messages.has(key)) continue
    messages.set(
      key,
      withQuarantine(
        {
          ...gone,
          device,
          position,
          isOlder: true,
          topic,
          receivedAt: entry.received_at.getTime(),
          measuredAt: undefined,
          outcome: 'quarantined',
          stored: 0,
          duplicate: 0,
          quarantined: entries,
          quarantine: [],
          rejected: undefined,
        },
        kept,
      ),
    )
  }
  return [...messages.values()]
}

function bytesOf({ bytes, size }: KeptEntry): TailMessage['payload'] {
  return bytes ? { ...beginningOf(bytes), isCut: size > PAYLOAD_BYTES } : undefined
}
