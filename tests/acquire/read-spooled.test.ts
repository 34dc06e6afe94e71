import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { writeCheckpoint } from '../../src/acquire/checkpoint.ts'
import { readSpooled } from '../../src/acquire/read-spooled.ts'
import { incoming, readAll, spoolIn, temporaryFolder } from './spool-case.ts'

const limits = { segmentBytes: 2_000, budgetBytes: 1 << 20, historyBytes: 6_500 }

test('a message is read at its position, whether it waits or is worked off, for as long as the history holds it', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, limits)
  for (let i = 0; i < 60; i++) await spool.append(incoming(`${i}`.padStart(100, '.')))
  const { messages } = readAll(folder, spool.committed)
  for (const message of messages) expect(readSpooled(folder, message.position)).toEqual(message)
  await spool.release(spool.committed)

  const { historyBytes, waitingBytes } = spool.status()
  expect(historyBytes).toBeGreaterThan(4_000)
  expect(historyBytes).toBeLessThanOrEqual(6_500)
  const kept = messages.filter(({ position }) => readSpooled(folder, position) !== undefined)
  expect(kept.length).toBeGreaterThan(messages.length / 4)
  expect(kept).toEqual(messages.slice(-kept.length))
  await spool.close()

  await writeCheckpoint(folder, spool.committed)
  const again = await spoolIn(folder, limits)
  await again.release(spool.committed)
  expect(again.status()).toMatchObject({ historyBytes, waitingBytes })
  expect(kept.every(({ position }) => readSpooled(folder, position))).toBe(true)
})

test('without a history nothing that is worked off is kept', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, { ...limits, historyBytes: 0 })
  for (let i = 0; i < 60; i++) await spool.append(incoming(`${i}`.padStart(100, '.')))
  await spool.release(spool.committed)
  expect(readdirSync(folder).filter((name) => name.endsWith('.spool'))).toHaveLength(1)
})

test('nothing is read where no message begins', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder)
  const base = spool.committed
  await spool.append(incoming('first'))
  const [{ position = 0 } = {}] = readAll(folder, spool.committed).messages
  for (const place of [0, base - 1, base, position + 1, spool.committed, spool.committed + 1])
    expect(readSpooled(folder, place)).toBeUndefined()
})
