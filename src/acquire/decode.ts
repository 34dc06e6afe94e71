import type { Codec, Decoded } from './message.ts'

/** What the first codec that speaks the topic makes of a message. Never throws. */
export function decode(codecs: readonly Codec[], topic: string, payload: Buffer): Decoded {
  for (const codec of codecs) {
    const decoded = codec.decode(topic, payload)
    if (decoded) return decoded
  }
  return { kind: 'undecodable', reason: 'topic', detail: 'nobody listens to this topic' }
}
