import { once } from 'node:events'
import type { GeneratorNotice, Load, LoadOutcome } from './load.ts'
import type { Workplace } from './workplace.ts'

/** The process that publishes, as seen from the benchmark's. */
export interface Generator {
  /**
   * Publishes a load, when the one before it has ended.
   *
   * @throws {Error} connections failed before the start, or the run is stopped
   */
  run(load: Load, on?: LoadListeners): Promise<LoadOutcome>
}

export interface LoadListeners {
  /** All connections stand, the first message is about to go. */
  readonly started?: () => void
  /** Nothing more is published; what is due is still awaited. */
  readonly stopped?: () => void
}

export async function startGenerator(workplace: Workplace): Promise<Generator> {
  const child = workplace.fork('bench-generator')
  const ended = once(child, 'exit').then(() => {
    throw new Error('the generator has ended')
  })
  ended.catch(() => {})
  await workplace.unlessStopped(Promise.race([once(child, 'message'), ended]))

  function publish(load: Load, on: LoadListeners): Promise<LoadOutcome> {
    const outcome = new Promise<LoadOutcome>((resolve, reject) => {
      child.on('message', function listen(notice: GeneratorNotice) {
        if (notice.kind === 'started') return on.started?.()
        if (notice.kind === 'stopped') return on.stopped?.()
        child.off('message', listen)
        if (notice.kind === 'outcome') resolve(notice.outcome)
        if (notice.kind === 'failed') reject(new Error(notice.reason))
      })
    })
    child.send(load)
    return Promise.race([outcome, ended])
  }

  let last: Promise<unknown> = Promise.resolve()
  return {
    run(load, on = {}) {
      // a part whose time is over may have left its load behind
      const outcome = last.then(() => publish(load, on))
      last = outcome.catch(() => {})
      return workplace.unlessStopped(outcome)
    },
  }
}
