/** How the spool stands, for probes, metrics and people. */
export interface SpoolStatus {
  /** false: nothing is acknowledged, because the disk fails or the budget is used up. */
  readonly acknowledging: boolean
  /** Of the files that are not worked off. */
  readonly waitingBytes: number
  /** Of the files that are kept although they are worked off. */
  readonly historyBytes: number
  readonly budgetBytes: number
  /** What is to be seen to. */
  readonly note: string | undefined
}

interface SpoolState {
  readonly waitingBytes: number
  readonly historyBytes: number
  readonly budgetBytes: number
  /** Of the disk. */
  readonly freeBytes: number
  /** Why nothing more is written: the budget is used up, or what is left of the disk is for others. */
  readonly held: 'budget' | 'disk' | undefined
  /** Of the last write. */
  readonly failure: Error | undefined
  /** For how long the disk has not answered. */
  readonly silentMs: number
}

const WARN_AT = 0.8
const LOW_DISK_BYTES = 128 << 20
const SILENT_MS = 3_000

export function describeSpool(state: SpoolState): SpoolStatus {
  const { waitingBytes, historyBytes, budgetBytes } = state
  const acknowledging = !state.held && !state.failure && state.silentMs < SILENT_MS
  return { acknowledging, waitingBytes, historyBytes, budgetBytes, note: noteOf(state) }
}

function noteOf(state: SpoolState): string | undefined {
  const { waitingBytes, historyBytes, budgetBytes, freeBytes, held, failure, silentMs } = state
  if (failure) return `cannot be written: ${failure.message}. Nothing is acknowledged; it is tried again each second`
  if (silentMs >= SILENT_MS)
    return `the disk has not answered for ${Math.round(silentMs / 1000)} s. Nothing is acknowledged until it does`
  const filling = `${size(waitingBytes)} of OUTRIGGER_SPOOL_BYTES (${size(budgetBytes)}) wait to be stored`
  if (held === 'disk')
    return `the disk has ${size(freeBytes)} left, which the store and the records need to work off ${size(waitingBytes)} of the spool. Nothing is acknowledged until there is more`
  if (held) return `full: ${filling}. Nothing is acknowledged until there is room`
  if (waitingBytes >= budgetBytes * WARN_AT)
    return `${percent(waitingBytes, budgetBytes)} full: ${filling}. At 100 % acknowledgements stop`
  const left = freeBytes + historyBytes
  const reachable = waitingBytes + left
  if (waitingBytes >= reachable * WARN_AT || left < Math.min(LOW_DISK_BYTES, budgetBytes))
    return `the disk has ${size(freeBytes)} left. When it is full, acknowledgements stop`
  return undefined
}

function percent(part: number, whole: number): string {
  return `${Math.floor((part / whole) * 100)} %`
}

/** Bytes for people: `3.2 GiB`. */
function size(bytes: number): string {
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(1)} GiB`
  return bytes >= 2 ** 20 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${Math.round(bytes / 1024)} KiB`
}
