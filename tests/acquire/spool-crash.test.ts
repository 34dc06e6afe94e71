import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { crashDisk, type Random, seeded } from './crash-disk.ts'
import { incoming, readAll, spoolIn, temporaryFolder, texts } from './spool-case.ts'

const ROUNDS = 12
const IMAGES = 15

/** Text that nothing else holds, long enough for several blocks now and then. */
function text(number: number, random: Random): string {
  return `${number}:${'x'.repeat(Math.floor(random() ** 3 * 3_000))}`
}

async function expectWhole(image: string, acknowledged: readonly string[], sent: ReadonlySet<string>, seed: string) {
  const spool = await spoolIn(image, { segmentBytes: 20_000 })
  await spool.append(incoming('after the crash'))
  const { messages } = readAll(image, spool.committed)
  const found = texts(messages)
  const kept = new Set(found)
  expect(found.length, `${seed}: none twice`).toBe(kept.size)
  expect(
    acknowledged.filter((one) => !kept.has(one)).map((one) => one.slice(0, 10)),
    `${seed}: nothing acknowledged is missing`,
  ).toEqual([])
  expect(found.at(-1), seed).toBe('after the crash')
  expect(
    found.slice(0, -1).filter((one) => !sent.has(one)),
    `${seed}: no garbage`,
  ).toEqual([])
  await spool.close()
}

for (const { name, failures } of [
  { name: 'a power cut at any moment', failures: 0 },
  { name: 'a power cut after syncs that failed', failures: 2 },
]) {
  test(`${name} leaves every acknowledged message, none twice, no garbage`, { timeout: 60_000 }, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const random = seeded(round * 7_919 + failures)
      const folder = temporaryFolder()
      const disk = crashDisk(random)
      const spool = await spoolIn(folder, { segmentBytes: 20_000, disk })
      const acknowledged: string[] = []
      const sent = new Set<string>()
      const appended: Promise<unknown>[] = []
      for (let image = 0; image < IMAGES; image++) {
        if (image === 5) disk.failSyncs(failures)
        if (image === 8) await Promise.all(appended) // those whose syncs failed are durable after all
        for (let burst = Math.ceil(random() * 12); burst > 0; burst--) {
          const one = text(sent.size, random)
          sent.add(one)
          appended.push(spool.append(incoming(one)).then(() => acknowledged.push(one)))
        }
        const turns = Math.floor(random() * 12)
        for (let turn = 0; turn < turns; turn++) await new Promise((done) => setTimeout(done, 1))
        const left = join(folder, 'image')
        disk.leave(left, random)
        await expectWhole(left, [...acknowledged], sent, `round ${round}, image ${image}`)
        rmSync(left, { recursive: true })
      }
      await Promise.all(appended)
      await spool.close()
      await expectWhole(folder, acknowledged, sent, `round ${round}, in the end`)
    }
  })
}
