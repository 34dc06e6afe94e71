/** A message that somebody hears of when it is durable. */
export interface HeardMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly retained: boolean
}

/** Messages of one connection that become durable together. */
export interface MessageGroup {
  /** Shared by all of them. */
  readonly durable: Promise<void>
  /** Packet ids to acknowledge, in order of arrival. */
  readonly ids: number[]
  bytes: number
  readonly heard: HeardMessage[]
}

/**
 * What a connection has sent that is not durable yet. Messages that were accepted with one promise are one group, with one
 * callback for all of them; groups become durable in order.
 */
export class UndurableMessages {
  #bytes = 0
  readonly #groups: MessageGroup[] = []
  readonly #onDurable: () => void
  readonly #onFailed: (error: Error) => void

  constructor(durable: (group: MessageGroup) => void, failed: (error: Error) => void) {
    this.#onFailed = failed
    this.#onDurable = () => {
      const group = this.#groups.shift()
      if (!group) return
      this.#bytes -= group.bytes
      durable(group)
    }
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @returns the group of a message of so many bytes */
  add(durable: Promise<void>, bytes: number): MessageGroup {
    let group = this.#groups.at(-1)
    if (group?.durable !== durable) {
      group = { durable, ids: [], bytes: 0, heard: [] }
      this.#groups.push(group)
      durable.then(this.#onDurable, this.#onFailed)
    }
    group.bytes += bytes
    this.#bytes += bytes
    return group
  }
}

/** One PUBACK for each packet id. */
export function acknowledgements(ids: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(ids.length * 4)
  let at = 0
  for (const id of ids) {
    bytes[at++] = 0x40
    bytes[at++] = 2
    bytes[at++] = id >> 8
    bytes[at++] = id & 255
  }
  return bytes
}
