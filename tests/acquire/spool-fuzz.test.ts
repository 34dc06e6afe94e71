import { readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { writeCheckpoint } from '../../src/acquire/checkpoint.ts'
import { bearingSets } from '../../src/acquire/message-tally.ts'
import { type Random, seeded } from './crash-disk.ts'
import { damageFile, incoming, readAll, spoolIn, temporaryFolder, unsyncedDisk } from './spool-case.ts'

const CASES = 60
const topics = ['machines/m/telemetry', 'machines/m/status', 'machines/m/faults', 'nobody']

/** @returns where it ends */
async function write(folder: string, random: Random): Promise<number> {
  const spool = await spoolIn(folder, { segmentBytes: 4_000, disk: unsyncedDisk })
  for (let group = 0; group < 40; group++) {
    const messages = Array.from({ length: Math.ceil(random() * 5) }, (_, i) =>
      incoming(`${group}.${i} ${'x'.repeat(random() * 400)}`, {
        topic: topics[Math.floor(random() * 4)] as string,
        qos: Math.floor(random() * 3) as 0 | 1 | 2,
      }),
    )
    await Promise.all(messages.map((message) => spool.append(message)))
  }
  await spool.close()
  return spool.committed
}

/** Does one thing to one file that disks and people do. */
function spoil(folder: string, random: Random): void {
  const files = readdirSync(folder).filter((name) => name.endsWith('.spool'))
  const path = join(folder, files[Math.floor(random() * files.length)] as string)
  const kind = random()
  const size = statSync(path).size
  const from = Math.floor(random() * size)
  if (kind < 0.1) rmSync(path)
  else if (kind < 0.2) truncateSync(path, from)
  else damageFile(path, (bytes) => damageBytes(bytes, from, random))
}

function damageBytes(bytes: Buffer, from: number, random: Random): void {
  const kind = random()
  const to = Math.min(bytes.length, from + 1 + Math.floor(random() ** 4 * 3_000))
  if (kind < 0.4) bytes.fill(random() * 256, from, to)
  else if (kind < 0.6) bytes.copyWithin(from, Math.floor(random() * bytes.length), bytes.length - 50)
  else bytes[from] = (bytes[from] ?? 0) ^ (1 << Math.floor(random() * 8))
}

test('whatever is spoilt: no garbage, nothing twice, and what is read and what is lost are what was waiting', {
  timeout: 120_000,
}, async () => {
  for (let seed = 1; seed <= CASES; seed++) {
    const random = seeded(seed * 7_919)
    const folder = temporaryFolder()
    const written = readAll(folder, await write(folder, random)).messages
    const first = random() < 0.5 ? 0 : Math.floor(random() * written.length)
    await writeCheckpoint(folder, first === 0 ? 0 : (written[first]?.position ?? 0))
    for (let times = Math.ceil(random() * 3); times > 0; times--) spoil(folder, random)

    const spool = await spoolIn(folder, { segmentBytes: 4_000, disk: unsyncedDisk })
    const more = incoming('more')
    await spool.append(more)
    const { messages, lost, stretches } = readAll(folder, spool.committed, spool.checkpoint)
    const known = new Map(written.map((message) => [message.position, message]))
    const said = `seed ${seed}`
    expect(messages.at(-1)?.payload, said).toEqual(more.payload)
    for (const message of messages.slice(0, -1)) expect(message, said).toEqual(known.get(message.position))
    const positions = messages.map(({ position }) => position)
    expect(positions, said).toEqual([...new Set(positions)].sort((a, b) => a - b))
    const read = messages.filter(({ kind }) => kind === 'telemetry' || kind === 'other').length - 1
    expect(read + lost, said).toBe(bearingSets(spool.waitingAtStart))
    expect(
      stretches.reduce((sum, stretch) => sum + (stretch.lost ?? 0), 0),
      said,
    ).toBe(lost)
    await spool.close()
    rmSync(folder, { recursive: true })
  }
})
