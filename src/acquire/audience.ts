import { parseTopic } from './topics.ts'

/** Who subscribed to what machines send. Most subscribers are cabs that wait for their own advice, and cost nothing. */
export interface Audience {
  add(client: string, subscriptions: readonly { readonly topic: string }[]): void
  remove(client: string, filters: readonly string[]): void
  listens(): boolean
}

export function openAudience(prefix: string): Audience {
  const filters = new Map<string, Set<string>>() // by client id; a lasting session stays in it while it is away
  return {
    add(client, subscriptions) {
      for (const { topic } of subscriptions) {
        if (parseTopic(topic, prefix)?.kind === 'advice' || topic.startsWith('$')) continue
        const known = filters.get(client) ?? new Set()
        filters.set(client, known.add(topic))
      }
    },
    remove(client, topics) {
      const known = filters.get(client)
      for (const topic of topics) known?.delete(topic)
      if (known?.size === 0) filters.delete(client)
    },
    listens: () => filters.size > 0,
  }
}
