import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { incoming, spoolIn, unsyncedDisk } from '../acquire/spool-case.ts'
import { holdRecords, outcomes, partOf } from '../service/held-records.ts'
import {
  connectClient,
  dataFolder,
  publish,
  type RunningService,
  startService,
  until,
} from '../service/running-service.ts'

const MACHINES = 10_000
const start = Date.now() - 2 * 86_400_000
const set = (ts: number) => ({
  ts,
  signals: { hyd_oil_temp_c: 50.5, engine_speed_rpm: 1_500, main_pressure_bar: 180.5 },
})
const idOf = (machine: number) => `load-${String(machine).padStart(5, '0')}`

/** Every machine is heard once, so that it is known and has state. */
async function introduce(service: RunningService): Promise<void> {
  const client = await connectClient(service)
  for (let first = 0; first < MACHINES; first += 500) {
    const sets = Array.from({ length: 500 }, (_, i) => ({ machine: idOf(first + i), ...set(start) }))
    await publish(client, 'gateways/site-1/telemetry', sets)
  }
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined), 120_000)
}

/** Adds messages of all machines in turn, without waiting for the disk. @returns how many */
async function fillSpool(folder: string, bytes: number): Promise<number> {
  const spool = await spoolIn(folder, { disk: unsyncedDisk, budgetBytes: 2 * bytes, segmentBytes: 16 << 20 })
  const from = spool.committed
  let messages = 0
  for (; spool.committed - from < bytes; messages++) {
    const ts = start + 60_000 + messages
    const text = JSON.stringify({ seq: messages, ...set(ts), note: 'x'.repeat(900) })
    const done = spool.append(
      incoming(text, { topic: `machines/${idOf(messages % MACHINES)}/telemetry`, receivedAt: ts }),
    )
    if (messages % 1_000 === 0) await done
  }
  await spool.close()
  return messages
}

async function startSeconds(folder: string): Promise<{ service: RunningService; seconds: number }> {
  const began = performance.now()
  const service = await startService(folder, { LOG_LEVEL: 'fatal' })
  await until(async () => ((await service.request('GET', '/readyz')).status === 200 ? true : undefined), 60_000)
  return { service, seconds: (performance.now() - began) / 1000 }
}

test('after kill -9, 10,000 machines and a spool of 1 GB: ready as soon as without it, and it is worked off behind', async () => {
  const folder = await dataFolder()
  const first = await startSeconds(folder)
  await introduce(first.service)
  await first.service.kill()
  const empty = await startSeconds(folder)
  await empty.service.kill()

  const messages = await fillSpool(join(folder, 'spool'), 1e9)
  const full = await startSeconds(folder)
  console.log(`ready after ${empty.seconds.toFixed(1)} s, with a spool of 1 GB after ${full.seconds.toFixed(1)} s`)
  expect(full.seconds).toBeLessThan(empty.seconds * 1.5 + 1)
  expect(await full.service.metric('reading_sets_received_total')).toBeGreaterThanOrEqual(messages)
  const waiting = await full.service.metric('reading_sets_waiting')
  await until(
    async () => ((await full.service.metric('reading_sets_waiting')) < waiting - 10_000 ? true : undefined),
    120_000,
  )
  // it takes in meanwhile
  const client = await connectClient(full.service)
  await publish(client, 'machines/pump-1/telemetry', set(Date.now()))
})

test('the disk of the spool is full (tmpfs of 64 MB): acknowledgements stop, nobody is cut, and all is stored in the end', async ({
  skip,
}) => {
  const folder = await dataFolder()
  const spool = join(folder, 'spool')
  mkdirSync(spool, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'outrigger-test', spool], { stdio: 'ignore' })
  } catch {
    skip('file systems cannot be mounted here')
  }
  let service: RunningService | undefined
  onTestFinished(async () => {
    await service?.stop()
    execFileSync('umount', [spool])
  })
  service = await startService(folder, { LOG_LEVEL: 'fatal' })
  const letGo = await holdRecords(service)
  const clients = await Promise.all(Array.from({ length: 8 }, () => connectClient(service as RunningService)))
  let cut = 0
  for (const client of clients) client.on('close', () => cut++)
  const MESSAGES = 900 // of 100 kB each
  const sent = Array.from({ length: MESSAGES }, (_, i) =>
    publish(clients[i % 8] as never, `machines/${idOf(i)}/telemetry`, { ...set(start), note: 'x'.repeat(100_000) }),
  )
  const part = await until(async () => {
    const state = await partOf(service as RunningService, 'spool')
    return state.ready ? undefined : state
  }, 60_000)
  expect(part).toMatchObject({ status: 503, note: expect.stringContaining('ENOSPC') })

  await letGo()
  await Promise.all(sent)
  expect(cut).toBe(0)
  expect(await outcomes(service)).toEqual({ received: MESSAGES, stored: MESSAGES, duplicate: 0, quarantined: 0 })
})
