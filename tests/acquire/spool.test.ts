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
import { openSpoolReader } from '../../src/acquire/spool-reader.ts'
import { incoming, log, readAll, spoolIn, temporaryFolder, texts } from './spool-case.ts'

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
  expect(messages.map(({ position }) => position).slice(1)).toEqual(messages.map(({ next }) => next).slice(0, 2))
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
  const spool = await spoolIn(folder, 2_000)
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
  const spool = await spoolIn(folder, 65_536)
  const payload = Buffer.alloc(3 << 20, 'x')
  await spool.append(incoming('', { payload }))
  await spool.append(incoming('after'))
  const { messages } = readAll(folder, spool.committed)
  expect(messages.map((message) => message.payload.length)).toEqual([payload.length, 5])
})

test('a reader beside the writer gets no more than what is committed', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, 3_000)
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

test('a tail torn at any byte is cut at the last whole record, and what follows is appended behind it', async () => {
  const folder = temporaryFolder()
  const whole = await spoolIn(folder)
  await whole.append(incoming('first'))
  const kept = whole.committed
  await whole.append(incoming('second, which the crash cuts'))
  await whole.close()
  const name = names(folder)[0] ?? ''
  const size = readFileSync(join(folder, name)).length
  const lastRecord = size - (whole.committed - kept)

  for (let cut = lastRecord; cut < size; cut++) {
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
  test(`a damaged record in the middle is skipped and counted: ${name}`, async () => {
    const folder = temporaryFolder()
    const spool = await spoolIn(folder)
    for (let i = 0; i < 9; i++) await spool.append(incoming(`${i}`.padStart(100, '.')))
    await spool.close()
    const file = join(folder, names(folder)[0] ?? '')
    const bytes = readFileSync(file)
    damage(bytes, (bytes.length / 9) * 4)
    writeFileSync(file, bytes)

    const again = await spoolIn(folder)
    expect(again.committed).toBe(spool.committed)
    const { messages, damaged } = readAll(folder, again.committed)
    expect(damaged).toBe(1)
    expect(texts(messages).map((text) => text.at(-1))).toEqual(['0', '1', '2', '3', '5', '6', '7', '8'])
  })
}

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
  const file = join(folder, names(folder)[0] ?? '')
  const bytes = readFileSync(file)
  bytes.writeUInt8(0, 0)
  writeFileSync(file, bytes)
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

test('while the disk fails nothing resolves, and the spool says so; then it goes on without a hole', async () => {
  const folder = temporaryFolder()
  const spool = await spoolIn(folder, 1_000)
  await spool.append(incoming('kept'))
  renameSync(folder, `${folder} away`) // the next segment cannot be made
  await expect(spool.append(incoming('x'.repeat(2_000)))).rejects.toThrow('ENOENT')
  expect(spool.healthy()).toBe(false)
  await expect(spool.append(incoming('refused'))).rejects.toThrow('ENOENT')

  renameSync(`${folder} away`, folder)
  await vi.waitFor(() => spool.append(incoming('again')), { timeout: 10_000, interval: 200 })
  await spool.append(incoming('and again'))
  expect(spool.healthy()).toBe(true)
  const read = readAll(folder, spool.committed)
  expect(texts(read.messages)).toEqual(['kept', 'again', 'and again'])
  expect(read.damaged).toBe(0)
  await spool.close()
  expect((await spoolIn(folder)).committed).toBe(spool.committed)
})
