/**
 * The time of receipt: the host's clock, but for its steps back. Those would make what devices send seem to come from the
 * future, so receipts go on by the time before, until the devices say that the host is right.
 */
export interface ReceiptClock {
  /**
   * @param wall what the host's clock shows now, epoch ms
   * @returns epoch ms; not less than before, unless the host was found right after a step back
   */
  at(wall: number): number
  /** Receipts were known up to here before a restart: the host's clock may have been put back meanwhile. */
  startFrom(receivedAt: number): void
  /**
   * To be called every few seconds.
   * @param devicesMs how far the devices are ahead of receipts, as their median; undefined: none is heard
   */
  heed(devicesMs: number | undefined): void
  /** How far receipts are ahead of the host's clock, ms, after a step back; 0: they follow it. */
  lead(): number
}

export interface ReceiptClockOptions {
  readonly wall: () => number
  /** A clock that nobody can put forward or back, ms. */
  readonly monotonic: () => number
  /** Receipts were put forward by so much, or back where it is negative. */
  readonly onStep: (at: number, byMs: number) => void
  /** The host's clock was put back, and receipts go on. */
  readonly onStepBack: (byMs: number) => void
}

/** A difference that is no step, but two clocks that run unlike: made up for by running slower. */
const STEP_MS = 1_000
const SLOWER = 0.01
/** Where no device says who is right, the host's clock is followed after so long. */
const PATIENCE_MS = 10 * 60_000
/** Of receipts before a restart that are further ahead, it is they that were wrong. */
const MOST_RESTART_MS = 3_600_000

export function openReceiptClock({ wall, monotonic, onStep, onStepBack }: ReceiptClockOptions): ReceiptClock {
  let ahead = wall() - monotonic() // of receipts over the monotonic clock
  let steppedAt: number | undefined // when the host's clock was put back, monotonic
  let lead = 0
  let wallBefore = Number.NaN
  let monotonicBefore = monotonic()
  let receipt = wall()

  function at(now: number): number {
    if (now === wallBefore) return receipt // one chunk of a socket has many messages
    wallBefore = now
    const ticks = monotonic()
    follow(now - ticks, ticks)
    receipt = Math.max(receipt, Math.floor(ticks + ahead))
    return receipt
  }

  function follow(hostAhead: number, ticks: number): void {
    const passed = ticks - monotonicBefore
    monotonicBefore = ticks
    lead = Math.max(0, ahead - hostAhead)
    if (lead > STEP_MS) {
      if (steppedAt === undefined) onStepBack(lead)
      steppedAt ??= ticks
      return
    }
    steppedAt = undefined
    const forward = hostAhead - ahead
    ahead = forward > 0 ? hostAhead : ahead - Math.min(lead, passed * SLOWER)
    if (forward > STEP_MS) onStep(receipt, forward)
  }

  return {
    at,
    startFrom(receivedAt) {
      const now = wall()
      if (receivedAt > now && receivedAt - now <= MOST_RESTART_MS) ahead = receivedAt - monotonic()
      wallBefore = Number.NaN
      at(now)
    },
    heed(devicesMs) {
      at(wall())
      if (steppedAt === undefined) return
      const hostIsRight =
        devicesMs === undefined
          ? monotonic() - steppedAt > PATIENCE_MS
          : Math.abs(devicesMs + lead) < Math.abs(devicesMs)
      if (!hostIsRight) return
      const by = lead
      ahead -= lead
      lead = 0
      steppedAt = undefined
      receipt = wall()
      onStep(receipt, -by)
    },
    lead: () => (steppedAt === undefined ? 0 : lead),
  }
}
