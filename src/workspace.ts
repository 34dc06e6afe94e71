import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { type Kysely, sql, type Transaction } from 'kysely'
import type { LateRange } from './detect/late-ranges.ts'
import {
  type DetectorContext,
  type DetectorState,
  type MachineDetector,
  machineDetector,
} from './detect/machine-detector.ts'
import { type HoursLedger, hoursLedger, type LedgerState } from './features/hours-ledger.ts'
import { NO_NEWS, type StatusNews } from './machine-status.ts'
import type { RegisteredMachine } from './machines/registry.ts'
import type { Database } from './records/tables.ts'

/** What the stages keep of one machine between its messages. */
export interface Workspace {
  readonly machine: RegisteredMachine
  readonly detector: MachineDetector
  readonly ledger: HoursLedger
  /** Times of the past that are to be judged again. */
  late: readonly LateRange[]
  /** What the machine sent before this position of the spool is in all this. */
  position: number
  /** What its messages said of it that is not recorded yet. */
  news: StatusNews
  /** When its status was recorded last, ms of `performance.now()`. */
  newsRecordedAt: number
}

/** JSON of a workspace, a row of `stage_state`. */
interface WorkspaceState {
  readonly detector: DetectorState
  readonly ledger: LedgerState
  readonly late: readonly LateRange[]
}

export interface WorkspaceSettings {
  readonly noDataAfterMs: number
  /** Since when this process has been able to hear machines, epoch ms. */
  readonly listeningSince: number
}

/** What a machine's detector judges by. */
export function detectorContext(machine: RegisteredMachine, settings: WorkspaceSettings): DetectorContext {
  return { machine: machine.id, profile: machine.profile, rules: machine.rules, ...settings }
}

function bytesOf({ detector }: Workspace): number {
  return WORKSPACE_BYTES + SIGNAL_BYTES * detector.signalCount()
}

function stateOf({ detector, ledger, late }: Workspace): WorkspaceState {
  return { detector: detector.state(), ledger: ledger.state(), late }
}

/** Whether something of it goes on with time alone. */
function waits({ late, detector }: Workspace): boolean {
  return late.length > 0 || detector.goesOn()
}

/** A workspace that has not been asked for lately, packed: a tenth of the memory, a tenth of a millisecond to unpack. */
interface Asleep extends Omit<Workspace, 'detector' | 'ledger'> {
  /** Deflated JSON of its `WorkspaceState`. */
  readonly state: Buffer
  /** Its silence stands as an alarm; nothing else of one that sleeps goes on with time. */
  readonly noData: boolean
}

/** Where in the spool what is not recorded of a machine begins, and since when that is so. */
interface Unsaved {
  readonly from: number
  /** ms of `performance.now()` */
  readonly since: number
}

/** Workspaces that are awake take no more than this; each has so much, and so much for each signal. */
const AWAKE_BYTES = 48 << 20
const WORKSPACE_BYTES = 8_000
const SIGNAL_BYTES = 800

/** Workspaces of the machines that were heard; those not in memory are read from the records. */
export function openWorkspaces(db: Kysely<Database>, settings: WorkspaceSettings) {
  const known = new Map<string, Workspace>() // in order of use
  const asleep = new Map<string, Asleep>()
  const unsaved = new Map<string, Unsaved>() // in order of `from`
  const untold = new Set<string>()

  function build(machine: RegisteredMachine, position: number, state?: WorkspaceState): Workspace {
    return {
      machine,
      detector: machineDetector(detectorContext(machine, settings), state?.detector),
      ledger: hoursLedger(machine.profile, state?.ledger),
      late: state?.late ?? [],
      position,
      news: NO_NEWS,
      newsRecordedAt: Number.NEGATIVE_INFINITY,
    }
  }

  /** @returns the workspace, awake, as the one used last; undefined where it is not in memory */
  function use(id: string): Workspace | undefined {
    const workspace = known.get(id) ?? wake(id)
    if (!workspace) return undefined
    known.delete(id)
    known.set(id, workspace)
    return workspace
  }

  function wake(id: string): Workspace | undefined {
    const sleeper = asleep.get(id)
    if (!sleeper) return undefined
    asleep.delete(id)
    const { state, noData, ...rest } = sleeper
    return { ...build(rest.machine, rest.position, JSON.parse(inflateRawSync(state).toString())), ...rest }
  }

  function putToSleep(workspace: Workspace): void {
    const { detector: _, ledger: __, ...rest } = workspace
    const state = stateOf(workspace)
    const packed = deflateRawSync(JSON.stringify(state), { level: 1 })
    asleep.set(rest.machine.id, { ...rest, state: Buffer.from(packed), noData: state.detector.noData })
    known.delete(rest.machine.id)
  }

  return {
    /** Those awake. Only they can have anything that goes on with time, but for their silence. */
    awake: () => known.values(),

    /** Whether time has told of a machine what it can tell, or will. */
    isFollowed: (id: string) => known.has(id) || asleep.get(id)?.noData === true,

    /** Lets those sleep that have not been used for longest. To be called when nobody works with one. */
    rest(): void {
      let bytes = 0
      for (const workspace of known.values()) bytes += bytesOf(workspace)
      for (const workspace of known.values()) {
        if (bytes <= AWAKE_BYTES) return
        bytes -= bytesOf(workspace)
        if (!waits(workspace)) putToSleep(workspace)
      }
    },

    /** Brings the machines' workspaces into memory. */
    async load(machines: readonly RegisteredMachine[]): Promise<Map<string, Workspace>> {
      const missing = machines.filter(({ id }) => !use(id))
      if (missing.length > 0) {
        const ids = missing.map(({ id }) => id)
        // one parameter, however many they are: a statement has at most 65,535
        const rows = await db
          .selectFrom('stage_state')
          .selectAll()
          .where(sql<boolean>`machine = any(${ids}::text[])`)
          .execute()
        const stored = new Map(rows.map((row) => [row.machine, row]))
        for (const machine of missing) {
          const row = stored.get(machine.id)
          known.set(machine.id, build(machine, row?.position ?? 0, row?.state as WorkspaceState | undefined))
        }
      }
      return new Map(machines.map(({ id }) => [id, known.get(id) as Workspace]))
    },

    /** Those of the machines that were ever heard. */
    async heard(machines: readonly RegisteredMachine[]): Promise<RegisteredMachine[]> {
      const inMemory = (id: string) => known.has(id) || asleep.has(id)
      const ids = machines.map(({ id }) => id).filter((id) => !inMemory(id))
      const rows =
        ids.length === 0
          ? []
          : await db
              .selectFrom('stage_state')
              .select('machine')
              .where(sql<boolean>`machine = any(${ids}::text[])`)
              .execute()
      const stored = new Set(rows.map(({ machine }) => machine))
      return machines.filter(({ id }) => inMemory(id) || stored.has(id))
    },

    /** Ids of machines to which something may happen without any message: a delay or a backlog was under way. */
    async waiting(): Promise<string[]> {
      const rows = await db.selectFrom('stage_state').select('machine').where('waits', '=', true).execute()
      return rows.map(({ machine }) => machine)
    },

    /** Goes on with what is registered of a machine now. Alarms whose rule is gone are cleared by what is returned. */
    replace(machine: RegisteredMachine) {
      const before = use(machine.id)
      if (!before) return []
      const transitions = before.detector.replaceContext(detectorContext(machine, settings))
      const ledger = hoursLedger(machine.profile, before.ledger.state())
      known.set(machine.id, { ...before, machine, ledger })
      return transitions
    },

    /** Forgets what is in memory; the records have the last good state, and the spool what came since then. */
    forget(ids: Iterable<string>): void {
      for (const id of ids) {
        known.delete(id)
        asleep.delete(id)
      }
    },

    /** Notes that the records do not have what a machine sent from a position on. */
    noteUnsaved({ machine: { id }, news }: Workspace, from: number): void {
      if (!unsaved.has(id)) unsaved.set(id, { from, since: performance.now() })
      if (news !== NO_NEWS) untold.add(id)
    },

    /** Notes that the records have all that these machines sent. */
    noteSaved(workspaces: Iterable<Workspace>): void {
      for (const { machine } of workspaces) unsaved.delete(machine.id)
    },

    /** Notes that the records have what is shown of these machines. */
    noteTold(workspaces: Iterable<Workspace>): void {
      const now = performance.now()
      for (const workspace of workspaces) {
        workspace.news = NO_NEWS
        workspace.newsRecordedAt = now
        untold.delete(workspace.machine.id)
      }
    },

    untoldCount: () => untold.size,

    /** Machines with news that the records do not have, last told before a time, ms of `performance.now()`. */
    untold(before: number): Workspace[] {
      const due: Workspace[] = []
      for (const id of untold) {
        const since = (known.get(id) ?? asleep.get(id))?.newsRecordedAt
        if (since === undefined) untold.delete(id)
        else if (since <= before) due.push(use(id) as Workspace)
      }
      return due
    },

    /**
     * From here on the spool still has what the records have not; undefined: they have everything.
     * @param saved those that the records are about to have
     */
    unsavedFrom(saved: ReadonlySet<Workspace> = new Set()): number | undefined {
      for (const [id, { from }] of unsaved) {
        const workspace = known.get(id)
        if (!workspace || !saved.has(workspace)) return from
      }
      return undefined
    },

    /**
     * The machines that are to be saved next, longest unsaved first.
     *
     * @param due those since before this time, ms of `performance.now()`, or from before this position of the spool
     */
    due({ before, position, atMost }: { before: number; position: number; atMost: number }): Workspace[] {
      const found: Workspace[] = []
      for (const [id, { from, since }] of unsaved) {
        if (found.length === atMost || (since >= before && from >= position)) break
        const workspace = use(id)
        if (workspace) found.push(workspace)
        else unsaved.delete(id)
      }
      return found
    },
  }
}

const ROWS_AT_ONCE = 200

/** Writes workspaces within the transaction that records what they led to. */
export async function saveWorkspaces(trx: Transaction<Database>, workspaces: Iterable<Workspace>): Promise<void> {
  const all = [...workspaces]
  for (let from = 0; from < all.length; from += ROWS_AT_ONCE) {
    const rows = all.slice(from, from + ROWS_AT_ONCE).map((workspace) => {
      const { machine, position } = workspace
      return { machine: machine.id, state: JSON.stringify(stateOf(workspace)), position, waits: waits(workspace) }
    })
    await trx
      .insertInto('stage_state')
      .values(rows)
      .onConflict((conflict) =>
        conflict.column('machine').doUpdateSet(({ ref }) => ({
          state: ref('excluded.state'),
          position: ref('excluded.position'),
          waits: ref('excluded.waits'),
        })),
      )
      .execute()
  }
}
