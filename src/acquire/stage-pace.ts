/**
 * Holds taking-in to the pace of the stages behind the spool while they are far behind: on a small machine, taking in at full
 * speed would take the processor from them, and alarms would come later and later. What they were behind already, because
 * the store was away or the service was down, is no reason to hold: live machines are taken in while it is worked off.
 */
export interface StagePace {
  /** Whether nothing more should be read now. */
  holds(): boolean
  /** The stages are done with everything before this position of the spool. */
  progress(position: number): void
  /** Has the listener called when there is room again. */
  onRoom(listener: () => void): void
  stop(): void
}

export interface StagePaceOptions {
  /** Position up to which messages are durable. */
  readonly committed: () => number
  /** Position up to which the stages are done when it begins. */
  readonly worked: number
  /** So far the stages may be behind, bytes of the spool. */
  readonly lagBytes: number
  /** Stages that have not moved for so long are stuck, and hold up nobody. */
  readonly stuckMs?: number
}

/** Of what the stages work off, so much is taken from what they are behind. */
const CATCH_UP_SHARE = 0.2

export function openStagePace({ committed, worked: start, lagBytes, stuckMs = 1_000 }: StagePaceOptions): StagePace {
  const listeners: (() => void)[] = []
  let worked = start
  let allowed = lagBytes + Math.max(0, committed() - start)
  let movedAt = Number.NEGATIVE_INFINITY

  const isStuck = () => performance.now() - movedAt >= stuckMs
  const tell = () => {
    for (const listener of listeners) listener()
  }
  const watch = setInterval(() => {
    const behind = committed() - worked
    if (!isStuck() || behind + lagBytes <= allowed) return
    allowed = behind + lagBytes
    tell()
  }, stuckMs).unref()

  return {
    holds: () => committed() - worked >= allowed,
    progress(position) {
      if (position <= worked) return
      allowed = Math.max(lagBytes, allowed - (position - worked) * CATCH_UP_SHARE)
      worked = position
      movedAt = performance.now()
      if (committed() - worked < allowed) tell()
    },
    onRoom: (listener) => void listeners.push(listener),
    stop: () => clearInterval(watch),
  }
}
