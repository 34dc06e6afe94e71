import type { NewnessOfBatch } from './acquire/newness.ts'
import type { DecodedBatch, Notice } from './batch.ts'
import { addLate, type LateReading } from './detect/late-ranges.ts'
import type { Episode, Transition } from './detect/transition.ts'
import type { LedgerEvent } from './features/hours-ledger.ts'
import type { LedgerEntry } from './features/hours-ledger-records.ts'
import { joinNews, newsOfSets } from './machine-status.ts'
import type { ReadingSet } from './reading.ts'
import type { Workspace } from './workspace.ts'

/** What a batch leads to, to be recorded in one transaction. */
export interface Findings {
  readonly touched: Map<string, Workspace>
  readonly transitions: Transition[]
  readonly episodes: Episode[]
  readonly ledgers: LedgerEntry[]
  /**
   * Machines whose state has to be recorded together with this, because judging the same messages again would not lead
   * to the same state, or would tell something twice.
   */
  readonly decisive: Set<string>
}

/**
 * What the new readings and notices of a batch say of their machines.
 *
 * @param judged what of its sets was not known before
 * @param isNews whether a machine has not been judged by the message at a position of the spool yet
 */
export function detectBatch(
  batch: Pick<DecodedBatch, 'sets' | 'notices'>,
  judged: Pick<NewnessOfBatch, 'sets'>,
  isNews: (machine: string, position: number) => boolean,
  touched: Map<string, Workspace>,
): Findings {
  const findings = emptyFindings(touched)
  const messages = new Map<string, MessagesOfMachine>()
  const ofMachine = (machine: string): MessagesOfMachine => {
    const known = messages.get(machine)
    if (known) return known
    const none: MessagesOfMachine = { sets: [], notices: [], allNew: true }
    messages.set(machine, none)
    return none
  }
  for (const [index, { set, newValues }] of judged.sets.entries()) {
    const { position } = batch.sets[index] as { position: number }
    if (!isNews(set.machine, position)) continue
    const machine = ofMachine(set.machine)
    if (newValues !== set.values) machine.allNew = false
    machine.sets.push({ position, item: newValues === set.values ? set : { ...set, values: newValues } })
  }
  for (const notice of batch.notices) {
    if (isNews(notice.machine, notice.position))
      ofMachine(notice.machine).notices.push({ position: notice.position, item: notice })
  }
  for (const [id, workspace] of touched) {
    const { transitions, episodes } = findings
    const before = transitions.length + episodes.length
    const received = ofMachine(id)
    const events = judgeMachine(workspace, received, findings)
    const isDecisive = !received.allNew || events || transitions.length + episodes.length > before
    if (isDecisive) findings.decisive.add(id)
  }
  return findings
}

/** @returns whether its hour counters have events to tell */
function judgeMachine(workspace: Workspace, { sets, notices }: MessagesOfMachine, findings: Findings): boolean {
  const readings = sets.filter(({ item }) => item.values.size > 0)
  const inOrder = inOrderOfTime(readings, notices)
  detectMachine(workspace, inOrder, findings)
  const receivedAt = lastReceipt(sets, lastReceipt(notices, 0))
  addAll(findings.transitions, workspace.detector.heard(receivedAt))
  const news = readings.map(({ item }) => item)
  const events = workspace.ledger.observe(news)
  noteLedger(findings, workspace, events)
  const online = notices.length > 0 ? lastWord([...readings, ...notices]) : undefined
  workspace.news = joinNews(workspace.news, { receivedAt, online, ...newsOfSets(news) })
  return events.length > 0
}

/** Gives a machine's messages to its detector in order of time; what is behind its newest is kept for later. */
function detectMachine(workspace: Workspace, inOrder: readonly (ReadingSet | Notice)[], findings: Findings): void {
  const { detector } = workspace
  const { transitions, episodes } = findings
  const late: LateReading[] = []
  let run: ReadingSet[] = []
  const flush = () => {
    if (run.length > 0) addAll(transitions, detector.observe(run))
    run = []
  }
  for (const item of inOrder) {
    const { measuredAt, receivedAt } = item
    if ('values' in item) {
      if (!detector.isLate(item)) run.push(item)
      else late.push(item)
      continue
    }
    flush()
    if (item.kind === 'status') addAll(transitions, detector.status(measuredAt, receivedAt, item.online))
    else if (measuredAt >= (detector.newestFaultsAt() ?? Number.NEGATIVE_INFINITY))
      addAll(transitions, detector.faults(measuredAt, receivedAt, item.codes))
    else addAll(episodes, detector.faultsAgain(measuredAt, receivedAt, item.codes))
  }
  flush()
  workspace.late = addLate(workspace.late, late)
}

/** Notes what a ledger has to say, where that is worth recording. */
export function noteLedger(findings: Findings, { machine, ledger }: Workspace, events: LedgerEvent[]): void {
  const status = ledger.takeStatus()
  if (status || events.length > 0) findings.ledgers.push({ machine: machine.id, status, events })
}

/** What a machine sent in a batch, each in the order of receipt. */
interface MessagesOfMachine {
  readonly sets: Received<ReadingSet>[]
  readonly notices: Received<Notice>[]
  /** Whether no value of them was known before. */
  allNew: boolean
}

/** A reading set or a notice with its place in the order of receipt. */
interface Received<T> {
  readonly position: number
  readonly item: T
}

/**
 * In order of measuring; but a status speaks of the moment it comes: a will carries the time at which the machine
 * connected.
 */
function inOrderOfTime(
  sets: readonly Received<ReadingSet>[],
  notices: readonly Received<Notice>[],
): readonly (ReadingSet | Notice)[] {
  const isOrdered = sets.every(({ item }, i) => i === 0 || item.measuredAt >= (sets[i - 1]?.item.measuredAt ?? 0))
  if (isOrdered && notices.length === 0) return sets.map(({ item }) => item)

  let newest = Number.NEGATIVE_INFINITY
  return byReceipt<ReadingSet | Notice>([...sets, ...notices])
    .map(({ item }) => {
      const isStatus = 'kind' in item && item.kind === 'status'
      const at = isStatus ? Math.max(item.measuredAt, newest) : item.measuredAt
      newest = Math.max(newest, at)
      return { at, item }
    })
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

function byReceipt<T>(received: readonly Received<T>[]): Received<T>[] {
  return [...received].sort((a, b) => a.position - b.position)
}

/** Whether the machine is online by the last status received; readings after one that said no make it unknown. */
function lastWord(received: readonly Received<ReadingSet | Notice>[]): boolean | undefined {
  let online: boolean | undefined
  for (const { item } of byReceipt(received)) {
    if ('kind' in item && item.kind === 'status') online = item.online
    else if (online === false) online = undefined
  }
  return online
}

function lastReceipt(received: readonly Received<ReadingSet | Notice>[], atLeast: number): number {
  return received.reduce((latest, { item }) => Math.max(latest, item.receivedAt), atLeast)
}

export function emptyFindings(touched: Map<string, Workspace>): Findings {
  return { touched, transitions: [], episodes: [], ledgers: [], decisive: new Set() }
}

/** `push` with so many arguments as a batch may have would overflow the stack. */
export function addAll<T>(list: T[], more: Iterable<T>): void {
  for (const item of more) list.push(item)
}

/** Machines whose alarms are not what they were, or of whose counters somebody has to hear; and those whose hours went on. */
export function newsOf({ transitions, episodes, ledgers }: Findings): { machines: string[]; moved: string[] } {
  const told = ledgers.filter(({ events }) => events.length > 0)
  const machines = [...transitions, ...episodes.map(({ raised }) => raised), ...told].map(({ machine }) => machine)
  return { machines: [...new Set(machines)], moved: ledgers.map(({ machine }) => machine) }
}
