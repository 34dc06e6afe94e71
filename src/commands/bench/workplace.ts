import { type ChildProcess, fork, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** What one run of the benchmark holds: a temporary folder, and the processes that it has started. */
export interface Workplace {
  /** Aborted when somebody stops the run. */
  readonly signal: AbortSignal
  /** Awaits a step, but no longer than until somebody stops the run. */
  unlessStopped<T>(step: Promise<T>): Promise<T>
  /** Makes a folder in the temporary one. */
  folder(name: string): Promise<string>
  /** Starts a program of ours: an entry of `bin/run.mjs`. */
  fork(entry: string): ChildProcess
  spawn(command: string, args: readonly string[], options: SpawnOptions): ChildProcess
  /** Asks a process to end, and ends it when it does not. */
  stop(child: ChildProcess): Promise<void>
  /** Waits for an answer, asking every so often. @throws when it has not come in time, saying what was `awaited` */
  until<T>(ask: () => Promise<T | undefined>, wait: { awaited: string; ms: number; everyMs?: number }): Promise<T>
  /** Ends all processes at once. */
  killAll(): void
  /** Ends what still runs and removes the folder. */
  close(): Promise<void>
}

const STOP_MS = 10_000

export async function openWorkplace(signal: AbortSignal): Promise<Workplace> {
  const root = await mkdtemp(join(tmpdir(), 'outrigger-bench-'))
  await chmod(root, 0o755) // or root's PostgreSQL, under its own account, would keep the records elsewhere
  const children = new Set<ChildProcess>()
  const stopped = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  stopped.catch(() => {}) // told to whoever waits

  function follow(child: ChildProcess): ChildProcess {
    children.add(child)
    child.once('exit', () => children.delete(child))
    child.once('error', () => children.delete(child)) // it could not be started; its user sees that by its exit code
    return child
  }

  async function stop(child: ChildProcess): Promise<void> {
    if (!children.has(child)) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await ended
    clearTimeout(late)
  }

  return {
    signal,
    unlessStopped: (step) => Promise.race([step, stopped]),
    async folder(name) {
      const folder = join(root, name)
      await mkdir(folder)
      return folder
    },
    fork: (entry) =>
      // detached: Ctrl-C reaches us alone, and we end the others
      follow(fork(new URL(`./${entry}.js`, import.meta.url), { detached: true, serialization: 'advanced' })),
    spawn: (command, args, options) => follow(spawn(command, args, { ...options, detached: true })),
    stop,
    async until(ask, { awaited, ms, everyMs = 50 }) {
      const end = performance.now() + ms
      for (;;) {
        signal.throwIfAborted()
        const answer = await ask()
        if (answer !== undefined) return answer
        if (performance.now() > end) throw new Error(`${awaited}: not within ${Math.round(ms / 1000)} s`)
        await delay(everyMs, undefined, { signal })
      }
    },
    killAll() {
      for (const child of children) child.kill('SIGKILL')
    },
    async close() {
      await Promise.all([...children].map(stop))
      await rm(root, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
