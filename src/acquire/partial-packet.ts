const FIRST_BYTES = 4096
/** A packet of which so much has come will come whole: its memory is taken at once. */
const EARNEST_BYTES = 1 << 20

/** A packet that comes in pieces. It takes no more memory than about twice of what has come, whatever it announces. */
export class PartialPacket {
  #buffer: Buffer
  #length: number
  #wanted: number

  /** @param wanted how many bytes are to be gathered; it begins with what the chunk has from `at` on */
  constructor(chunk: Buffer, at: number, wanted: number) {
    this.#length = chunk.length - at
    this.#wanted = wanted
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(this.#length, Math.min(wanted, FIRST_BYTES)))
    chunk.copy(this.#buffer, 0, at)
  }

  /** Its bytes so far stand from 0 to `length`. */
  get bytes(): Buffer {
    return this.#buffer
  }

  get length(): number {
    return this.#length
  }

  /** Whether all that is wanted is here. */
  get isComplete(): boolean {
    return this.#length === this.#wanted
  }

  /** Its length is known now, or one byte more is needed to know it. */
  want(bytes: number): void {
    this.#wanted = bytes
  }

  /** Takes from the chunk what it wants. @returns how many bytes that was */
  take(chunk: Buffer, at: number): number {
    const bytes = Math.min(this.#wanted - this.#length, chunk.length - at)
    this.#makeRoom(this.#length + bytes)
    chunk.copy(this.#buffer, this.#length, at, at + bytes)
    this.#length += bytes
    return bytes
  }

  #makeRoom(needed: number): void {
    if (needed <= this.#buffer.length) return
    const size = needed > EARNEST_BYTES ? this.#wanted : Math.min(this.#buffer.length * 2, this.#wanted)
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, size))
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}
