import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely, Transaction } from 'kysely'
import { writeCheckpoint } from './acquire/checkpoint.ts'
import type { Clocks } from './acquire/clocks.ts'
import { openCounts, type Receipts } from './acquire/counts.ts'
import { type HostVerdict, LEAST_DEVICES } from './acquire/host-clock.ts'
import type { RejectionReason } from './acquire/judge.ts'
import type { Codec, SpooledMessage } from './acquire/message.ts'
import { openMessageLog } from './acquire/message-log.ts'
import { allNew, type Newness, type NewnessOfBatch } from './acquire/newness.ts'
import { keepInQuarantine } from './acquire/quarantine.ts'
import { followBudget } from './acquire/quarantine-budget.ts'
import type { MachineSequence } from './acquire/sequence.ts'
import { openSpoolReader } from './acquire/spool-reader.ts'
import { deviceOfTopic } from './acquire/topics.ts'
import { type DecodedBatch, decodeBatch } from './batch.ts'
import type { Catalogue } from './catalogue/catalogue.ts'
import { applyEpisodes, applyTransitions, followMachineState } from './detect/alarm-log.ts'
import { judgeAgain, lateLead, lateSignals } from './detect/late.ts'
import { type LateSpan, nextSpan } from './detect/late-ranges.ts'
import type { Episode, Transition } from './detect/transition.ts'
import { markCorrectionsApplied, pendingCorrections, recordLedgers } from './features/hours-ledger-records.ts'
import { addAll, detectBatch, emptyFindings, type Findings, newsOf, noteLedger } from './findings.ts'
import type { Log } from './log.ts'
import { logOutcomes } from './log-outcomes.ts'
import { NO_NEWS, recordStatus, type StatusChange } from './machine-status.ts'
import type { HistoryMove } from './machines/history-moves.ts'
import type { RegisteredMachine, Registry } from './machines/registry.ts'
import type { Database } from './records/tables.ts'
import type { TelemetryStore } from './store/telemetry-store.ts'
import type { LoggedDevices, PipelineCounts } from './threads.ts'
import { detectorContext, openWorkspaces, saveWorkspaces, type Workspace, type WorkspaceSettings } from './workspace.ts'

export interface PipelineParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  readonly registry: Registry
  readonly store: TelemetryStore
  readonly newness: Newness
  readonly codecs: readonly Codec[]
  readonly clocks: Clocks
  /** Of all topics. */
  readonly prefix: string
  readonly receipts: Receipts
  readonly spoolFolder: string
  /** Where to begin in the spool: what lies before is judged, recorded and stored. */
  readonly checkpoint: number
  readonly retentionMs: number | undefined
  readonly quarantineBytes: number
  readonly settings: WorkspaceSettings
  /** How much of the spool may be read again after a crash, for what the recorded states of machines lack; bytes. */
  readonly stateLagBytes: number
  /** Segments of the spool before `position` are not needed any more; what stands before `worked` is recorded and stored. */
  readonly release: (position: number, worked: number) => void
  /** What the devices say of the host's clock. */
  readonly heedDevices: (host: HostVerdict) => void
  /** Of these machines something was recorded that somebody may have to act on; of the others only their hours went on. */
  readonly changed: (machines: string[], moved: string[]) => void
  readonly log: Log
}

/** The way of the data behind the spool. What is asked of it is done between two batches, never within one. */
export interface Pipeline {
  /** The spool is durable up to here. */
  committed(position: number): void
  /** Moves stored readings to another machine, after taking over what says so. @returns how many */
  reassign(move: HistoryMove): Promise<number>
  /** Takes over what people changed: machines, bindings, overrides, counters. */
  refresh(): Promise<void>
  sequenceOf(machine: string): MachineSequence | undefined
  counts(): PipelineCounts
  /** The last messages of each of these devices, and what became of them. */
  messagesOf(devices: readonly string[]): LoggedDevices
  /** Why nothing moves; undefined: it does. */
  trouble(): string | undefined
  stop(): Promise<void>
}

const MESSAGES_AT_ONCE = 2_000
const BYTES_AT_ONCE = 1 << 20
/** A trickle is gathered for so long, so that its commits cost next to nothing. */
const GATHER_MS = 150
const GATHER_BELOW = 500
const TICK_MS = 5_000
const SILENT_MS = 60_000
const DROP_MS = 3_600_000
const LONGEST_PAUSE_MS = 2_000
/** So often a batch is tried before it is taken apart. */
const PATIENCE = 3
/** A machine's state is written at the latest after so long, what its messages say of where it is after so long. */
const STATE_MS = 60_000
const STATUS_MS = 1_000
const STATUS_ROW_MS = 2
const LONGEST_STATUS_MS = 15_000
/** What a start reads again in some seconds. */
export const STATE_LAG_BYTES = 64 << 20
/** So many states are written along with one batch. */
const STATES_AT_ONCE = 200
/** When we stop, states are written for so long. */
const REST_MS = 1_000
/** The past may take so long before the present has its turn again. */
const LATE_TURN_MS = 300

/** What other threads ask for, done between two batches. */
interface Errand {
  readonly run: () => Promise<void>
  readonly reject: (error: Error) => void
}

/** Starts to work off the spool, and goes on until it is stopped. */
export async function startPipeline(parts: PipelineParts): Promise<Pipeline> {
  const { db, registry, clocks, store, newness, receipts, spoolFolder, settings, log } = parts
  const reader = openSpoolReader({ folder: spoolFolder, from: parts.checkpoint, log })
  const workspaces = openWorkspaces(db, settings)
  const counts = openCounts(receipts)
  const messageLog = openMessageLog()
  const quarantineBudget = followBudget(db, parts.quarantineBytes)
  const loggedSince = Date.now()
  const rejected = new Map<RejectionReason, number>()
  let unknownSignals = 0
  let conflicts = 0
  const progress = await readProgress(db)
  let recorded = progress.position
  let statesFrom = progress.statesFrom // what the recorded states lack stands in the spool from here on

  let committed = 0
  let worked = parts.checkpoint // recorded and stored before it
  let trouble: string | undefined
  let stopping = false
  let wake = () => {}
  const errands: Errand[] = []
  let tickedAt = 0
  let silentAt = 0
  let droppedAt = 0
  let lateWaits = false
  let lateLast = '' // machine whose past was judged last: the others come first, so that a long backlog holds up none
  let statesLack = statesFrom < recorded // in memory, of what stands before `recorded`
  let waitingAreRead = false // what waits for its time in workspaces that are not in memory
  const unsettled = new Set<string>() // machines that were changed, which has not been recorded yet

  const stateOf = (machine: string) => registry.machine(machine)?.state ?? 'unassigned'

  /** Decodes, judges, detects, records, stores; then the spool may forget it. */
  async function workOff(messages: readonly SpooledMessage[]): Promise<void> {
    let batch = decodeBatch(messages, parts, Date.now())
    if (clocks.reconsider()) batch = decodeBatch(messages, parts, Date.now()) // it is our own clock that is wrong
    const judged = await newness.judge(batch.sets.map(({ set }) => set))
    const end = (messages.at(-1) as SpooledMessage).next
    try {
      if (end > recorded) {
        const touched = new Set<string>()
        for (const { set, position } of batch.sets) if (position >= recorded) touched.add(set.machine)
        for (const { machine, position } of batch.notices) if (position >= recorded) touched.add(machine)
        const { machines, moved } = await record(batch, judged, touched, end)
        if (machines.length + moved.length > 0) parts.changed(machines, moved)
      }
      if (judged.append.length + judged.replacing.length > 0) await store.append(judged.append, judged.replacing)
    } catch (error) {
      judged.rollback()
      throw error
    }
    judged.commit()
    settle(batch, judged)
    await moveOn(end)
    await boundQuarantine(batch.quarantine)
  }

  async function boundQuarantine(kept: DecodedBatch['quarantine']): Promise<void> {
    try {
      await quarantineBudget.kept(kept, Date.now())
    } catch (error) {
      log.warn({ err: error }, 'the quarantine could not be brought within its budget, trying again later')
    }
  }

  /** The spool may forget what is recorded and stored. An older checkpoint is no loss: what is read again is recognised. */
  async function moveOn(position: number): Promise<void> {
    await writeCheckpoint(spoolFolder, position).catch((error: unknown) =>
      log.warn({ err: error, folder: spoolFolder }, 'the checkpoint of the spool cannot be written'),
    )
    worked = position
    releaseSpool()
  }

  function releaseSpool(): void {
    parts.release(Math.min(worked, statesFrom), worked)
  }

  async function record(
    batch: DecodedBatch,
    judged: NewnessOfBatch,
    machines: ReadonlySet<string>,
    end: number,
  ): Promise<ReturnType<typeof newsOf>> {
    const from = recorded
    const lacking = workspaces.unsavedFrom() ?? from
    const { news, touched, saved } = await transaction(machines, async (trx) => {
      await registry.addUnassigned(trx, machines)
      const touched = await workspaces.load(known(machines))
      const findings = detectBatch(batch, judged, (_, position) => position >= from, touched)
      for (const workspace of touched.values()) workspace.position = end
      await keepInQuarantine(
        trx,
        batch.quarantine.filter(({ position }) => position >= from),
      )
      const saved = new Set(workspaces.due(dueNow(end)))
      for (const id of findings.decisive) saved.add(touched.get(id) as Workspace)
      const told = await recordFindings(trx, findings, saved)
      await saveProgress(trx, end, lacking)
      return { news: newsOf(findings), touched, saved, told }
    })
    recorded = end
    statesFrom = lacking
    for (const workspace of touched.values()) {
      if (workspace.late.length > 0) lateWaits = true
      if (!saved.has(workspace)) workspaces.noteUnsaved(workspace, from)
    }
    return news
  }

  /** The status of a large fleet is written less often: it must not keep the records busier than its alarms do. */
  function statusMs(): number {
    return Math.min(Math.max(STATUS_MS, workspaces.untoldCount() * STATUS_ROW_MS), LONGEST_STATUS_MS)
  }

  function dueNow(end: number) {
    return { before: performance.now() - STATE_MS, position: end - parts.stateLagBytes, atMost: STATES_AT_ONCE }
  }

  /** Where it fails, what is in memory of these machines is forgotten, and found again in the records and the spool. */
  async function transaction<T extends Written>(
    machines: Iterable<string>,
    work: (trx: Transaction<Database>) => Promise<T>,
  ): Promise<T> {
    try {
      const written = await db.transaction().execute(work)
      workspaces.noteSaved(written.saved)
      workspaces.noteTold(written.told)
      return written
    } catch (error) {
      workspaces.forget(machines)
      waitingAreRead = false
      statesLack = true
      throw error
    }
  }

  function known(machines: Iterable<string>): RegisteredMachine[] {
    return [...machines].map((id) => registry.machine(id)).filter((machine) => machine !== undefined)
  }

  /**
   * @param saved machines whose states are recorded with it
   * @returns machines whose status was
   */
  async function recordFindings(
    trx: Transaction<Database>,
    findings: Findings,
    saved: ReadonlySet<Workspace>,
  ): Promise<Workspace[]> {
    const now = Date.now()
    const told = [...findings.touched.values()].filter(
      (workspace) => saved.has(workspace) || isWorthTelling(workspace, statusMs()),
    )
    await recordStatus(trx, told.map(statusOf))
    await applyTransitions(trx, findings.transitions, { stateOf, now })
    await applyEpisodes(trx, findings.episodes, { stateOf, now })
    await recordLedgers(trx, findings.ledgers, now)
    await saveWorkspaces(trx, saved)
    return told
  }

  /** Records what did not come from a batch. */
  async function recordAside(
    touched: Map<string, Workspace>,
    work: (findings: Findings, trx: Transaction<Database>) => Promise<void>,
  ): Promise<void> {
    const saved = new Set(touched.values())
    await transaction(touched.keys(), async (trx) => {
      const findings = emptyFindings(touched)
      await work(findings, trx)
      return { saved, told: await recordFindings(trx, findings, saved) }
    })
    parts.changed([...touched.keys()], [])
  }

  /** Records of machines what was put off and is due. @returns whether there was anything */
  async function recordDue(due = dueNow(recorded)): Promise<boolean> {
    const saved = new Set(workspaces.due(due))
    const told = new Set([...saved, ...workspaces.untold(performance.now() - statusMs())])
    const lacking = workspaces.unsavedFrom(saved) ?? recorded
    // a spool whose budget is used up waits for this, and nothing more comes before
    const holdsUp = lacking > statesFrom && statesFrom < recorded - parts.stateLagBytes
    if (told.size === 0 && !holdsUp) return false
    await transaction([], async (trx) => {
      await recordStatus(trx, [...told].map(statusOf))
      await saveWorkspaces(trx, saved)
      await saveProgress(trx, recorded, lacking)
      return { saved, told }
    })
    statesFrom = lacking
    releaseSpool()
    return true
  }

  /** Brings the states in memory up to what is recorded: what theirs lack is read again from the spool. */
  async function catchUp(): Promise<void> {
    const again = openSpoolReader({ folder: spoolFolder, from: statesFrom, log })
    try {
      while (again.position < recorded && !stopping) {
        const messages = again.read(recorded, MESSAGES_AT_ONCE, BYTES_AT_ONCE)
        if (messages.length === 0) break
        await followMessages(messages)
        workspaces.rest()
      }
    } finally {
      again.close()
    }
    statesLack = stopping
    releaseSpool()
  }

  /** Judges by messages that are recorded and stored; machines whose state has them already are left out. */
  async function followMessages(messages: readonly SpooledMessage[]): Promise<void> {
    const batch = decodeOrSkip(messages)
    const sets = batch.sets.map(({ set }) => set)
    const heard = new Map<string, number>() // machine → its last message
    for (const { set, position } of batch.sets) heard.set(set.machine, position)
    for (const { machine, position } of batch.notices) heard.set(machine, Math.max(position, heard.get(machine) ?? 0))
    const loaded = await workspaces.load(known(heard.keys()))
    const touched = new Map([...loaded].filter(([id, { position }]) => position <= (heard.get(id) as number)))
    if (touched.size === 0) return

    const findings = detectBatch(
      batch,
      allNew(sets),
      (id, at) => at >= (touched.get(id)?.position ?? Infinity),
      touched,
    )
    const [first, last] = [messages[0], messages.at(-1)] as [SpooledMessage, SpooledMessage]
    for (const workspace of touched.values()) {
      workspace.position = last.next
      workspaces.noteUnsaved(workspace, first.position)
      if (workspace.late.length > 0) lateWaits = true
    }
    // only where rules have changed since then
    const told = new Map([...touched].filter(([id]) => findings.decisive.has(id)))
    if (told.size > 0) await recordAside(told, async (all) => void Object.assign(all, { ...findings, touched: told }))
  }

  /** What failed to be decoded was set aside when it was met first. */
  function decodeOrSkip(messages: readonly SpooledMessage[]): Pick<DecodedBatch, 'sets' | 'notices'> {
    try {
      return decodeBatch(messages, parts, Date.now())
    } catch {
      if (messages.length === 1) return { sets: [], notices: [] }
      const half = Math.ceil(messages.length / 2)
      const [first, second] = [decodeOrSkip(messages.slice(0, half)), decodeOrSkip(messages.slice(half))]
      return { sets: [...first.sets, ...second.sets], notices: [...first.notices, ...second.notices] }
    }
  }

  function settle(batch: DecodedBatch, judged: NewnessOfBatch): void {
    const stored = judged.sets.filter(({ outcome }) => outcome === 'stored').length
    counts.settle({
      messages: batch.messages,
      stored,
      duplicate: judged.sets.length - stored,
      quarantined: batch.quarantine.length,
    })
    for (const [reason, count] of batch.rejected) rejected.set(reason, (rejected.get(reason) ?? 0) + count)
    unknownSignals += batch.unknownSignals
    conflicts += judged.conflicts
    logOutcomes(messageLog, batch, judged, parts.prefix)
  }

  /**
   * Judges again those times of the past to which readings came late and nothing more comes; for a while, since what
   * machines send now has to go on.
   *
   * @returns whether there is more to do at once
   */
  async function judgeLate(): Promise<boolean> {
    const until = performance.now() + LATE_TURN_MS
    const late = [...workspaces.awake()].filter((workspace) => workspace.late.length > 0)
    const first = late.findIndex(({ machine }) => machine.id === lateLast)
    let waits = false
    for (const workspace of [...late.slice(first + 1), ...late.slice(0, first + 1)]) {
      const episodes: Episode[] = []
      let ranges = workspace.late
      for (let next = nextSpan(ranges, Date.now()); next; next = nextSpan(ranges, Date.now())) {
        if (stopping || performance.now() > until) break
        addAll(episodes, await judgeSpan(workspace, next))
        ranges = next.others
      }
      if (ranges.length > 0) waits = true
      if (ranges === workspace.late) continue
      lateLast = workspace.machine.id
      await recordAside(new Map([[workspace.machine.id, workspace]]), async (findings) => {
        workspace.late = ranges
        addAll(findings.episodes, episodes)
      })
    }
    lateWaits = waits
    return performance.now() > until
  }

  async function judgeSpan({ machine, detector }: Workspace, { from, to, receivedAt }: LateSpan): Promise<Episode[]> {
    const context = { ...detectorContext(machine, settings), state: structuredClone(detector.state()) }
    const lead = lateLead(context)
    const readings = await store.history({
      machine: machine.id,
      signals: lateSignals(context),
      from: from - lead,
      to: to + lead + 1,
    })
    return judgeAgain(context, readings, { from, to, receivedAt })
  }

  /** What follows from time alone. */
  async function tick(now: number): Promise<void> {
    if (!waitingAreRead) {
      await loadUnknown(await workspaces.waiting())
      waitingAreRead = true
      lateWaits = true
    }
    if (now - silentAt >= SILENT_MS) {
      silentAt = now
      await loadSilent(now)
    }
    const transitions = new Map<string, Transition[]>()
    for (const { machine, detector } of workspaces.awake()) {
      const found = detector.tick(now)
      if (found.length > 0) transitions.set(machine.id, found)
    }
    if (transitions.size === 0) return
    const touched = await workspaces.load(known(transitions.keys()))
    await recordAside(touched, async (findings) => void addAll(findings.transitions, [...transitions.values()].flat()))
  }

  /** Raw readings are kept for as long as was asked for. */
  async function dropOld(now: number): Promise<void> {
    if (parts.retentionMs === undefined || now - droppedAt < DROP_MS) return
    droppedAt = now
    const readings = await store.dropBefore(now - parts.retentionMs)
    if (readings > 0) log.info({ readings }, 'readings dropped that are older than what is kept')
  }

  /** Machines that have said nothing since before this process began are not in memory, but their silence counts. */
  async function loadSilent(now: number): Promise<void> {
    const silent = await db
      .selectFrom('machine_status')
      .select('machine')
      .where('last_seen_at', '<', new Date(now - settings.noDataAfterMs))
      .execute()
    await loadUnknown(silent.map(({ machine }) => machine))
  }

  async function loadUnknown(machines: readonly string[]): Promise<void> {
    await workspaces.load(known(machines.filter((id) => !workspaces.isFollowed(id))))
  }

  async function takeOverChanges(): Promise<void> {
    await clocks.refresh()
    for (const id of await registry.refresh(Date.now())) unsettled.add(id)
    const changed = known(unsettled)
    if (changed.length > 0) {
      const heard = await workspaces.heard(changed)
      await workspaces.load(heard)
      const transitions = heard.flatMap((machine) => workspaces.replace(machine))
      const touched = await workspaces.load(heard)
      await recordAside(touched, async (findings, trx) => {
        for (const { id, state } of await withAlarms(trx, changed))
          await followMachineState(trx, id, { state, now: Date.now() })
        addAll(findings.transitions, transitions)
        for (const workspace of touched.values()) noteLedger(findings, workspace, [])
      })
    }
    unsettled.clear()
    await applyCorrections()
  }

  /** A machine's state may have been changed right before we ended, its alarms not yet. */
  async function followStates(): Promise<void> {
    await db.transaction().execute(async (trx) => {
      for (const { id, state } of await withAlarms(trx, [...registry.machines()]))
        await followMachineState(trx, id, { state, now: Date.now() })
    })
  }

  async function applyCorrections(): Promise<void> {
    const pending = await pendingCorrections(db)
    if (pending.length === 0) return
    const touched = await workspaces.load(known(new Set(pending.map(({ machine }) => machine))))
    await recordAside(touched, async (findings, trx) => {
      for (const { machine, correction } of pending) {
        const workspace = touched.get(machine)
        if (workspace) noteLedger(findings, workspace, workspace.ledger.apply(correction))
      }
      await markCorrectionsApplied(
        trx,
        pending.map(({ id }) => id),
        Date.now(),
      )
    })
  }

  async function step(): Promise<boolean> {
    const errand = errands.shift()
    if (errand) {
      await errand.run()
      return true
    }
    if (statesLack) await catchUp()
    if (statesLack) return false
    workspaces.rest()
    const now = Date.now()
    if (now - tickedAt >= TICK_MS) {
      tickedAt = now
      await takeOverChanges()
      await tick(now)
      await clocks.keep()
      parts.heedDevices(clocks.host())
      await dropOld(now)
    }
    const waiting = reader.position < committed
    if (waiting) await next()
    else if (await recordDue()) return true
    const moreLate = lateWaits && (await judgeLate())
    return waiting || moreLate
  }

  /** One batch. */
  async function next(): Promise<void> {
    const messages = reader.read(committed, MESSAGES_AT_ONCE, BYTES_AT_ONCE)
    if (messages.length > 0) await workThrough(messages, 0)
    if (messages.length < GATHER_BELOW) await rest(GATHER_MS, true)
  }

  /**
   * Works messages off, again and again until it goes through. Where no other part is to blame, the message that is
   * the reason is found by halves and set aside: the others must not wait for it.
   */
  async function workThrough(messages: readonly SpooledMessage[], failedBefore: number): Promise<void> {
    let fault: Error | undefined
    for (let failures = failedBefore; !stopping; ) {
      try {
        if (failures > 0) await lookAgain()
        if (!fault || failures < PATIENCE) await workOff(messages)
        else await isolate(messages, fault)
        trouble = undefined
        return
      } catch (error) {
        failures++
        fault = isOurFault(error) ? error : undefined
        trouble = error instanceof Error ? error.message : String(error)
        log.warn({ err: error, failures }, 'a batch could not be recorded and stored, trying again')
        if (!fault || failures < PATIENCE) await pause(Math.min(100 * 2 ** failures, LONGEST_PAUSE_MS))
      }
    }
  }

  async function isolate(messages: readonly SpooledMessage[], fault: Error): Promise<void> {
    const half = Math.floor(messages.length / 2)
    if (half === 0) return setAside(messages[0] as SpooledMessage, fault)
    await workThrough(messages.slice(0, half), PATIENCE - 1)
    await workThrough(messages.slice(half), PATIENCE - 1)
  }

  /** Keeps a message that we fail at: it can be replayed after a fix. */
  async function setAside(message: SpooledMessage, fault: Error): Promise<void> {
    const { position, next, receivedAt, topic, payload: bytes } = message
    log.error({ err: fault, topic, position }, 'a message could not be judged, it is kept in quarantine')
    const end = Math.max(next, recorded)
    const device = deviceOfTopic(topic, parts.prefix)
    await db.transaction().execute(async (trx) => {
      const detail = `judging it failed: ${fault.message}`
      await keepInQuarantine(trx, [{ position, item: 0, receivedAt, topic, device, reason: 'failed', detail, bytes }])
      await saveProgress(trx, end, workspaces.unsavedFrom() ?? recorded)
    })
    recorded = end
    counts.settle({ messages: [message], stored: 0, duplicate: 0, quarantined: 1 })
    if (device !== undefined) messageLog.note(device, message, message.kind, 'quarantined', 'failed')
    await moveOn(next)
  }

  /** What was not confirmed may have been recorded and stored all the same, before the connection broke. */
  async function lookAgain(): Promise<void> {
    const reached = await readProgress(db)
    recorded = reached.position
    statesFrom = reached.statesFrom
    if (statesLack) await catchUp()
    newness.raise(await store.highWaterMarks())
  }

  /** Waits for something to do; `gathering` is not ended by messages. */
  async function rest(ms: number, gathering = false): Promise<void> {
    if (stopping || errands.length > 0) return
    const ended = new AbortController()
    wake = () => {
      if (!gathering || stopping || errands.length > 0) ended.abort()
    }
    await delay(ms, undefined, { signal: ended.signal }).catch(() => {})
    wake = () => {}
  }

  /** Waits, and does meanwhile what is asked. */
  async function pause(ms: number): Promise<void> {
    const until = performance.now() + ms
    for (let left = ms; left > 0 && !stopping; left = until - performance.now()) {
      await errands.shift()?.run()
      await rest(left, true)
    }
  }

  async function run(): Promise<void> {
    while (!stopping) {
      try {
        const more = await step()
        trouble = undefined
        if (!more) await rest(lateWaits ? 500 : workspaces.untoldCount() > 0 ? statusMs() : TICK_MS)
      } catch (error) {
        trouble = error instanceof Error ? error.message : String(error)
        log.error({ err: error }, 'the stages cannot do their work')
        await rest(1_000)
      }
    }
  }

  /** The next start has nothing to catch up with, where there is time for that. */
  async function recordRest(): Promise<void> {
    const until = performance.now() + REST_MS
    const everything = { before: Number.POSITIVE_INFINITY, position: recorded, atMost: STATES_AT_ONCE }
    try {
      while (!statesLack && performance.now() < until) if (!(await recordDue(everything))) return
    } catch (error) {
      log.debug({ err: error }, 'states of machines are not recorded, the next start reads the spool again')
    }
  }

  await followStates()
  releaseSpool()
  const running = run()

  /** Does something while no batch is under way. */
  const between = <T>(work: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      if (stopping) return reject(new Error('the service stops'))
      errands.push({ run: () => work().then(resolve, reject), reject })
      wake()
    })

  return {
    committed(position) {
      committed = Math.max(committed, position)
      wake()
    },
    refresh: () => between(takeOverChanges),
    reassign: (move) =>
      between(async () => {
        await takeOverChanges()
        const moved = await store.reassign(move)
        newness.raise([...(await store.highWaterMarks())].filter(({ machine }) => machine === move.to))
        return moved
      }),
    sequenceOf: newness.sequenceOf,
    counts() {
      const { skipped, repeated } = newness.sequence()
      const host = clocks.host()
      return {
        ...counts.snapshot(),
        messages: receipts.messages(),
        rejected: Object.fromEntries(rejected),
        unknownSignals,
        conflicts,
        sequenceGaps: skipped,
        sequenceRepeats: repeated,
        damage: { ...reader.damage },
        hostClockOffsetMs: host.devices >= LEAST_DEVICES ? host.offsetMs : undefined,
      }
    },
    messagesOf: (devices) => ({
      since: loggedSince,
      worked,
      committed,
      messages: devices.flatMap((device) => messageLog.of(device).map((message) => ({ device, ...message }))),
    }),
    trouble: () => trouble,
    async stop() {
      stopping = true
      wake()
      await running
      await recordRest()
      for (const { reject } of errands.splice(0)) reject(new Error('the service stops'))
      reader.close()
      await clocks.save().catch((error: unknown) => log.warn({ err: error }, 'clocks could not be saved'))
    },
  }
}

/** Machines of which a transaction wrote the state, or what is shown of them. */
interface Written {
  readonly saved: Iterable<Workspace>
  readonly told: Iterable<Workspace>
}

function isWorthTelling({ news, newsRecordedAt }: Workspace, statusMs: number): boolean {
  if (news === NO_NEWS) return false
  return news.online !== undefined || performance.now() - newsRecordedAt >= statusMs
}

function statusOf({ machine, news, ledger }: Workspace): StatusChange {
  return { machine: machine.id, ...news, hours: ledger.hours() }
}

/** Those of the machines that have an alarm which is not over: of a fleet, few. */
async function withAlarms(
  trx: Transaction<Database>,
  machines: readonly RegisteredMachine[],
): Promise<RegisteredMachine[]> {
  const rows = await trx.selectFrom('alarms').select('machine').distinct().where('state', '<>', 'normal').execute()
  const alarmed = new Set(rows.map(({ machine }) => machine))
  return machines.filter(({ id }) => alarmed.has(id))
}

/** How far the spool is judged and recorded, and from where on recorded states lack something of that. */
async function readProgress(db: Kysely<Database>): Promise<{ position: number; statesFrom: number }> {
  const row = await db.selectFrom('spool_progress').select(['position', 'states_from']).executeTakeFirst()
  const position = row?.position ?? 0
  return { position, statesFrom: row?.states_from ?? position }
}

async function saveProgress(trx: Transaction<Database>, position: number, statesFrom: number): Promise<void> {
  const row = { position, states_from: statesFrom }
  await trx
    .insertInto('spool_progress')
    .values(row)
    .onConflict((conflict) => conflict.column('only_row').doUpdateSet(row))
    .execute()
}

/**
 * Whether trying again is of no use, because our code fails at what it was given, or PostgreSQL refuses what we make of
 * it (classes 22, 23 and 54: data, integrity, limits). Anything else may pass: connections, disks, memory.
 */
function isOurFault(error: unknown): error is Error {
  if (error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError) return true
  return error instanceof Error && 'code' in error && /^(22|23|54)\w{3}$/.test(String(error.code))
}
