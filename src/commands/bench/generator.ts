import { once } from 'node:events'
import type { GeneratorNotice, Load, LoadOutcome } from './load.ts'
import type { Workplace } from './workplace.ts'

/** The process that publishes, as seen from the benchmark's. */
export interface Generator {
  readonly pid: number
  /**
   * Publishes a load.
   *
   * @param onStarted all connections stand, the first message is about to go
   * @param onStopped nothing more is published; what is due is still awaited
   * @throws {Error} connections failed before the start, or the run is stopped
   */
  run(load: Load, on?: { started?: () => void; stopped?: () => void }): Promise<LoadOutcome>
}

export async function startGenerator(workplace: Workplace): Promise<Generator> {
  const child = workplace.fork('bench-generator')
  const ended = once(child, 'exit').then(() => {
    throw new Error('the generator has ended')
  })
  ended.catch(() => {})
  await workplace.unlessStopped(Promise.race([once(child, 'message'), ended]))

  async function run(load: Load, on: { started?: () => void; stopped?: () => void } = {}): Promise<LoadOutcome> {
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
    return workplace.unlessStopped(Promise.race([outcome, ended]))
  }
  return { pid: child.pid as number, run }
}
