import { readSync } from 'node:fs'

const BLOCK_BYTES = 4096

/** As `readSync`. */
type Read = (fd: number, target: Buffer, offset: number, length: number, at: number) => number

/**
 * Fills a buffer from a file, around blocks that the disk cannot read (EIO): they are zeros, which no checksum takes for
 * a message. Where nothing at all can be read, the disk is away rather than damaged, and it is for the caller to try again.
 *
 * @param at offset in the file
 * @returns how many bytes there are, fewer at the end of the file
 * @throws what the file system throws
 */
export function readAround(fd: number, target: Buffer, at: number, read: Read = readSync): number {
  try {
    return readAll(fd, target, at, read)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error
    return readBlocks(fd, target, at, read, error)
  }
}

function readAll(fd: number, target: Buffer, at: number, read: Read): number {
  let length = 0
  while (length < target.length) {
    const bytes = read(fd, target, length, target.length - length, at + length)
    if (bytes === 0) break
    length += bytes
  }
  return length
}

function readBlocks(fd: number, target: Buffer, at: number, read: Read, failure: unknown): number {
  let readable = 0
  for (let from = 0; from < target.length; ) {
    const to = Math.min(target.length, from + BLOCK_BYTES - ((at + from) % BLOCK_BYTES))
    const block = target.subarray(from, to)
    try {
      const length = readAll(fd, block, at + from, read)
      readable += length
      if (length < block.length) return from + length
    } catch {
      block.fill(0)
    }
    from = to
  }
  if (readable === 0) throw failure
  return target.length
}
