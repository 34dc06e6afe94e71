import { type Selectable, sql, type Transaction } from 'kysely'
import { type Severity, severityRank } from '../catalogue/schema.ts'
import type { AlarmEventsTable, AlarmsTable, Database, MachineState } from '../records/tables.ts'
import type { Episode, Transition } from './transition.ts'

type Trx = Transaction<Database>
type Alarm = Selectable<AlarmsTable>
type AlarmEventKind = AlarmEventsTable['kind']

export interface AlarmLogParts {
  /** The machine's state; a machine that is not known counts as unassigned. */
  readonly stateOf: (machine: string) => MachineState | undefined
  /** Epoch ms, wall clock. */
  readonly now: number
}

/** What had cleared longer than this before it was received is history: nobody could have answered it. */
const HISTORICAL_MS = 5 * 60_000

/**
 * Records what detection found as it came. While somebody still has to see an alarm, the same condition coming back is
 * that alarm again. A transition that is recorded already changes nothing.
 *
 * @param transitions per machine and key in order of time
 */
export async function applyTransitions(
  trx: Trx,
  transitions: readonly Transition[],
  parts: AlarmLogParts,
): Promise<void> {
  for (const transition of transitions) {
    if (await isRecorded(trx, transition)) continue
    const open = await openAlarm(trx, transition)
    if (open === undefined || open.cleared_at !== null) {
      if (transition.kind === 'raised') await recordRaise(trx, transition, open, parts)
      continue
    }
    if (transition.kind === 'severity') await recordSeverity(trx, transition, open, parts)
    if (transition.kind === 'cleared') await recordClear(trx, transition, open, parts)
  }
}

/**
 * Records what judging the past again found. An episode that overlaps a recorded alarm of its key is that alarm: it may
 * have begun earlier, been worse or cleared at another time than was known. What is active stays active, and nothing
 * becomes active: the state of now is for what comes now to say.
 *
 * @param episodes all that reach into what was judged, so that the same readings lead to the same records
 */
export async function applyEpisodes(trx: Trx, episodes: readonly Episode[], parts: AlarmLogParts): Promise<void> {
  for (const episode of [...episodes].sort((a, b) => a.raised.at - b.raised.at)) {
    const known = (await overlappingAlarm(trx, episode)) ?? (await openAlarm(trx, episode.raised))
    if (known === undefined) await recordEpisode(trx, episode, parts)
    else await mergeEpisode(trx, episode, known, parts)
  }
}

/**
 * Silences a machine's alarms when it is parked, in the workshop, unassigned or retired, and gives those that are still
 * active their voice back when it is in service again. Doing it twice is doing it once.
 */
export async function followMachineState(
  trx: Trx,
  machine: string,
  { state, now }: { readonly state: MachineState; readonly now: number },
): Promise<void> {
  const updated_at = new Date(now)
  if (isSilent(state)) {
    const silenced = await trx
      .updateTable('alarms')
      .set({ state: 'suppressed', suppressed_by: state, updated_at })
      .where('machine', '=', machine)
      .where('cleared_at', 'is', null)
      .where('state', 'in', ['unacknowledged', 'acknowledged'])
      .returningAll()
      .execute()
    for (const alarm of silenced)
      await addEvent(trx, alarm.id, 'suppressed', { ...factsOf(alarm), at: now, note: state, now })
    await trx
      .updateTable('alarms')
      .set({ suppressed_by: state, updated_at })
      .where('machine', '=', machine)
      .where('state', '=', 'suppressed')
      .where('suppressed_by', '<>', state)
      .execute()
    return
  }
  const released = await trx
    .updateTable('alarms')
    .set({
      state: sql`case when acknowledged_at is null then 'unacknowledged' else 'acknowledged' end`,
      suppressed_by: null,
      updated_at,
    })
    .where('machine', '=', machine)
    .where('state', '=', 'suppressed')
    .returningAll()
    .execute()
  for (const alarm of released)
    await addEvent(trx, alarm.id, 'unsuppressed', { ...factsOf(alarm), at: now, note: state, now })
}

function isSilent(state: MachineState): boolean {
  return state !== 'in_service'
}

async function isRecorded(trx: Trx, { machine, key, kind, at, severity }: Transition): Promise<boolean> {
  const found = await trx
    .selectFrom('alarm_events as event')
    .innerJoin('alarms as alarm', 'alarm.id', 'event.alarm')
    .select('event.id')
    .where('alarm.machine', '=', machine)
    .where('alarm.key', '=', key)
    .where('event.kind', '=', kind)
    .where('event.at', '=', new Date(at))
    .where('event.severity', '=', severity)
    .limit(1)
    .executeTakeFirst()
  return found !== undefined
}

/** The alarm of this key that is active, or that nobody has seen yet. */
function openAlarm(trx: Trx, { machine, key }: Transition): Promise<Alarm | undefined> {
  return trx
    .selectFrom('alarms')
    .selectAll()
    .where('machine', '=', machine)
    .where('key', '=', key)
    .where('state', '<>', 'normal')
    .orderBy('raised_at', 'desc')
    .limit(1)
    .forUpdate()
    .executeTakeFirst()
}

async function recordRaise(
  trx: Trx,
  transition: Transition,
  open: Alarm | undefined,
  { stateOf, now }: AlarmLogParts,
): Promise<void> {
  const { machine, key, at, receivedAt, signal } = transition
  const machineState = stateOf(machine) ?? 'unassigned'
  const silent = isSilent(machineState)
  const voice = {
    state: silent ? ('suppressed' as const) : ('unacknowledged' as const),
    suppressed_by: silent ? machineState : null,
  }
  const current = {
    ...rowOf(transition),
    historical: false,
    since: new Date(transition.since),
    cleared_at: null,
    received_at: new Date(receivedAt),
    updated_at: new Date(now),
  }
  if (open === undefined) {
    const { id } = await trx
      .insertInto('alarms')
      .values({ machine, key, signal, raised_at: new Date(at), ...current, ...voice })
      .returning('id')
      .executeTakeFirstOrThrow()
    await addEvent(trx, id, 'raised', { ...transition, now })
    return
  }
  await trx
    .updateTable('alarms')
    .set({ ...current, ...voice, raised_at: earlier(open.raised_at, at) })
    .where('id', '=', open.id)
    .execute()
  await addEvent(trx, open.id, 'raised', { ...transition, now })
}

async function recordSeverity(trx: Trx, transition: Transition, open: Alarm, { now }: AlarmLogParts): Promise<void> {
  await trx
    .updateTable('alarms')
    .set({ ...rowOf(transition), received_at: new Date(transition.receivedAt), updated_at: new Date(now) })
    .where('id', '=', open.id)
    .execute()
  await addEvent(trx, open.id, 'severity', { ...transition, now })
}

async function recordClear(trx: Trx, transition: Transition, open: Alarm, { now }: AlarmLogParts): Promise<void> {
  const { at, receivedAt, severity } = transition
  const historical = receivedAt - at > HISTORICAL_MS && !(await clearedInTime(trx, open.id))
  // with the severity goes what was compared then
  const { value, limit_value } = (await lastOfSeverity(trx, open.id, severity)) ?? open
  const cleared_at = new Date(at)
  await trx
    .updateTable('alarms')
    .set({ state: afterClear(open), severity, value, limit_value, historical, cleared_at, updated_at: new Date(now) })
    .where('id', '=', open.id)
    .execute()
  await addEvent(trx, open.id, 'cleared', { ...transition, now })
}

function lastOfSeverity(trx: Trx, alarm: string, severity: Severity) {
  return trx
    .selectFrom('alarm_events')
    .select(['value', 'limit_value'])
    .where('alarm', '=', alarm)
    .where('kind', 'in', ['raised', 'severity'])
    .where('severity', '=', severity)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst()
}

/** Whether the alarm has cleared before while that was news. */
async function clearedInTime(trx: Trx, alarm: string): Promise<boolean> {
  const found = await trx
    .selectFrom('alarm_events')
    .select('id')
    .where('alarm', '=', alarm)
    .where('kind', '=', 'cleared')
    .where(sql<boolean>`created_at - at <= make_interval(secs => ${HISTORICAL_MS / 1_000})`)
    .limit(1)
    .executeTakeFirst()
  return found !== undefined
}

/** ISA-18.2: what was seen, or silenced, is over; what nobody has seen still waits for that. */
function afterClear({ state }: Alarm): Alarm['state'] {
  return state === 'unacknowledged' ? 'returned' : 'normal'
}

function overlappingAlarm(trx: Trx, episode: Episode): Promise<Alarm | undefined> {
  const { machine, key, since } = episode.raised
  return trx
    .selectFrom('alarms')
    .selectAll()
    .where('machine', '=', machine)
    .where('key', '=', key)
    .where(({ eb, fn }) => eb(fn('least', ['since', 'raised_at']), '<=', new Date(endOf(episode))))
    .where(({ or, eb }) => or([eb('cleared_at', 'is', null), eb('cleared_at', '>=', new Date(since))]))
    .orderBy('raised_at')
    .limit(1)
    .forUpdate()
    .executeTakeFirst()
}

function endOf({ cleared, until }: Episode): number {
  return cleared?.at ?? until
}

async function recordEpisode(trx: Trx, episode: Episode, { stateOf, now }: AlarmLogParts): Promise<void> {
  const { raised, worst } = episode
  const end = endOf(episode)
  const machineState = stateOf(raised.machine) ?? 'unassigned'
  const silent = isSilent(machineState)
  const { id } = await trx
    .insertInto('alarms')
    .values({
      machine: raised.machine,
      key: raised.key,
      signal: raised.signal,
      ...rowOf(worst),
      state: silent ? 'normal' : 'returned',
      suppressed_by: silent ? machineState : null,
      historical: raised.receivedAt - end > HISTORICAL_MS,
      since: new Date(raised.since),
      raised_at: new Date(raised.at),
      cleared_at: new Date(end),
      received_at: new Date(raised.receivedAt),
      updated_at: new Date(now),
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await addEpisodeEvents(trx, id, episode, now)
}

async function mergeEpisode(trx: Trx, episode: Episode, known: Alarm, { now }: AlarmLogParts): Promise<void> {
  const { raised, worst } = episode
  const end = endOf(episode)
  const spells = await spellsOf(trx, known.id)
  const spell = spells.find((each) => each.from <= end && each.to >= raised.since)
  if (spell === undefined) await addEpisodeEvents(trx, known.id, episode, now)
  else await correctEvents(trx, episode, spell)
  const worstKnown = Math.max(0, ...spells.map((each) => severityRank[each.worst]))
  const isWorse = severityRank[worst.severity] > worstKnown
  if (spell !== undefined && isWorse) await addEvent(trx, known.id, 'severity', { ...worst, now })

  const isLatest = end >= known.since.getTime()
  const isNewest = isLatest && spell === undefined
  const since = isNewest ? new Date(raised.since) : isLatest ? earlier(known.since, raised.since) : known.since
  const times = { since, raised_at: earlier(known.raised_at, raised.at), updated_at: new Date(now) }
  const change =
    known.cleared_at === null
      ? times
      : {
          ...times,
          ...(isWorse ? rowOf(worst) : {}),
          cleared_at:
            spell !== undefined && isLatest && movesClear(episode, known.cleared_at.getTime())
              ? new Date(end)
              : later(known.cleared_at, end),
          historical: known.historical && raised.receivedAt - end > HISTORICAL_MS,
        }
  await trx.updateTable('alarms').set(change).where('id', '=', known.id).execute()
}

async function correctEvents(trx: Trx, episode: Episode, spell: Spell): Promise<void> {
  const begin = episode.raised.at
  if (begin < spell.from) await moveEvent(trx, spell.raised, begin)
  if (spell.cleared !== undefined && movesClear(episode, spell.to)) await moveEvent(trx, spell.cleared, endOf(episode))
}

async function moveEvent(trx: Trx, id: number, at: number): Promise<void> {
  await trx
    .updateTable('alarm_events')
    .set({ at: new Date(at) })
    .where('id', '=', id)
    .execute()
}

/** Whether the episode knows better when the spell ended: it saw it end earlier, or last longer. */
function movesClear({ cleared, until }: Episode, knownEnd: number): boolean {
  if (cleared === null) return until > knownEnd
  return cleared.at !== knownEnd && knownEnd <= Math.max(until, cleared.at)
}

interface Spell {
  /** Epoch ms when it was raised and cleared; without end while it is active. */
  readonly from: number
  readonly to: number
  readonly worst: Severity
  /** Ids of the events that say so. */
  readonly raised: number
  readonly cleared: number | undefined
}

/** When an alarm's condition held, by its events. */
async function spellsOf(trx: Trx, alarm: string): Promise<Spell[]> {
  const events = await trx
    .selectFrom('alarm_events')
    .select(['id', 'kind', 'at', 'severity'])
    .where('alarm', '=', alarm)
    .where('kind', 'in', ['raised', 'severity', 'cleared'])
    .orderBy('at')
    .orderBy('id')
    .execute()
  const spells: Spell[] = []
  let open: { from: number; worst: Severity; raised: number } | undefined
  for (const { id, kind, at, severity } of events) {
    if (kind === 'raised') open ??= { from: at.getTime(), worst: severity, raised: id }
    if (open === undefined) continue
    if (severityRank[severity] > severityRank[open.worst]) open.worst = severity
    if (kind !== 'cleared') continue
    spells.push({ ...open, to: at.getTime(), cleared: id })
    open = undefined
  }
  if (open !== undefined) spells.push({ ...open, to: Number.POSITIVE_INFINITY, cleared: undefined })
  return spells
}

async function addEpisodeEvents(trx: Trx, alarm: string, episode: Episode, now: number): Promise<void> {
  const { raised, worst, cleared } = episode
  await addEvent(trx, alarm, 'raised', { ...raised, now })
  if (worst.severity !== raised.severity) await addEvent(trx, alarm, 'severity', { ...worst, now })
  const last = cleared ?? { ...worst, at: endOf(episode), value: null }
  await addEvent(trx, alarm, 'cleared', { ...last, now })
}

interface EventFacts {
  readonly at: number
  readonly severity: Severity
  readonly value: number | null
  readonly limit: number | null
  readonly note?: string | undefined
  /** Epoch ms, wall clock. */
  readonly now: number
}

async function addEvent(
  trx: Trx,
  alarm: string,
  kind: AlarmEventKind,
  { at, severity, value, limit, note = undefined, now }: EventFacts,
): Promise<void> {
  await trx
    .insertInto('alarm_events')
    .values({
      alarm,
      kind,
      at: new Date(at),
      severity,
      value,
      limit_value: limit,
      note: note ?? null,
      created_at: new Date(now),
    })
    .execute()
}

function rowOf({ rule, component, failureMode, severity, value, limit, unit }: Transition) {
  return { rule, component, failure_mode: failureMode, severity, value, limit_value: limit, unit }
}

function factsOf({ severity, value, limit_value }: Alarm) {
  return { severity, value, limit: limit_value }
}

function earlier(known: Date, at: number): Date {
  return known.getTime() <= at ? known : new Date(at)
}

function later(known: Date, at: number): Date {
  return known.getTime() >= at ? known : new Date(at)
}
