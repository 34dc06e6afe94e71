import { type Kysely, sql, type Transaction } from 'kysely'
import type { LateRange } from './detect/late-ranges.ts'
import {
  type DetectorContext,
  type DetectorState,
  type MachineDetector,
  machineDetector,
} from './detect/machine-detector.ts'
import { type HoursLedger, hoursLedger, type LedgerState } from './features/hours-ledger.ts'
import type { RegisteredMachine } from './machines/registry.ts'
import type { Database } from './records/tables.ts'

/** What the stages keep of one machine between its messages. */
export interface Workspace {
  readonly machine: RegisteredMachine
  readonly detector: MachineDetector
  readonly ledger: HoursLedger
  /** Times of the past that are to be judged again. */
  late: readonly LateRange[]
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

/** What of a `WorkspaceState` goes on with time alone. */
const WAITS =
  '$ ? (exists(@.late[*]) || exists(@.detector.pending[*]) || exists(@.detector.rules.*.levels.*) || exists(@.detector.faults.codes.*))'

/** Workspaces of the machines that were heard; those not in memory are read from the records. */
export function openWorkspaces(db: Kysely<Database>, settings: WorkspaceSettings) {
  const known = new Map<string, Workspace>()

  function build(machine: RegisteredMachine, state?: WorkspaceState): Workspace {
    return {
      machine,
      detector: machineDetector(detectorContext(machine, settings), state?.detector),
      ledger: hoursLedger(machine.profile, state?.ledger),
      late: state?.late ?? [],
    }
  }

  return {
    /** Those in memory. */
    all: () => known.values(),

    has: (id: string) => known.has(id),

    /** Brings the machines' workspaces into memory. */
    async load(machines: readonly RegisteredMachine[]): Promise<Map<string, Workspace>> {
      const missing = machines.filter(({ id }) => !known.has(id))
      if (missing.length > 0) {
        const ids = missing.map(({ id }) => id)
        // one parameter, however many they are: a statement has at most 65,535
        const rows = await db
          .selectFrom('stage_state')
          .selectAll()
          .where(sql<boolean>`machine = any(${ids}::text[])`)
          .execute()
        const states = new Map(rows.map(({ machine, state }) => [machine, state as unknown as WorkspaceState]))
        for (const machine of missing) known.set(machine.id, build(machine, states.get(machine.id)))
      }
      return new Map(machines.map(({ id }) => [id, known.get(id) as Workspace]))
    },

    /** Those of the machines that were ever heard. */
    async heard(machines: readonly RegisteredMachine[]): Promise<RegisteredMachine[]> {
      const ids = machines.map(({ id }) => id).filter((id) => !known.has(id))
      const rows =
        ids.length === 0
          ? []
          : await db
              .selectFrom('stage_state')
              .select('machine')
              .where(sql<boolean>`machine = any(${ids}::text[])`)
              .execute()
      const stored = new Set(rows.map(({ machine }) => machine))
      return machines.filter(({ id }) => known.has(id) || stored.has(id))
    },

    /** Ids of machines to which something may happen without any message: a delay or a backlog was under way. */
    async waiting(): Promise<string[]> {
      const rows = await db
        .selectFrom('stage_state')
        .select('machine')
        .where(sql<boolean>`jsonb_path_exists(state, ${WAITS}::jsonpath)`)
        .execute()
      return rows.map(({ machine }) => machine)
    },

    /** Goes on with what is registered of a machine now. Alarms whose rule is gone are cleared by what is returned. */
    replace(machine: RegisteredMachine) {
      const before = known.get(machine.id)
      if (!before) return []
      const transitions = before.detector.replaceContext(detectorContext(machine, settings))
      const ledger = hoursLedger(machine.profile, before.ledger.state())
      known.set(machine.id, { ...before, machine, ledger })
      return transitions
    },

    /** Forgets what was changed in memory and not recorded; the records have the last good state. */
    forget(ids: Iterable<string>): void {
      for (const id of ids) known.delete(id)
    },
  }
}

const ROWS_AT_ONCE = 200

/** Writes workspaces within the transaction that records what they led to. */
export async function saveWorkspaces(trx: Transaction<Database>, workspaces: Iterable<Workspace>): Promise<void> {
  const all = [...workspaces]
  for (let from = 0; from < all.length; from += ROWS_AT_ONCE) {
    const rows = all.slice(from, from + ROWS_AT_ONCE).map(({ machine, detector, ledger, late }) => ({
      machine: machine.id,
      state: JSON.stringify({ detector: detector.state(), ledger: ledger.state(), late } satisfies WorkspaceState),
    }))
    await trx
      .insertInto('stage_state')
      .values(rows)
      .onConflict((conflict) => conflict.column('machine').doUpdateSet(({ ref }) => ({ state: ref('excluded.state') })))
      .execute()
  }
}
