/** The topics that a client used last, recognised by their bytes: each is checked and made a text once. */
export interface KnownTopics {
  /** The topic that stands from `from` to `to`; undefined: not one of them. */
  find(bytes: Buffer, from: number, to: number): string | undefined
  add(bytes: Uint8Array, text: string): void
}

/** A machine has three, a gateway one. */
const KEPT = 4

export function openKnownTopics(): KnownTopics {
  const topics: { readonly bytes: Uint8Array; readonly text: string }[] = []
  let next = 0
  return {
    find(bytes, from, to) {
      for (const known of topics) if (isSame(known.bytes, bytes, from, to)) return known.text
      return undefined
    },
    add(bytes, text) {
      topics[next] = { bytes, text }
      next = (next + 1) % KEPT
    },
  }
}

function isSame(known: Uint8Array, bytes: Buffer, from: number, to: number): boolean {
  if (known.length !== to - from) return false
  for (let i = known.length - 1; i >= 0; i--) if (known[i] !== bytes[from + i]) return false // their ends differ first
  return true
}
