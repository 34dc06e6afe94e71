import type { ConnectionEvent } from './acquire/connection-log.ts'
import type { QuarantineReason } from './acquire/message.ts'
import type { MachineTail, TailMessage } from './machine-tail.ts'

/** One thing that is to be known about a machine that somebody misses, in words for people. */
export interface Diagnosis {
  readonly code:
    | 'never_seen'
    | 'login_refused'
    | 'silent_connection'
    | 'unknown_topic'
    | 'quarantined'
    | 'partly_quarantined'
    | 'waiting'
    | 'only_duplicates'
    | 'no_readings'
    | 'stored'
    | 'values_rejected'
    | 'quiet'
    | 'held_back'
    | 'unassigned'
    | 'retired'
    | 'merged'
    | 'bound_elsewhere'
  readonly text: string
}

/** What to do about each reason for which sets are in quarantine. */
const REMEDIES: Readonly<Record<QuarantineReason, string>> = {
  topic: 'the topic is none of the contract: machines/{id}/telemetry, faults or status, gateways/{id}/telemetry',
  encoding: 'what it sends is not JSON in UTF-8',
  empty: 'what it sends is empty',
  shape: 'what it sends is JSON, but no reading set',
  time: 'ts is missing, or no time that can be read: epoch milliseconds, or RFC 3339 with a zone',
  clock: 'its clock is ahead: mend it, or give the device a clock policy, then replay',
  values: 'no value of its sets can be used',
  retention: 'it sends what is older than what is kept',
  not_assigned:
    'the gateway may speak for the machines that are assigned to it, and not for this one: assign it, then replay',
  failed: 'Outrigger failed at it, the log says why',
  damaged: 'the spool could not be read there',
}

const QUIET_MS = 15 * 60_000
const BACKLOG_MS = 3_600_000

type Facts = Omit<MachineTail, 'diagnosis'>

/**
 * Says why a machine does not show, or that it does: what keeps it from showing first, what else is odd after it.
 *
 * @param now epoch ms
 */
export function diagnose(facts: Facts, now: number): Diagnosis[] {
  const found = [...aboutArrival(facts, now), ...aboutRecords(facts)]
  return found.filter((one) => one !== undefined)
}

function aboutArrival(facts: Facts, now: number): (Diagnosis | undefined)[] {
  const { messages, machine } = facts
  if (messages.length === 0) {
    const seen = machine?.lastSeenAt?.getTime()
    if (seen === undefined) return [...aboutSilence(facts)]
    return [lastRefusal(facts, seen), quiet(seen, now), storedBefore(machine?.newestMeasuredAt, seen)]
  }
  const newest = Math.max(...messages.map(({ receivedAt }) => receivedAt))
  const before = machine?.newestMeasuredAt
  if (before && messages.every(({ isOlder }) => isOlder)) {
    const heard = Math.max(newest, machine.lastSeenAt?.getTime() ?? newest)
    return [lastRefusal(facts, heard), storedBefore(before, heard), someQuarantined(messages), quiet(heard, now)]
  }
  return [
    lastRefusal(facts, newest),
    ...aboutOutcomes(messages, now),
    rejectedValues(messages),
    heldBack(facts.connections),
    quiet(newest, now),
  ]
}

/** Nothing was ever received. */
function aboutSilence({ id, connections }: Facts): Diagnosis[] {
  const refusal = refusals(connections)
  if (refusal) return [{ code: 'login_refused', text: `it connects and is refused: ${refusal}` }]
  const last = connections.findLast(({ event }) => event === 'connected')
  if (!last)
    return [
      {
        code: 'never_seen',
        text: `nothing was ever received from '${id}', and nobody has connected under this name: look at the id, the address of the broker, and the network`,
      },
    ]
  const end = connections.findLast(({ at, event }) => event === 'disconnected' && at >= last.at)
  const state = end ? `and left at ${time(end.at)} (${end.reason ?? 'unknown'})` : 'and is connected'
  return [
    {
      code: 'silent_connection',
      text: `it connected at ${time(last.at)} ${state}, and has published nothing on a topic of its own`,
    },
  ]
}

function aboutOutcomes(messages: readonly TailMessage[], now: number): (Diagnosis | undefined)[] {
  const waiting = messages.filter(({ outcome }) => outcome === 'waiting').length
  const judged = messages.filter(({ outcome }) => outcome !== 'waiting')
  const sum = (key: 'stored' | 'duplicate' | 'quarantined') => judged.reduce((total, one) => total + one[key], 0)
  const [stored, duplicate, quarantined] = [sum('stored'), sum('duplicate'), sum('quarantined')]
  return [
    waiting > 0
      ? { code: 'waiting', text: `${count(waiting, 'message')} of it wait in the spool and are not judged yet` }
      : undefined,
    quarantined > 0 && stored + duplicate > 0 ? someQuarantined(judged, stored + duplicate) : undefined,
    quarantined > 0 && stored + duplicate === 0 ? allQuarantined(judged) : undefined,
    stored > 0 ? aboutStored(judged, now) : undefined,
    stored === 0 && duplicate > 0
      ? { code: 'only_duplicates', text: `all ${count(duplicate, 'set')} that it sent last were stored before` }
      : undefined,
    stored + duplicate + quarantined === 0 && judged.length > 0
      ? { code: 'no_readings', text: 'it sends status or fault codes, and no readings' }
      : undefined,
  ]
}

/** @param others sets that were not quarantined; undefined: not known any more */
function someQuarantined(messages: readonly TailMessage[], others?: number): Diagnosis {
  const quarantined = quarantinedSets(messages)
  const share =
    others === undefined ? count(quarantined, 'set') : `${quarantined} of its last ${quarantined + others} sets`
  return { code: 'partly_quarantined', text: `in quarantine: ${share}, ${reasonsOf(messages).text}` }
}

function allQuarantined(messages: readonly TailMessage[]): Diagnosis {
  const { reason, text } = reasonsOf(messages)
  const topic = messages.find(({ outcome }) => outcome === 'quarantined')?.topic
  if (reason === 'topic') return { code: 'unknown_topic', text: `it publishes on '${topic}', ${text}` }
  const sets = count(quarantinedSets(messages), 'set')
  return { code: 'quarantined', text: `nothing else came: the last ${sets} are in quarantine, ${text}` }
}

function quarantinedSets(messages: readonly TailMessage[]): number {
  return messages.reduce((sum, { quarantined }) => sum + quarantined, 0)
}

function reasonsOf(messages: readonly TailMessage[]): { readonly reason: string | undefined; readonly text: string } {
  const entries = messages.flatMap(({ quarantine }) => quarantine)
  const reason = mostFrequent(entries.map((entry) => entry.reason))
  const newest = entries.find((entry) => entry.reason === reason)
  if (reason === undefined || !newest) return { reason, text: 'of which nothing but their number is left' }
  const remedy = REMEDIES[reason as QuarantineReason]
  const isOne = entries.every((entry) => entry.reason === reason)
  return {
    reason,
    text: `${isOne ? '' : 'mostly '}as ${reason}: ${remedy} (the newest, ${newest.id}: ${newest.detail})`,
  }
}

function aboutStored(judged: readonly TailMessage[], now: number): Diagnosis {
  const newest = Math.max(...judged.map(({ measuredAt }) => measuredAt ?? Number.NEGATIVE_INFINITY))
  const received = Math.max(...judged.map(({ receivedAt }) => receivedAt))
  const isBacklog = received - newest > BACKLOG_MS && now - received < QUIET_MS
  const remark = isBacklog ? ': it sends a backlog, or its clock is behind' : ''
  return { code: 'stored', text: `its readings are stored, the newest measured at ${time(newest)}${remark}` }
}

function storedBefore(newest: Date | null | undefined, seen: number): Diagnosis | undefined {
  if (!newest) return { code: 'no_readings', text: `it was heard at ${time(seen)}, and no reading of it is stored` }
  return { code: 'stored', text: `its readings are stored, the newest measured at ${time(newest.getTime())}` }
}

function rejectedValues(messages: readonly TailMessage[]): Diagnosis | undefined {
  const rejected = messages.flatMap((message) => message.rejected ?? [])
  const named = mostFrequent(rejected.map(({ signal, reason }) => (signal ? `${signal}: ${reason}` : reason)))
  if (named === undefined) return undefined
  return {
    code: 'values_rejected',
    text: `${count(rejected.length, 'value')} in its last messages count as no value, most often ${named}`,
  }
}

function heldBack(connections: readonly ConnectionEvent[]): Diagnosis | undefined {
  const last = connections.findLast(({ event }) => event === 'held_back')
  if (!last) return undefined
  return { code: 'held_back', text: `it sends more than it may, and is acknowledged later; last at ${time(last.at)}` }
}

function quiet(heard: number, now: number): Diagnosis | undefined {
  if (now - heard <= QUIET_MS) return undefined
  return { code: 'quiet', text: `nothing was received from it since ${time(heard)}` }
}

/** It came in once, and does not any more. */
function lastRefusal({ connections }: Facts, heard: number): Diagnosis | undefined {
  const after = connections.filter(({ at }) => at > heard)
  const isIn = after.findLast(({ event }) => event === 'connected' || event === 'login_refused')?.event === 'connected'
  const refusal = isIn ? undefined : refusals(after)
  return refusal === undefined
    ? undefined
    : { code: 'login_refused', text: `since its last message it is refused: ${refusal}` }
}

function refusals(connections: readonly ConnectionEvent[]): string | undefined {
  const refused = connections.filter(({ event }) => event === 'login_refused')
  const last = refused.at(-1)
  if (!last) return undefined
  const why = (last.reason ?? 'unknown').replaceAll('_', ' ')
  return `${why}, ${count(refused.length, 'time')}, last at ${time(last.at)} from ${last.address}`
}

function aboutRecords({ id, machine }: Facts): (Diagnosis | undefined)[] {
  if (!machine) return []
  const { state, mergedInto } = machine
  if (mergedInto !== null)
    return [{ code: 'merged', text: `it was merged into '${mergedInto}', which has its readings: look there` }]
  return [
    machine.id === id
      ? undefined
      : { code: 'bound_elsewhere', text: `what this device sends belongs to the machine '${machine.id}': look there` },
    state === 'retired'
      ? { code: 'retired', text: 'it is retired: readings are stored, nothing makes an alarm' }
      : undefined,
    state === 'unassigned'
      ? {
          code: 'unassigned',
          text: 'nobody has named its type yet: readings are stored, nothing makes an alarm or a job',
        }
      : undefined,
  ]
}

function mostFrequent(texts: readonly string[]): string | undefined {
  const counts = new Map<string, number>()
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0]
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

function time(at: number): string {
  return new Date(at).toISOString()
}
