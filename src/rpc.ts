import type { MessagePort, Worker } from 'node:worker_threads'

type Methods = Record<string, (...args: never[]) => unknown>

/** What the other side offers, seen from here: every method answers with a promise. */
type Remote<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never
}

type Frame =
  | { readonly kind: 'call'; readonly id: number; readonly method: string; readonly args: unknown[] }
  | { readonly kind: 'tell'; readonly method: string; readonly args: unknown[] }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly name: string; readonly message: string }

/** The other thread failed to answer; the message is its own. */
class RemoteFailure extends Error {
  override readonly name: string
  constructor(name: string, message: string) {
    super(message)
    this.name = name
  }
}

export interface Peer<T> {
  /** Asks and awaits the answer. */
  readonly ask: Remote<T>
  /** As `ask`, with memory that is handed over instead of cloned: it is gone here. */
  hand<K extends keyof T & string>(
    memory: readonly ArrayBuffer[],
    method: K,
    ...args: T[K] extends (...args: infer A) => unknown ? A : never
  ): ReturnType<Remote<T>[K]>
  /** Tells without an answer: failures stay on the other side. */
  tell<K extends keyof T & string>(method: K, ...args: T[K] extends (...args: infer A) => unknown ? A : never): void
}

/**
 * Joins two threads: each side offers methods and asks those of the other. Arguments and answers are cloned.
 *
 * @param port one end of a channel, a worker as its parent sees it, or the parent's port
 * @param offered what the other side may ask; may be empty
 */
export function joinThread<T>(port: MessagePort | Worker, offered: Methods): Peer<T> {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  let last = 0
  let ended = false

  async function answer(id: number, method: string, args: unknown[]): Promise<void> {
    try {
      const value = await run(method, args)
      port.postMessage({ kind: 'answer', id, value } satisfies Frame)
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error))
      port.postMessage({ kind: 'failure', id, name, message } satisfies Frame)
    }
  }

  function run(method: string, args: unknown[]): unknown {
    const found = Object.hasOwn(offered, method) ? offered[method] : undefined
    if (!found) throw new Error(`no method '${method}' on this thread`)
    return found(...(args as never[]))
  }

  port.on('message', (frame: Frame) => {
    switch (frame.kind) {
      case 'call':
        void answer(frame.id, frame.method, frame.args)
        return
      case 'tell':
        run(frame.method, frame.args)
        return
      case 'answer':
        waiting.get(frame.id)?.resolve(frame.value)
        break
      case 'failure':
        waiting.get(frame.id)?.reject(new RemoteFailure(frame.name, frame.message))
        break
    }
    waiting.delete(frame.id)
  })
  const abandon = () => {
    ended = true
    for (const { reject } of waiting.values()) reject(new Error('the other thread has ended'))
    waiting.clear()
  }
  port.on('close', abandon)
  port.on('exit', abandon)

  const call = (method: string, args: unknown[], memory: readonly ArrayBuffer[]) =>
    new Promise((resolve, reject) => {
      if (ended) return reject(new Error('the other thread has ended'))
      const id = ++last
      waiting.set(id, { resolve, reject })
      port.postMessage({ kind: 'call', id, method, args } satisfies Frame, memory)
    })
  const ask = new Proxy({} as Remote<T>, {
    get:
      (_, method) =>
      (...args: unknown[]) =>
        call(String(method), args, []),
  })
  return {
    ask,
    hand: ((memory: readonly ArrayBuffer[], method: string, ...args: unknown[]) =>
      call(method, args, memory)) as unknown as Peer<T>['hand'],
    tell: (method, ...args) => port.postMessage({ kind: 'tell', method, args } satisfies Frame),
  }
}
