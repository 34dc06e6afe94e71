/** Who subscribed to what machines send. Most subscribers are cabs that wait for their own advice, and cost nothing. */
export interface Audience {
  /** What was not granted has the QoS 128. */
  add(listener: unknown, subscriptions: readonly { readonly topic: string; readonly qos: number }[]): void
  remove(listener: unknown, filters: readonly string[]): void
  forget(listener: unknown): void
  listens(): boolean
}

const REFUSED = 128

/** @param prefix of all topics, see `parseTopic` */
export function openAudience(prefix: string): Audience {
  const filters = new Map<unknown, Set<string>>()
  return {
    add(listener, subscriptions) {
      for (const { topic, qos } of subscriptions) {
        if (qos === REFUSED || (topic.startsWith(`${prefix}machines/`) && topic.endsWith('/advice'))) continue
        const known = filters.get(listener) ?? new Set()
        filters.set(listener, known.add(topic))
      }
    },
    remove(listener, topics) {
      const known = filters.get(listener)
      for (const topic of topics) known?.delete(topic)
      if (known?.size === 0) filters.delete(listener)
    },
    forget: (listener) => void filters.delete(listener),
    listens: () => filters.size > 0,
  }
}
