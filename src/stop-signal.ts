/** npm passes on the Ctrl-C that the terminal has sent us already: within this time, two signals are one. */
const SAME_SIGNAL_MS = 1_000

/** Calls `stop` at the first Ctrl-C or SIGTERM, and `endAtOnce` at the next one. */
export function onStopSignal(stop: () => void, endAtOnce: () => void): void {
  let stoppingSince: number | undefined
  const onSignal = () => {
    if (stoppingSince === undefined) {
      stoppingSince = performance.now()
      stop()
    } else if (performance.now() - stoppingSince > SAME_SIGNAL_MS) endAtOnce()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
}
