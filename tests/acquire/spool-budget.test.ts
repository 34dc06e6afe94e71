import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, onTestFinished, test, vi } from 'vitest'
import { readCheckpoint, writeCheckpoint } from '../../src/acquire/checkpoint.ts'
import type { Spool } from '../../src/acquire/spool.ts'
import { incoming, readAll, spoolIn, temporaryFolder, texts, unsyncedDisk } from './spool-case.ts'

const KIB = 1024

function bytesIn(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
}

/** Appends one after another until the spool takes no more. @returns what it took, and what waits */
async function fill(spool: Spool, bytes: number): Promise<{ taken: string[]; waiting: Promise<void>; text: string }> {
  const taken: string[] = []
  for (let i = 0; ; i++) {
    const text = `${i}`.padStart(bytes, '.')
    const waiting = spool.append(incoming(text))
    let durable = false
    waiting.then(
      () => {
        durable = true
      },
      () => {}, // closed by the end of the test
    )
    while (!durable && spool.status().acknowledging) await new Promise((done) => setImmediate(done))
    if (!durable) return { taken, waiting, text }
    taken.push(text)
  }
}

test('the budget used up: nothing is acknowledged or dropped, and with room it goes on by itself', async () => {
  const folder = temporaryFolder()
  const budgetBytes = 256 * KIB
  const spool = await spoolIn(folder, { budgetBytes })
  const { taken, waiting, text } = await fill(spool, 4_000)
  const { note, waitingBytes } = spool.status()
  expect(note).toMatch(/^full: .* of OUTRIGGER_SPOOL_BYTES \(256 KiB\)/)
  expect(waitingBytes).toBeGreaterThan(budgetBytes * 0.95)
  expect(bytesIn(folder)).toBeLessThanOrEqual(budgetBytes)

  // one segment that is worked off makes no room to speak of, three do
  const { messages } = readAll(folder, spool.committed)
  const segmentOf = (share: number) => messages[Math.floor(messages.length * share)]?.position ?? 0
  await spool.release(segmentOf(0.02))
  expect(spool.status().acknowledging).toBe(false)
  await spool.release(segmentOf(0.2))
  await waiting
  expect(spool.status()).toMatchObject({ acknowledging: true, note: expect.stringMatching(/^8\d % full/) })
  const rest = texts(readAll(folder, spool.committed, segmentOf(0.2)).messages)
  expect(rest).toEqual([...taken, text].slice(-rest.length))
  await spool.release(spool.committed)
  expect(spool.status().note).toBeUndefined()
})

test('from 80 % of the budget on, a note says how full it is', async () => {
  const spool = await spoolIn(temporaryFolder(), { budgetBytes: 256 * KIB })
  const notes = new Set<string | undefined>()
  for (let i = 0; i < 60; i++) {
    await spool.append(incoming('x'.repeat(4_000)))
    const { note, waitingBytes } = spool.status()
    expect(note !== undefined).toBe(waitingBytes >= 0.8 * 256 * KIB)
    notes.add(note)
  }
  expect([...notes]).toContain(
    '81 % full: 208 KiB of OUTRIGGER_SPOOL_BYTES (256 KiB) wait to be stored. At 100 % acknowledgements stop',
  )
})

test('the history makes way before acknowledgements stop', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, { budgetBytes: 256 * KIB, historyBytes: 200 * KIB })
  for (let i = 0; i < 45; i++) await spool.append(incoming('x'.repeat(4_000)))
  await spool.release(spool.committed)
  expect(spool.status().historyBytes).toBeGreaterThan(150 * KIB)
  const { taken } = await fill(spool, 4_000)
  expect(taken.length).toBeGreaterThan(55)
  expect(spool.status().historyBytes).toBe(0)
  expect(bytesIn(folder)).toBeLessThanOrEqual(256 * KIB)
})

test('a message larger than the budget is taken when all else is worked off', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, { budgetBytes: 256 * KIB })
  await spool.append(incoming('small'))
  const large = spool.append(incoming('', { payload: Buffer.alloc(400 * KIB, 'x') }))
  await vi.waitFor(() => expect(spool.status().acknowledging).toBe(false))
  await spool.release(spool.committed)
  await large
  expect(readAll(folder, spool.committed).messages.at(-1)?.payload.length).toBe(400 * KIB)
})

test('while it holds it says that it is full before memory grows, and calls when there is room', async () => {
  const spool = await spoolIn(temporaryFolder(), { budgetBytes: 256 * KIB })
  await fill(spool, 4_000)
  const appended: Promise<void>[] = []
  while (!spool.full()) appended.push(spool.append(incoming('', { payload: Buffer.alloc(1 << 20) })))
  expect(appended).toHaveLength(32)
  const hasRoom = new Promise<void>((done) => spool.onRoom(done))
  const releasing = setInterval(() => void spool.release(spool.committed), 5)
  onTestFinished(() => clearInterval(releasing))
  await hasRoom
  expect(spool.full()).toBe(false)
  await Promise.all(appended)
})

test('a disk that is nearly full is left to those who work off the spool, and to 128 MiB of it', async () => {
  const folder = temporaryFolder()
  let freeBytes = 200 << 20
  const spool = await spoolIn(folder, { disk: { ...unsyncedDisk, freeBytes: async () => freeBytes } })
  const { taken, waiting } = await fill(spool, 1 << 20)
  expect(taken.length).toBe(127)
  expect(spool.status().note).toContain('the disk has 200 MiB left')
  freeBytes = 300 << 20
  await waiting
  expect(spool.status()).toMatchObject({ acknowledging: true })
})

const mounted = mountSmall()

test.skipIf(!mounted)(
  'a full disk (tmpfs of 64 MB): nothing is acknowledged that is not there, and with room it goes on',
  async () => {
    const folder = join(mounted as string, 'spool')
    const spool = await spoolIn(folder)
    await writeCheckpoint(folder, spool.committed)
    const { taken, waiting, text } = await fill(spool, 1 << 20)
    expect(spool.status().note).toContain('ENOSPC')
    const small = spool.append(incoming('small'))
    const { messages } = readAll(folder, spool.committed)
    expect(messages.length).toBe(taken.length)
    expect(messages.length).toBeGreaterThan(40)
    const upTo = messages.at(30)?.position ?? 0
    await writeCheckpoint(folder, upTo) // or what makes room would be read again after a crash, and not be there
    expect(readCheckpoint(folder)).toBe(upTo)

    await spool.release(upTo)
    await Promise.all([waiting, small])
    const rest = texts(readAll(folder, spool.committed, upTo).messages)
    expect(rest).toEqual([...taken.slice(30), text, 'small'])
    expect(spool.status()).toMatchObject({ acknowledging: true })
    await spool.close()
  },
)

/** @returns where a small file system stands now; undefined where none can be mounted */
function mountSmall(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger tmpfs '))
  afterAll(() => rmSync(folder, { recursive: true }))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'outrigger-test', folder], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  afterAll(() => void execFileSync('umount', [folder]))
  return folder
}
