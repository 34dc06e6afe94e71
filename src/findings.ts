import type { NewnessOfBatch } from './acquire/newness.ts'
import type { DecodedBatch, Notice } from './batch.ts'
import { addLate, type LateReading } from './detect/late-ranges.ts'
import type { Episode, Transition } from './detect/transition.ts'
import type { LedgerEvent } from './features/hours-ledger.ts'
import type { LedgerEntry } from './features/hours-ledger-records.ts'
import type { StatusChange } from './machine-status.ts'
import type { ReadingSet } from './reading.ts'
import type { Workspace } from './workspace.ts'

/** What a batch leads to, to be recorded in one transaction. */
export interface Findings {
  readonly touched: Map<string, Workspace>
  readonly transitions: Transition[]
  readonly episodes: Episode[]
  readonly ledgers: LedgerEntry[]
  readonly statuses: StatusChange[]
}

/**
 * What the new readings and notices of a batch say of their machines.
 *
 * @param from what stands before it in the spool is judged already
 */
export function detectBatch(
  batch: DecodedBatch,
  judged: NewnessOfBatch,
  from: number,
  touched: Map<string, Workspace>,
): Findings {
  const findings = emptyFindings(touched)
  const received = new Map<string, Received[]>()
  const heard = new Map<string, ReadingSet[]>()
  for (const [index, { set, newValues }] of judged.sets.entries()) {
    const { position } = batch.sets[index] as { position: number }
    if (position < from) continue
    const news = newValues === set.values ? set : { ...set, values: newValues }
    push(heard, set.machine, news)
    if (newValues.size > 0) push(received, set.machine, { position, item: news })
  }
  for (const notice of batch.notices) {
    if (notice.position >= from) push(received, notice.machine, { position: notice.position, item: notice })
  }
  for (const [id, workspace] of touched) {
    const sets = heard.get(id) ?? []
    const inOrder = inOrderOfTime(received.get(id) ?? [])
    detectMachine(workspace, inOrder, findings)
    const receivedAt = lastReceipt(sets, lastReceipt(inOrder, 0))
    addAll(findings.transitions, workspace.detector.heard(receivedAt))
    const events = workspace.ledger.observe(sets.filter(({ values }) => values.size > 0))
    noteLedger(findings, workspace, events)
    findings.statuses.push({
      machine: id,
      receivedAt,
      online: lastWord(received.get(id) ?? []),
      sets,
      hours: workspace.ledger.status(),
    })
  }
  return findings
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
    else if (measuredAt >= (detector.newestFaultsAt ?? Number.NEGATIVE_INFINITY))
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

/** What its hours are by now, where no message brings that. */
export function noteHours(findings: Findings, { machine, ledger }: Workspace): void {
  const nothing = { receivedAt: undefined, online: undefined, sets: [] }
  findings.statuses.push({ machine: machine.id, ...nothing, hours: ledger.status() })
}

/** A reading set or a notice with its place in the order of receipt. */
interface Received {
  readonly position: number
  readonly item: ReadingSet | Notice
}

/**
 * In order of measuring; but a status speaks of the moment it comes: a will carries the time at which the machine
 * connected.
 */
function inOrderOfTime(received: Received[]): (ReadingSet | Notice)[] {
  let newest = Number.NEGATIVE_INFINITY
  return received
    .sort((a, b) => a.position - b.position)
    .map(({ item }) => {
      const isStatus = 'kind' in item && item.kind === 'status'
      const at = isStatus ? Math.max(item.measuredAt, newest) : item.measuredAt
      newest = Math.max(newest, at)
      return { at, item }
    })
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

/** Whether the machine is online by the last status received; readings after one that said no make it unknown. */
function lastWord(received: readonly Received[]): boolean | undefined {
  let online: boolean | undefined
  for (const { item } of [...received].sort((a, b) => a.position - b.position)) {
    if ('kind' in item && item.kind === 'status') online = item.online
    else if (online === false) online = undefined
  }
  return online
}

function lastReceipt(items: readonly { readonly receivedAt: number }[], atLeast: number): number {
  return items.reduce((latest, { receivedAt }) => Math.max(latest, receivedAt), atLeast)
}

export function emptyFindings(touched: Map<string, Workspace>): Findings {
  return { touched, transitions: [], episodes: [], ledgers: [], statuses: [] }
}

/** `push` with so many arguments as a batch may have would overflow the stack. */
export function addAll<T>(list: T[], more: Iterable<T>): void {
  for (const item of more) list.push(item)
}

/** Machines whose alarms or hours are not what they were. */
export function newsOf({ transitions, episodes, ledgers }: Findings): string[] {
  const machines = [...transitions, ...episodes.map(({ raised }) => raised), ...ledgers].map(({ machine }) => machine)
  return [...new Set(machines)]
}

function push<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const list = lists.get(key)
  if (list) list.push(item)
  else lists.set(key, [item])
}
