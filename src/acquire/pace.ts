/** Messages that may be taken now; more of them as time passes. */
export interface Pace {
  /** Takes one. @returns 0, or for how many ms none can be taken */
  take(): number
}

/**
 * Lets through so many a second; who was silent for a second may send as many at once. It begins empty, so that nobody
 * gains by coming anew.
 */
export function openPace(perSecond: number): Pace {
  const most = Math.max(1, perSecond)
  let left = 1
  let filledAt = performance.now()
  return {
    take() {
      if (left < 1) {
        const now = performance.now()
        left = Math.min(most, left + ((now - filledAt) / 1000) * perSecond)
        filledAt = now
      }
      if (left < 1) return Math.ceil(((1 - left) / perSecond) * 1000)
      left--
      return 0
    },
  }
}
