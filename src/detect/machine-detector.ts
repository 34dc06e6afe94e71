import type { FaultCode } from '../acquire/message.ts'
import type { NamedRule, Profile } from '../catalogue/catalogue.ts'
import { type Severity, severityRank } from '../catalogue/schema.ts'
import {
  FAILS,
  HOLDS,
  machinePicture,
  type PictureState,
  type SignalTrack,
  type Truth,
  UNKNOWN,
} from '../features/machine-picture.ts'
import type { ReadingSet, SignalValue } from '../reading.ts'
import { type FaultState, faultWatch } from './fault-watch.ts'
import { comparedValue, plainValue, rememberReading } from './measure.ts'
import { type GroupPlan, type LevelPlan, machinePlan, type RulePlan } from './rule-plan.ts'
import {
  forgetDelays,
  isBeyond,
  isQuiet,
  judgeLevels,
  judgeRest,
  type LevelChange,
  type RuleRun,
  type RuleRunState,
  saveRun,
  startRun,
} from './rule-run.ts'
import type { Episode, Transition } from './transition.ts'

/** Whose readings are judged, and by what. */
export interface DetectorContext {
  readonly machine: string
  readonly profile: Profile
  /** The rules that hold for this machine, overrides resolved. */
  readonly rules: ReadonlyMap<string, NamedRule>
  /** Silence after which the machine counts as one without data, ms of the wall clock; 24 h when left out. */
  readonly noDataAfterMs?: number | undefined
  /** Since when the service has been able to hear machines, epoch ms: it must not take its own absence for theirs. */
  readonly listeningSince?: number | undefined
  /** `false`: what is normal for the machine is used but not learned. */
  readonly learns?: boolean | undefined
}

/** An alarm condition that holds, as JSON. */
interface AlarmState {
  /** Ids of the levels that are active. */
  readonly active: readonly string[]
  /** Id of the level that the alarm shows. */
  readonly shown: string
  readonly facts: AlarmFacts
  readonly worst: Severity
  readonly since: number
}

type AlarmFacts = Pick<Transition, 'severity' | 'rule' | 'signal' | 'component' | 'failureMode' | 'limit' | 'unit'>

/** Everything a detector remembers; survives JSON exactly. */
export interface DetectorState {
  readonly picture: PictureState
  /** Of the newest set. */
  readonly receivedAt: number | null
  /** When anything was received from the machine last. */
  readonly heardAt: number | null
  /** Whether its silence stands as an alarm. */
  readonly noData: boolean
  readonly rules: Record<string, RuleRunState>
  readonly alarms: Record<string, AlarmState>
  readonly faults: FaultState
  /** Changes that followed from new rules and have not been handed out. */
  readonly pending: readonly Transition[]
}

/** Judges what one machine sends as it comes, in event time. */
export interface MachineDetector {
  /** Epoch ms of the newest reading set. */
  newestMeasuredAt(): number | undefined
  /** Epoch ms of the newest fault message; what is older is for `faultsAgain`. */
  newestFaultsAt(): number | undefined
  /** Id of the machine's mode as of its newest set. */
  currentMode(): string | undefined
  /** Whether something of it goes on with time alone, but for its silence. */
  goesOn(): boolean
  /** How many signals it knows, by which its memory goes. */
  signalCount(): number
  /** Whether a set belongs to the past, and so is to be judged again with what is stored around it. */
  isLate(set: ReadingSet): boolean
  /** @param sets in order of `measuredAt`, none of them late before the first is observed */
  observe(sets: readonly ReadingSet[]): Transition[]
  status(measuredAt: number, receivedAt: number, online: boolean): Transition[]
  faults(measuredAt: number, receivedAt: number, codes: readonly FaultCode[]): Transition[]
  /** A fault message that came late: what it says of the past. */
  faultsAgain(measuredAt: number, receivedAt: number, codes: readonly FaultCode[]): Episode[]
  /** Something else came from the machine, such as late readings: it is not silent. */
  heard(receivedAt: number): Transition[]
  /** What follows from time alone. @param now epoch ms, wall clock */
  tick(now: number): Transition[]
  /** Goes on with another type or other rules. Alarms of rules that are gone are cleared; a new limit is judged with the next reading. */
  replaceContext(context: DetectorContext): Transition[]
  /** As it is now; whoever goes on with it beside this detector takes a copy. */
  state(): DetectorState
}

const DAY_MS = 24 * 3_600_000
/** After its own absence the service gives machines this long to be heard. */
const GRACE_MS = 3_600_000
/** Readings may still be on their way: time alone decides only what is older than this. */
const MARGIN_MS = 5_000
/** Work that pauses for less goes on: concrete pumps wait up to 20 min for the next mixer. */
const PAUSE_MS = 30 * 60_000
/** The mode, the same in every type, in which a machine does nothing. */
const MODE_OFF = 'off'
const NO_DATA = 'no_data'

/**
 * Starts to judge one machine.
 *
 * @param state of an earlier detector of this machine, also under another type or other rules: it goes on from there
 */
export function machineDetector(context: DetectorContext, state?: DetectorState): MachineDetector {
  let detection = startDetection(context, state)
  return {
    newestMeasuredAt: () => detection.newestMeasuredAt(),
    newestFaultsAt: () => detection.newestFaultsAt(),
    currentMode: () => detection.currentMode(),
    goesOn: () => detection.goesOn(),
    signalCount: () => detection.signalCount(),
    isLate: (set) => detection.isLate(set),
    observe: (sets) => detection.observe(sets),
    status: (measuredAt, receivedAt, online) => detection.status(measuredAt, receivedAt, online),
    faults: (measuredAt, receivedAt, codes) => detection.faults(measuredAt, receivedAt, codes),
    faultsAgain: (measuredAt, receivedAt, codes) => detection.faultsAgain(measuredAt, receivedAt, codes),
    heard: (receivedAt) => detection.heard(receivedAt),
    tick: (now) => detection.tick(now),
    state: () => detection.state(),
    replaceContext(next) {
      detection = startDetection(next, detection.state())
      return detection.handOut()
    },
  }
}

interface Detection extends Omit<MachineDetector, 'replaceContext'> {
  handOut(): Transition[]
}

/** An alarm condition that holds. */
interface AlarmRun {
  readonly active: Set<LevelPlan>
  shown: LevelPlan
  facts: AlarmFacts
  worst: Severity
  readonly since: number
}

function startDetection(context: DetectorContext, state?: DetectorState): Detection {
  const { machine, profile, learns = true, noDataAfterMs = DAY_MS, listeningSince } = context
  const plan = machinePlan(profile, context.rules)
  const picture = machinePicture(profile, state?.picture)
  const faultCodes = faultWatch(context, state?.faults)
  const runs = new Map<RulePlan, RuleRun>()
  const busy = new Set<RuleRun>()
  const judged = new Set<RuleRun>() // within the set at hand
  let judgedAt = 0
  const alarms = new Map<GroupPlan, AlarmRun>()
  let receivedAt = state?.receivedAt ?? null
  let heardAt = state?.heardAt ?? null
  let noData = state?.noData ?? false
  let changes: LevelChange[] = []
  let out: Transition[] = [...(state?.pending ?? [])]

  for (const [id, saved] of Object.entries(state?.rules ?? {})) {
    const rule = plan.rules.get(id)
    if (rule === undefined) continue
    const run = startRun(rule, saved)
    runs.set(rule, run)
    if (!isQuiet(run)) busy.add(run)
  }
  for (const [key, saved] of Object.entries(state?.alarms ?? {})) restoreAlarm(key, saved)

  return {
    newestMeasuredAt: () => (Number.isNaN(picture.newest()) ? undefined : picture.newest()),
    newestFaultsAt: () => faultCodes.newest(),
    currentMode: () => (Number.isNaN(picture.newest()) ? undefined : picture.mode(picture.newest())),

    goesOn: () => out.length > 0 || busy.size > 0 || faultCodes.hasCodes(),
    signalCount: picture.signalCount,
    isLate: (set) => picture.isLate(set),

    observe(sets) {
      for (const set of sets) judgeSet(set)
      return handOut()
    },

    status(measuredAt, received, online) {
      picture.status(measuredAt, online)
      // a will speaks for the machine, but is not it
      if (online) noteHeard(received)
      return handOut()
    },

    faults(measuredAt, received, codes) {
      noteHeard(received)
      out.push(...faultCodes.message(measuredAt, received, codes))
      return handOut()
    },

    faultsAgain: (measuredAt, received, codes) => faultCodes.messageAgain(measuredAt, received, codes),

    heard(received) {
      noteHeard(received)
      return handOut()
    },

    tick(now) {
      judgeSilence(now)
      judgeByTime(now)
      return handOut()
    },

    handOut,

    state() {
      const rules: Record<string, RuleRunState> = {}
      for (const run of runs.values()) rules[run.plan.id] = saveRun(run)
      const standing: Record<string, AlarmState> = {}
      for (const [group, { active, shown, facts, worst, since }] of alarms) {
        standing[group.key] = { active: [...active].map(({ id }) => id), shown: shown.id, facts, worst, since }
      }
      return {
        picture: picture.state(),
        receivedAt,
        heardAt,
        noData,
        rules,
        alarms: standing,
        faults: faultCodes.state(),
        pending: [...out],
      }
    },
  }

  function handOut(): Transition[] {
    if (out.length === 0) return []
    const ready = out
    out = []
    return ready
  }

  function judgeSet(set: ReadingSet): void {
    const { measuredAt: at, values } = set
    picture.take(set)
    const isNewest = at === picture.newest()
    if (isNewest) receivedAt = set.receivedAt
    noteHeard(set.receivedAt)
    if (picture.returned()) for (const run of busy) forgetDelays(run)
    judged.clear()
    judgedAt = at
    values.forEach(judgeValue)
    if (isNewest) for (const run of busy) if (!judged.has(run)) judgeBetween(run, at)
    settleChanges(set.receivedAt)
    if (isNewest && faultCodes.waits()) out.push(...faultCodes.pass(at, set.receivedAt))
  }

  function judgeValue(value: SignalValue, name: string): void {
    const index = plan.table.indexOf.get(name)
    if (index === undefined) return
    const rules = plan.bySignal[index] as readonly RulePlan[]
    if (rules.length === 0) return
    const track = picture.track(index) as SignalTrack
    for (const rule of rules) judgeReading(rule, track, value, judgedAt)
  }

  /** The signal itself was read. */
  function judgeReading(rule: RulePlan, track: SignalTrack, value: SignalValue, at: number): void {
    let run = runs.get(rule)
    if (run === undefined) {
      if (rule.plain && !isBeyond(rule, plainValue(rule, value), rule.mildest)) return
      run = startRun(rule)
      runs.set(rule, run)
    }
    judged.add(run)
    if (track.gap) forgetDelays(run)
    const truth = applies(rule, at)
    const around = { picture, at, healthy: run.baseline !== undefined && learns && isHealthy(rule) }
    rememberReading(run, track, truth === HOLDS, around)
    const compared = truth === HOLDS ? comparedValue(run, track, around) : undefined
    if (compared !== undefined) run.value = compared
    if (truth === FAILS) rest(run, at)
    else if (compared === undefined) forgetDelays(run)
    else judge(run, at, compared)
    settleRun(run)
  }

  /** Something else was read, or time went by: is the limit still meant, does a value sent on change still hold? */
  function judgeBetween(run: RuleRun, at: number): void {
    const { plan: rule } = run
    const truth = applies(rule, at)
    const holds = rule.sent !== 'periodic'
    if (holds && (truth === UNKNOWN || picture.asOf(rule.signalIndex, at) === undefined)) forgetDelays(run)
    else if (truth === FAILS) rest(run, at)
    else if (holds && run.value !== null) judge(run, at, run.value)
    settleRun(run)
  }

  function judge(run: RuleRun, at: number, value: number): void {
    judgeLevels(run, at, value, (since) => isConfirmed(run.plan, since), changes)
  }

  function rest(run: RuleRun, at: number): void {
    const { offDelayMs } = run.plan
    judgeRest(run, at, picture.mode(at) === MODE_OFF ? offDelayMs : Math.max(offDelayMs, PAUSE_MS), changes)
  }

  function settleRun(run: RuleRun): void {
    if (!isQuiet(run)) {
      busy.add(run)
      return
    }
    busy.delete(run)
    if (run.plan.plain) runs.delete(run.plan)
  }

  /** Whether the limit is meant at `at`. */
  function applies({ modes, signalModes, when }: RulePlan, at: number): Truth {
    let truth: Truth = HOLDS
    if (modes !== undefined || signalModes !== undefined) {
      const mode = picture.mode(at)
      if (mode === undefined && modes !== undefined) truth = UNKNOWN
      if (mode !== undefined && modes !== undefined && !modes.has(mode)) return FAILS
      if (mode !== undefined && signalModes !== undefined && !signalModes.has(mode)) return FAILS
    }
    for (const condition of when) {
      const held = picture.holds(condition, at)
      if (held === FAILS) return FAILS
      if (held === UNKNOWN) truth = UNKNOWN
    }
    return truth
  }

  /**
   * Whether the conditions have been read since the limit was passed. Without this, the pressure of an engine that was
   * just switched off would be judged by the speed that it had before.
   */
  function isConfirmed({ modes, when }: RulePlan, since: number): boolean {
    for (const { index } of when) {
      if (plan.table.signals[index]?.sent !== 'periodic') continue
      const track = picture.track(index)
      // one that is not known any more holds only because it may be unknown
      if (track !== undefined && track.at < since && picture.asOf(index, picture.newest()) !== undefined) return false
    }
    if (modes === undefined) return true
    picture.mode(picture.newest())
    return picture.modeToldAt() >= since
  }

  function isHealthy(rule: RulePlan): boolean {
    for (const [group, { facts }] of alarms) {
      if (group === rule.group || facts.component === rule.component) return false
    }
    return true
  }

  /** Changes of the levels become changes of the alarm that they share, in the order of time. */
  function settleChanges(received: number): void {
    if (changes.length === 0) return
    const ordered = changes.sort(byTime)
    changes = []
    for (const change of ordered) {
      if (change.active) rise(change, received)
      else fall(change, received)
    }
  }

  function rise(change: LevelChange, received: number): void {
    const { level } = change
    const { group } = level.rule
    const alarm = alarms.get(group)
    if (alarm === undefined) {
      const facts = factsOf(level)
      alarms.set(group, { active: new Set([level]), shown: level, facts, worst: level.severity, since: change.since })
      tell(group.key, 'raised', facts, change, received)
      return
    }
    alarm.active.add(level)
    if (severityRank[level.severity] <= severityRank[alarm.facts.severity]) return
    alarm.shown = level
    alarm.facts = factsOf(level)
    if (severityRank[level.severity] > severityRank[alarm.worst]) alarm.worst = level.severity
    tell(group.key, 'severity', alarm.facts, change, received)
  }

  function fall(change: LevelChange, received: number): void {
    const { level } = change
    const { group } = level.rule
    const alarm = alarms.get(group)
    if (alarm === undefined) return
    alarm.active.delete(level)
    if (alarm.active.size === 0) {
      alarms.delete(group)
      const facts = { ...alarm.facts, severity: alarm.worst }
      tell(group.key, 'cleared', facts, { ...change, since: alarm.since }, received)
      return
    }
    if (level !== alarm.shown) return
    showWorst(group, alarm, { at: change.at, value: change.value }, received)
  }

  function showWorst(
    group: GroupPlan,
    alarm: AlarmRun,
    change: { at: number; value: number | null },
    received: number,
  ) {
    const before = alarm.facts.severity
    alarm.shown = [...alarm.active].reduce((a, b) => (severityRank[b.severity] > severityRank[a.severity] ? b : a))
    alarm.facts = factsOf(alarm.shown)
    if (severityRank[alarm.facts.severity] > severityRank[alarm.worst]) alarm.worst = alarm.facts.severity
    if (alarm.facts.severity === before) return
    tell(group.key, 'severity', alarm.facts, { ...change, since: alarm.since }, received)
  }

  function tell(
    key: string,
    kind: Transition['kind'],
    facts: AlarmFacts,
    { at, since, value }: { at: number; since: number; value: number | null },
    received: number,
  ): void {
    out.push({ machine, key, kind, at, since, receivedAt: received, ...facts, value })
  }

  /** The rules may have changed since: what is gone clears, what is left shows the worst that is left. */
  function restoreAlarm(key: string, { active, shown, facts, worst, since }: AlarmState): void {
    const group = plan.groups.get(key)
    const left = group?.levels.filter((level) => active.includes(level.id) && isActive(level)) ?? []
    const at = state?.picture.newest ?? state?.heardAt ?? since
    const received = state?.heardAt ?? at
    const first = left[0]
    if (group === undefined || first === undefined) {
      tell(key, 'cleared', { ...facts, severity: worst }, { at, since, value: null }, received)
      return
    }
    const alarm = { active: new Set(left), shown: left.find(({ id }) => id === shown) ?? first, facts, worst, since }
    alarms.set(group, alarm)
    const value = runs.get(alarm.shown.rule)?.value ?? null
    showWorst(group, alarm, { at, value }, received)
    const isSame = alarm.facts.failureMode === facts.failureMode && alarm.facts.component === facts.component
    const isTold = alarm.facts.severity !== facts.severity
    // another type may take the same limit for another failure
    if (!isSame && !isTold) tell(key, 'severity', alarm.facts, { at, since, value }, received)
  }

  function isActive({ rule, place }: LevelPlan): boolean {
    return runs.get(rule)?.levels[place]?.active ?? false
  }

  function noteHeard(received: number): void {
    if (heardAt === null || received > heardAt) heardAt = received
    if (!noData) return
    noData = false
    out.push(silence('cleared', received, received))
  }

  /** Silence counts by what was received, never by when it was measured: a backlog is not silent. */
  function judgeSilence(now: number): void {
    if (noData || heardAt === null) return
    const at = Math.max(heardAt + noDataAfterMs, (listeningSince ?? heardAt) + Math.min(GRACE_MS, noDataAfterMs))
    if (now < at) return
    noData = true
    out.push(silence('raised', at, now))
  }

  function silence(kind: 'raised' | 'cleared', at: number, received: number): Transition {
    const hours = noDataAfterMs / 3_600_000
    return {
      machine,
      key: NO_DATA,
      kind,
      at,
      since: kind === 'raised' ? (heardAt as number) : at,
      receivedAt: received,
      severity: 'S1',
      rule: NO_DATA,
      signal: null,
      component: profile.failureModes.get('EN-10')?.component ?? 'telematics',
      failureMode: 'EN-10',
      value: kind === 'raised' ? hours : null,
      limit: hours,
      unit: 'h',
    }
  }

  /** A value sent on change, a mode, a list of faults: they go on holding although nothing comes. */
  function judgeByTime(now: number): void {
    if (busy.size === 0 && !faultCodes.waits()) return
    if (receivedAt === null) {
      passFaults(now)
      return
    }
    const at = picture.newest() + (now - receivedAt) - MARGIN_MS
    if (at <= picture.newest() || !picture.heardAt(at)) return
    for (const run of busy) judgeBetween(run, at)
    settleChanges(now)
    if (faultCodes.waits()) out.push(...faultCodes.pass(at, now))
  }

  /** Of a machine that sends nothing but fault codes, silence says nothing. */
  function passFaults(now: number): void {
    const newest = faultCodes.newest()
    if (newest === undefined || heardAt === null) return
    const at = newest + (now - heardAt) - MARGIN_MS
    if (at > newest) out.push(...faultCodes.pass(at, now))
  }
}

/** In order of time; at one instant the worst level comes first and goes last, so that it speaks for all. */
function byTime(a: LevelChange, b: LevelChange): number {
  if (a.at !== b.at) return a.at - b.at
  const rank = severityRank[a.level.severity] - severityRank[b.level.severity]
  return a.active ? -rank : rank
}

function factsOf({ rule, limit, severity }: LevelPlan): AlarmFacts {
  const { id, group, component, failureMode, unit } = rule
  return { severity, rule: id, signal: group.signal, component, failureMode, limit, unit }
}
