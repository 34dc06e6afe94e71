import { writeFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import { writeCheckpoint } from '../../src/acquire/checkpoint.ts'
import { tallyPlace } from '../../src/acquire/message-tally.ts'
import { segmentPath } from '../../src/acquire/spool-format.ts'
import { damageFile, incoming, readAll, spoolIn, temporaryFolder, texts } from './spool-case.ts'

const BASE = 3_700_000_000_000_000

/** A record of the first format: no ordinal, and no heads between groups. */
function oldRecord(position: number, topic: string, text: string, kind = 0): Buffer {
  const body = Buffer.concat([Buffer.alloc(11), Buffer.from(topic), Buffer.from(text)])
  body[0] = 1 | (kind << 4) // QoS 1
  body.writeDoubleLE(1_767_225_600_000, 1)
  body.writeUInt16LE(Buffer.byteLength(topic), 9)
  const prefix = Buffer.alloc(10)
  prefix.writeUInt16LE(0x724f, 0)
  prefix.writeUInt32LE(body.length, 2)
  prefix.writeUInt32LE(crc32(body, position >>> 0), 6)
  return Buffer.concat([prefix, body])
}

/** Two segments of ten messages each. @returns where each begins */
function oldSpool(folder: string): number[] {
  const positions: number[] = []
  let position = BASE
  for (const part of [0, 1]) {
    const base = position
    const records = Array.from({ length: 10 }, (_, i) => {
      const record = oldRecord(position, 'machines/m-1/telemetry', `old ${part * 10 + i}`)
      positions.push(position)
      position += record.length
      return record
    })
    writeFileSync(segmentPath(folder, base), Buffer.concat(records))
  }
  return positions
}

test('a spool of the version before is read on, and counted once', async () => {
  const folder = temporaryFolder()
  const positions = oldSpool(folder)
  await writeCheckpoint(folder, positions[4] ?? 0)
  const first = await spoolIn(folder)
  expect(first.waitingAtStart[tallyPlace('telemetry', 1)]).toBe(16)
  await first.append(incoming('new'))
  await first.close()

  const second = await spoolIn(folder) // the checkpoint still stands before what was counted
  expect(second.waitingAtStart[tallyPlace('telemetry', 1)]).toBe(17)
  const { messages, damaged } = readAll(folder, second.committed, second.checkpoint)
  expect(damaged).toBe(0)
  expect(texts(messages)).toEqual([...Array.from({ length: 16 }, (_, i) => `old ${i + 4}`), 'new'])
  expect(messages[0]).toMatchObject({ topic: 'machines/m-1/telemetry', qos: 1, receivedAt: 1_767_225_600_000 })
})

test('damage in a spool of the version before is one lost stretch of a number that nobody knows', async () => {
  const folder = temporaryFolder()
  const positions = oldSpool(folder)
  damageFile(segmentPath(folder, BASE), (bytes) =>
    bytes.fill(0, (positions[3] ?? 0) - BASE, (positions[5] ?? 0) - BASE),
  )
  const spool = await spoolIn(folder)
  const { messages, damaged, lost } = readAll(folder, spool.committed)
  expect(messages).toHaveLength(18)
  expect({ damaged, lost }).toEqual({ damaged: 1, lost: 0 })
})
