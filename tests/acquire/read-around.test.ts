import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readAround } from '../../src/acquire/read-around.ts'
import { temporaryFolder } from './spool-case.ts'

const BLOCK = 4096
const content = Buffer.from(Array.from({ length: 10 * BLOCK + 100 }, (_, i) => 1 + (i % 250)))

/** A file on a disk whose blocks `bad` cannot be read. */
function fileWith(bad: readonly number[]) {
  const path = join(temporaryFolder(), 'file')
  writeFileSync(path, content)
  const fd = openSync(path, 'r')
  onTestFinished(() => closeSync(fd))
  const read = (file: number, target: Buffer, offset: number, length: number, start: number) => {
    const first = Math.floor(start / BLOCK)
    const last = Math.floor((start + length - 1) / BLOCK)
    if (bad.some((block) => block >= first && block <= last))
      throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
    return readSync(file, target, offset, length, start)
  }
  return { fd, read }
}

for (const { name, bad, at, length } of [
  { name: 'a disk without faults', bad: [], at: 0, length: content.length },
  { name: 'blocks that cannot be read', bad: [3, 4, 8], at: 0, length: content.length },
  { name: 'a stretch that begins and ends within blocks', bad: [2], at: BLOCK + 17, length: 3 * BLOCK },
  { name: 'more than the file has', bad: [0], at: 5, length: 2 * content.length },
])
  test(`what can be read is read, the rest is zeros: ${name}`, () => {
    const { fd, read } = fileWith(bad)
    const expected = Buffer.from(content)
    for (const block of bad) expected.fill(0, block * BLOCK, (block + 1) * BLOCK)
    const target = Buffer.alloc(length, 0xff)
    const bytes = readAround(fd, target, at, read)
    expect(bytes).toBe(Math.min(length, content.length - at))
    expect(target.subarray(0, bytes)).toEqual(expected.subarray(at, at + bytes))
  })

test('a disk of which nothing can be read is away, which is no damage', () => {
  const { fd, read } = fileWith([0, 1])
  expect(() => readAround(fd, Buffer.alloc(2 * BLOCK), 0, read)).toThrow('EIO')
})
