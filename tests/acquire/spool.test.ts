import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { readCheckpoint, writeCheckpoint } from '../../src/acquire/checkpoint.ts'
import { tallyPlace } from '../../src/acquire/message-tally.ts'
import { HEAD_BYTES, segmentPath } from '../../src/acquire/spool-format.ts'
import { openSpoolReader } from '../../src/acquire/spool-reader.ts'
import { damageFile, incoming, log, readAll, spoolIn, temporaryFolder, texts } from './spool-case.ts'

const names = (folder: string) => readdirSync(folder).filter((name) => name.endsWith('.spool'))

test('what was appended is read back whole, in order, after the spool was opened again', async () => {
  const folder = temporaryFolder()
  const first = await spoolIn(folder)
  await Promise.all([
    first.append(incoming('{"a":1}', { qos: 0 })),
    first.append(
      incoming('', { topic: 'machines/泵车/status', qos: 2, retained: true, origin: 'replay', receivedAt: 12.5 }),
    ),
  ])
  await first.close()
  const second = await spoolIn(folder)
  await second.append(incoming('third'))

  const { messages, damaged } = readAll(folder, second.committed)
  expect(damaged).toBe(0)
  expect(messages.map(({ payload, position, next, ...rest }) => rest)).toEqual([
    {
      receivedAt: 1_767_225_600_000,
      topic: 'machines/m-1/telemetry',
      qos: 0,
      retained: false,
      origin: 'mqtt',
      kind: 'telemetry',
    },
    { receivedAt: 12.5, topic: 'machines/泵车/status', qos: 2, retained: true, origin: 'replay', kind: 'other' },
    {
      receivedAt: 1_767_225_600_000,
      topic: 'machines/m-1/telemetry',
      qos: 1,
      retained: false,
      origin: 'mqtt',
      kind: 'telemetry',
    },
  ])
  expect(texts(messages)).toEqual(['{"a":1}', '', 'third'])
  expect(messages[1]?.position).toBe(messages[0]?.next)
  expect(messages[2]?.position).toBe((messages[1]?.next ?? 0) + HEAD_BYTES)
  expect(messages[2]?.next).toBe(second.committed)
})

test('messages of one turn become durable together, and the notice comes before the promise', async () => {
  const spool = await spoolIn(temporaryFolder())
  const heard: (number | string)[] = []
  spool.onCommit(({ tally }) => heard.push(tally[tallyPlace('telemetry', 1)] ?? 0))
  await Promise.all(Array.from({ length: 500 }, (_, i) => spool.append(incoming(String(i)))))
  heard.push('resolved')
  expect(heard).toEqual([500, 'resolved'])
})

test('what is appended during a commit belongs to the next one', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder)
  const positions: number[] = []
  spool.onCommit(({ position }) => positions.push(position))
  const first = spool.append(incoming('first'))
  await new Promise((done) => process.nextTick(done)) // its write has begun
  await Promise.all([first, spool.append(incoming('second')), spool.append(incoming('third'))])
  const { messages } = readAll(folder, spool.committed)
  expect(positions).toEqual([messages[0]?.next, messages[2]?.next])
})

test('a payload may be changed as soon as append has returned', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder)
  const payload = Buffer.from('before')
  const done = spool.append(incoming('', { payload }))
  payload.write('after!')
  await done
  expect(texts(readAll(folder, spool.committed).messages)).toEqual(['before'])
})

test('segments end at their size, are read across, and go when they are released', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, { segmentBytes: 2_000 })
  for (let i = 0; i < 60; i++) await spool.append(incoming(`${i}`.padStart(100, '.')))
  expect(names(folder).length).toBeGreaterThan(3)

  const { messages } = readAll(folder, spool.committed)
  expect(messages).toHaveLength(60)
  const middle = messages[30]
  await spool.release(middle?.position ?? 0)
  const rest = readAll(folder, spool.committed).messages
  expect(rest.length).toBeLessThan(60)
  expect(rest.length).toBeGreaterThanOrEqual(30)
  expect(rest.at(-1)).toEqual(messages.at(-1))
  expect(texts(readAll(folder, spool.committed, middle?.position).messages)).toEqual(texts(messages.slice(30)))

  await spool.release(spool.committed)
  expect(names(folder)).toHaveLength(1)
})

test('one message larger than a segment and than what a reader asks for arrives whole', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, { segmentBytes: 65_536 })
  const payload = Buffer.alloc(3 << 20, 'x')
  await spool.append(incoming('', { payload }))
  await spool.append(incoming('after'))
  const { messages } = readAll(folder, spool.committed)
  expect(messages.map((message) => message.payload.length)).toEqual([payload.length, 5])
})

test('a reader beside the writer gets no more than what is committed', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, { segmentBytes: 3_000 })
  const reader = openSpoolReader({ folder, from: 0, log })
  const seen: string[] = []
  for (let i = 0; i < 100; i++) {
    const before = spool.committed
    const done = spool.append(incoming(`${i}`.padStart(90, '.')))
    seen.push(...texts(reader.read(before, 1_000, 1 << 20)))
    expect(seen).toHaveLength(i)
    await done
  }
  seen.push(...texts(reader.read(spool.committed, 1_000, 1 << 20)))
  reader.close()
  expect(seen.map(Number.parseFloat.bind(null))).toHaveLength(100)
  expect(seen.map((text) => Number(text.replaceAll('.', '')))).toEqual(Array.from({ length: 100 }, (_, i) => i))
})

test('a tail torn at any byte ends at the last whole message, and what follows is appended behind it', async () => {
  const folder = temporaryFolder()
  const whole = await spoolIn(folder)
  await whole.append(incoming('first'))
  const kept = whole.committed
  await whole.append(incoming('second, which the crash cuts'))
  await whole.close()
  const name = names(folder)[0] ?? ''
  const size = readFileSync(join(folder, name)).length
  const lastGroup = size - (whole.committed - kept)

  for (let cut = lastGroup; cut < size; cut++) {
    const image = join(folder, `image-${cut}`)
    mkdirSync(image)
    copyFileSync(join(folder, name), join(image, name))
    truncateSync(join(image, name), cut)
    const spool = await spoolIn(image)
    expect(spool.committed).toBe(kept)
    await spool.append(incoming('third'))
    await spool.close()
    const { messages, damaged } = readAll(image, spool.committed)
    expect(texts(messages)).toEqual(['first', 'third'])
    expect(damaged).toBe(0)
    rmSync(image, { recursive: true })
  }
})

for (const { name, damage } of [
  {
    name: 'a bit of the payload',
    damage: (bytes: Buffer, at: number) => bytes.writeUInt8(bytes.readUInt8(at + 60) ^ 1, at + 60),
  },
  { name: 'the mark', damage: (bytes: Buffer, at: number) => bytes.writeUInt8(0, at) },
  { name: 'a length that is too small', damage: (bytes: Buffer, at: number) => bytes.writeUInt32LE(12, at + 2) },
  { name: 'a length beyond the end', damage: (bytes: Buffer, at: number) => bytes.writeUInt32LE(0x7fffffff, at + 2) },
  { name: 'a block of zeros', damage: (bytes: Buffer, at: number) => bytes.fill(0, at, at + 70) },
]) {
  test(`a damaged record in the middle is skipped, counted and handed over with its bytes: ${name}`, async () => {
    const folder = temporaryFolder()
    const spool = await spoolIn(folder)
    for (let i = 0; i < 9; i++) await spool.append(incoming(`${i}`.padStart(100, '.')))
    await spool.close()
    const whole = readAll(folder, spool.committed).messages[4]
    const [file = ''] = names(folder)
    const offset = (whole?.position ?? 0) - Number.parseInt(file, 10)
    damageFile(join(folder, file), (bytes) => damage(bytes, offset))

    const again = await spoolIn(folder)
    expect(again.committed).toBe(spool.committed)
    expect(again.waitingAtStart.reduce((sum, count) => sum + count)).toBe(9)
    const { messages, damaged, lost, stretches } = readAll(folder, again.committed)
    expect(texts(messages).map((text) => text.at(-1))).toEqual(['0', '1', '2', '3', '5', '6', '7', '8'])
    expect({ damaged, lost }).toEqual({ damaged: 1, lost: 1 })
    expect(stretches).toMatchObject([
      { position: whole?.position, next: whole?.next, topic: `$spool/${file}@${offset}`, lost: 1, kind: 'other' },
    ])
    const size = (whole?.next ?? 0) - (whole?.position ?? 0)
    expect(stretches[0]?.payload).toEqual(readFileSync(join(folder, file)).subarray(offset, offset + size))
  })
}

test('damage over several groups tells how many messages were lost, and keeps at most 1 MiB of it', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder)
  for (let group = 0; group < 8; group++)
    await Promise.all(
      Array.from({ length: 3 }, () => spool.append(incoming('', { payload: Buffer.alloc(300_000, 'x') }))),
    )
  await spool.append(incoming('{}', { topic: 'machines/m/status' })) // bears no set
  await spool.append(incoming('last'))
  await spool.close()
  const { messages: before } = readAll(folder, spool.committed)
  damageFile(join(folder, names(folder)[0] ?? ''), (bytes) => {
    const base = Number.parseInt(names(folder)[0] ?? '', 10)
    bytes.fill(0, (before[4]?.position ?? 0) - base + 7, (before[24]?.next ?? 0) - base)
  })

  const { messages, lost, stretches } = readAll(folder, spool.committed)
  expect(messages.map(({ position }) => position)).toEqual(
    [...before.slice(0, 4), ...before.slice(25)].map(({ position }) => position),
  )
  expect(lost).toBe(20)
  expect(stretches.map(({ payload }) => payload.length)).toEqual([1 << 20])
})

test('a segment that is missing, and one that is damaged beyond recognition, are one lost stretch', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, { segmentBytes: 1_500 })
  for (let i = 0; i < 40; i++) await spool.append(incoming(`${i}`.padStart(100, '.')))
  await spool.close()
  const before = readAll(folder, spool.committed).messages
  const [, second = '', third = '', fourth = ''] = names(folder).sort()
  rmSync(join(folder, second))
  damageFile(join(folder, third), (bytes) => bytes.fill(0xff))
  const from = Number.parseInt(second, 10)
  const to = Number.parseInt(fourth, 10)
  const kept = before.filter(({ position }) => position < from || position >= to)

  const again = await spoolIn(folder)
  expect(again.waitingAtStart[tallyPlace('telemetry', 1)]).toBe(40)
  const { messages, damaged, lost } = readAll(folder, again.committed)
  expect(messages).toEqual(kept)
  expect({ damaged, lost }).toEqual({ damaged: 1, lost: 40 - kept.length })
})

test('what is lost right behind the checkpoint is known from what stands before it', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder)
  for (let i = 0; i < 9; i++) await spool.append(incoming(`${i}`.padStart(100, '.')))
  await spool.close()
  const before = readAll(folder, spool.committed).messages
  const [file = ''] = names(folder)
  const { position = 0, next = 0 } = before[3] ?? {}
  damageFile(join(folder, file), (bytes) =>
    bytes.fill(0, position - Number.parseInt(file, 10) - 9, next - Number.parseInt(file, 10)),
  )
  await writeCheckpoint(folder, position)

  const again = await spoolIn(folder)
  expect(again.waitingAtStart[tallyPlace('telemetry', 1)]).toBe(6)
  const { messages, lost } = readAll(folder, again.committed, position)
  expect(messages).toEqual(before.slice(4))
  expect(lost).toBe(1)
})

test('damage at the end is handed over when something follows', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder)
  await spool.append(incoming('first'))
  await spool.append(incoming('spoilt'))
  const [file = ''] = names(folder)
  damageFile(join(folder, file), (bytes) => bytes.fill(0, bytes.length - 20))
  const reader = openSpoolReader({ folder, from: 0, log })
  expect(texts(reader.read(spool.committed, 10, 1_000))).toEqual(['first'])
  expect(reader.read(spool.committed, 10, 1_000)).toEqual([])
  await spool.append(incoming('third'))
  expect(reader.read(spool.committed, 10, 1_000)).toMatchObject([{ origin: 'damage', lost: 1 }, { origin: 'mqtt' }])
  reader.close()
})

test('a payload that contains a whole record is not taken for one when its own record is damaged', async () => {
  const folder = temporaryFolder()
  const other = temporaryFolder()
  const donor = await spoolIn(other)
  await donor.append(incoming('smuggled', { topic: 'machines/victim/telemetry' }))
  const record = readFileSync(join(other, names(other)[0] ?? ''))
  const spool = await spoolIn(folder)
  await spool.append(incoming('', { payload: record }))
  await spool.append(incoming('honest'))
  await spool.close()
  damageFile(join(folder, names(folder)[0] ?? ''), (bytes) => bytes.writeUInt8(0, HEAD_BYTES))
  expect(texts(readAll(folder, spool.committed).messages)).toEqual(['honest'])
})

test('what stands behind the checkpoint is counted as waiting when the spool is opened', async () => {
  const folder = temporaryFolder()
  const first = await spoolIn(folder)
  await first.append(incoming('done'))
  await writeCheckpoint(folder, first.committed)
  await first.append(incoming('waits'))
  await first.append(incoming('waits', { qos: 0, topic: 'nobody' }))
  await first.append(incoming('{}', { topic: 'machines/m/status' }))
  await first.close()

  const second = await spoolIn(folder)
  expect(second.checkpoint).toBe(readCheckpoint(folder))
  expect(second.waitingAtStart[tallyPlace('telemetry', 1)]).toBe(1)
  expect(second.waitingAtStart[tallyPlace('other', 0)]).toBe(1)
  expect(second.waitingAtStart[tallyPlace('status', 1)]).toBe(1)
  expect(second.waitingAtStart.reduce((sum, count) => sum + count)).toBe(3)
})

test('a segment that a crash cut before its first message loses nobody count of what waits', async () => {
  const folder = temporaryFolder()
  const first = await spoolIn(folder, { segmentBytes: 1_500 })
  for (let i = 0; i < 20; i++) await first.append(incoming(`${i}`.padStart(100, '.')))
  await first.close()
  const from = readAll(folder, first.committed).messages[4]?.position ?? 0
  await writeCheckpoint(folder, from)
  writeFileSync(segmentPath(folder, first.committed), Buffer.alloc(70)) // the head is not whole

  const second = await spoolIn(folder)
  expect(second.committed).toBe(first.committed)
  expect(second.waitingAtStart[tallyPlace('telemetry', 1)]).toBe(16)
  await second.append(incoming('more'))
  await second.close()
  const third = await spoolIn(folder)
  expect(third.waitingAtStart[tallyPlace('telemetry', 1)]).toBe(17)
  const { messages, damaged } = readAll(folder, third.committed, from)
  expect(messages).toHaveLength(17)
  expect(damaged).toBe(0)
})

test('a damaged head changes nothing about what is counted', async () => {
  const folder = temporaryFolder()
  const first = await spoolIn(folder, { segmentBytes: 1_500 })
  for (let i = 0; i < 20; i++) await first.append(incoming(`${i}`.padStart(100, '.')))
  await first.close()
  const from = readAll(folder, first.committed).messages[4]?.position ?? 0
  await writeCheckpoint(folder, from)
  for (const name of names(folder)) damageFile(join(folder, name), (bytes) => bytes.fill(0, 0, HEAD_BYTES - 1))

  const second = await spoolIn(folder)
  expect(second.waitingAtStart[tallyPlace('telemetry', 1)]).toBe(16)
  await second.append(incoming('more'))
  const { messages, lost } = readAll(folder, second.committed, from)
  expect(messages).toHaveLength(17)
  expect(lost).toBe(0)
})

test('a checkpoint that cannot be read means from the beginning', async () => {
  const folder = temporaryFolder()
  expect(readCheckpoint(folder)).toBe(0)
  await writeCheckpoint(folder, 4_711)
  expect(readCheckpoint(folder)).toBe(4_711)
  writeFileSync(join(folder, 'checkpoint.json'), '{"position":"4711')
  expect(readCheckpoint(folder)).toBe(0)
})

test('positions never come again, not even when the segments or the whole folder were lost', async () => {
  const folder = temporaryFolder()
  const first = await spoolIn(folder)
  await first.append(incoming('lost'))
  await writeCheckpoint(folder, first.committed)
  await first.close()
  for (const name of names(folder)) rmSync(join(folder, name))
  const second = await spoolIn(folder)
  expect(second.committed).toBe(first.committed)
  await second.append(incoming('new'))
  expect(texts(readAll(folder, second.committed, second.checkpoint).messages)).toEqual(['new'])
  await second.close()

  rmSync(folder, { recursive: true })
  await new Promise((done) => setTimeout(done, 1_000)) // fresh positions follow the clock, in seconds
  const third = await spoolIn(folder)
  expect(third.committed).toBeGreaterThan(second.committed)
})

test('while the disk fails what is appended waits; then it becomes durable by itself, without a hole', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, { segmentBytes: 1_000 })
  await spool.append(incoming('kept'))
  renameSync(folder, `${folder} away`) // the next segment cannot be made
  const settled: string[] = []
  const large = spool.append(incoming('x'.repeat(2_000))).then(() => settled.push('large'))
  await vi.waitFor(() => expect(spool.status().acknowledging).toBe(false))
  expect(spool.status().note).toContain('ENOENT')
  const small = spool.append(incoming('small')).then(() => settled.push('small'))
  await new Promise((done) => setTimeout(done, 1_200)) // it was tried again
  expect(settled).toEqual([])

  renameSync(`${folder} away`, folder)
  await Promise.all([large, small])
  expect(spool.status()).toMatchObject({ acknowledging: true, note: undefined })
  const read = readAll(folder, spool.committed)
  expect(texts(read.messages)).toEqual(['kept', 'x'.repeat(2_000), 'small'])
  expect(read.damaged).toBe(0)
  await spool.close()
  expect((await spoolIn(folder)).committed).toBe(spool.committed)
})

test('what waits for a disk that fails is refused when the spool is closed', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder)
  rmSync(folder, { recursive: true })
  const waiting = spool.append(incoming('waits'))
  await vi.waitFor(() => expect(spool.status().acknowledging).toBe(false))
  const refused = expect(waiting).rejects.toThrow('ENOENT')
  await spool.close()
  await refused
  await expect(spool.append(incoming('late'))).rejects.toThrow('closed')
})
