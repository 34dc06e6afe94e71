import type { Kysely } from 'kysely'
import type { Log } from '../log.ts'
import { type ClockPolicies, followClockPolicies } from '../machines/clock-policies.ts'
import type { Database } from '../records/tables.ts'
import { type ClockBook, type DeviceJump, openClockBook } from './clock-book.ts'
import { recordJumps, restoreClocks, saveClocks } from './clock-records.ts'
import { type ClockView, type ClockViewQuery, viewClocks } from './clock-view.ts'
import type { DeviceClock } from './device-clock.ts'
import type { HostVerdict } from './host-clock.ts'

/** What is known of the clocks of devices, and of our own, joined with the records. */
export interface Clocks extends Pick<ClockBook, 'judge' | 'hasNoClock' | 'heardTo' | 'reconsider' | 'receiptsStepped'> {
  /** Takes over policies that were changed. */
  refresh(): Promise<void>
  /** To be called every few seconds: judges our own clock, records jumps, and saves what is known from time to time. */
  keep(): Promise<void>
  /** Saves what is known of all. */
  save(): Promise<void>
  /** As of the last `keep`. */
  host(): HostVerdict
  view(query: ClockViewQuery): ClockView[]
}

export interface ClocksOptions {
  /** The machine that a device speaks for at an instant. */
  readonly machineOf: (device: string, at: number) => string
  readonly log: Log
}

const SAVE_TURNS = 60 // at five seconds each, everything within five minutes

/** Reads policies and what was known of clocks. */
export async function openClocks(db: Kysely<Database>, { machineOf, log }: ClocksOptions): Promise<Clocks> {
  const policies: ClockPolicies = await followClockPolicies(db)
  const book = openClockBook(policies, await restoreClocks(db))
  let host = book.host()
  let unsaved: (readonly [device: string, clock: DeviceClock])[] = []
  let portion = 0
  let unrecorded: DeviceJump[] = []

  /** A part of them in each turn, so that nothing waits for a whole fleet to be written. */
  async function saveSome(): Promise<void> {
    if (unsaved.length === 0) {
      unsaved = heard()
      portion = Math.ceil(unsaved.length / SAVE_TURNS)
    }
    await saveClocks(db, unsaved.splice(0, portion))
  }

  const heard = () => Array.from(book.clocks()).filter(([, clock]) => !Number.isNaN(clock.heardAt))

  function judgeHost(): void {
    const before = host
    host = book.host()
    if (host.warning !== undefined && before.warning === undefined) log.warn({ host }, host.warning)
    if (host.warning === undefined && before.warning !== undefined)
      log.info({ host }, 'devices agree with our clock again')
  }

  return {
    judge: book.judge,
    hasNoClock: book.hasNoClock,
    heardTo: book.heardTo,
    reconsider: book.reconsider,
    receiptsStepped: book.receiptsStepped,
    async refresh() {
      for (const device of await policies.refresh()) book.restart(device)
    },
    async keep() {
      judgeHost()
      unrecorded.push(...book.takeJumps())
      if (unrecorded.length > 0) await recordJumps(db, unrecorded, machineOf)
      unrecorded = []
      await saveSome()
    },
    save: () => saveClocks(db, heard()),
    host: () => host,
    view: (query) => viewClocks(book, policies, { machineOf, ...query }),
  }
}
