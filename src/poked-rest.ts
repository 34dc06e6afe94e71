import { setTimeout as delay } from 'node:timers/promises'

/** Rests that end early when there is something to do; what is said between two of them ends the next at once. */
export interface PokedRest {
  poke(): void
  rest(ms: number): Promise<void>
}

export function pokedRest(): PokedRest {
  let wake = new AbortController()
  let poked = false
  return {
    poke() {
      poked = true
      wake.abort()
    },
    async rest(ms) {
      if (!poked) await delay(ms, undefined, { signal: wake.signal }).catch(() => {})
      poked = false
      wake = new AbortController()
    },
  }
}
