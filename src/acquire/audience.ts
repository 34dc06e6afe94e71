/** Who subscribed to what machines send. Most subscribers are cabs that wait for their own advice, and cost nothing. */
export interface Audience {
  /** What was not granted has the QoS 128. */
  add(client: string, subscriptions: readonly { readonly topic: string; readonly qos: number }[]): void
  remove(client: string, filters: readonly string[]): void
  listens(): boolean
}

const REFUSED = 128

/** @param prefix of all topics, see `parseTopic` */
export function openAudience(prefix: string): Audience {
  const filters = new Map<string, Set<string>>() // by client id; a lasting session stays in it while it is away
  return {
    add(client, subscriptions) {
      for (const { topic, qos } of subscriptions) {
        if (qos === REFUSED || (topic.startsWith(`${prefix}machines/`) && topic.endsWith('/advice'))) continue
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
