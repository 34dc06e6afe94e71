import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { rssMb } from '../../src/commands/bench/process-figures.ts'
import { freePort } from '../acquire/external-case.ts'
import { holdRecords, partOf } from '../service/held-records.ts'
import { dataFolder, type RunningService, startService, until } from '../service/running-service.ts'
import { setCounts, settledCounts } from '../service/set-counts.ts'
import { machineNames, type PublishingFleet, publishingFleet, registerPumps } from './publishing-fleet.ts'
import { mayMount, mountElsewhere, mountSmallDisk } from './small-disk.ts'

const MIB = 1 << 20
const STOP_MS = 60_000 // until acknowledgements stop
const STORE_MS = 120_000 // for what waits at the end
const MACHINES = machineNames(50)
/** So much of what is read but not acknowledged may wait in memory, and as much again may be under way to the disk. */
const GROWTH_MB = 150
const required = process.env.OUTRIGGER_REQUIRE_SERVERS === '1'
const hasStrace = required || spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0

async function startOn(folder: string, settings: Record<string, string> = {}) {
  const port = await freePort()
  const service = await startService(folder, { MQTT_PORT: String(port), LOG_LEVEL: 'fatal', ...settings })
  await registerPumps(service, MACHINES)
  return { service, port }
}

/** Awaits that nothing is acknowledged any more, and that the service says why. */
async function expectStopped(service: RunningService, fleet: PublishingFleet, why: RegExp): Promise<void> {
  await until(async () => ((await service.metric('spool_acknowledging')) === 0 ? true : undefined), STOP_MS)
  const { status, note } = await partOf(service, 'spool')
  expect([status, note]).toEqual([503, expect.stringMatching(why)])
  const before = { acknowledged: fleet.acknowledged(), memory: memoryOf(service) }
  await delay(3_000)
  await setCounts(service)
  expect(fleet.acknowledged()).toBe(before.acknowledged)
  expect(memoryOf(service) - before.memory).toBeLessThan(GROWTH_MB)
  expect(fleet.connected()).toBe(MACHINES.length)
}

/** Awaits that it goes on by itself, ends the load, and counts. */
async function expectAllStored(service: RunningService, fleet: PublishingFleet): Promise<void> {
  const before = fleet.acknowledged()
  await until(async () => (fleet.acknowledged() > before + MACHINES.length ? true : undefined), STOP_MS)
  await fleet.stop()
  const { quarantined } = await settledCounts(service, STORE_MS)
  expect(quarantined).toBe(0)
  expect(await service.metric('spool_damaged_total')).toBe(0)
  await until(async () => ((await service.request('GET', '/readyz')).body.ready ? true : undefined), STORE_MS)
  expect(await service.stop()).toBe(0)
  expect(await fleet.expectStored(service.folder)).toBe(fleet.acknowledged())
}

const memoryOf = ({ process: { pid } }: RunningService): number => rssMb(pid as number) ?? 0

test('the budget is used up twice: acknowledgements stop, it is said, nobody is cut off, and it goes on by itself', async () => {
  const { service, port } = await startOn(await dataFolder(), { OUTRIGGER_SPOOL_BYTES: String(16 * MIB) })
  const fleet = publishingFleet({ port, machines: MACHINES })
  for (const round of [1, 2]) {
    const letGo = await holdRecords(service)
    await expectStopped(service, fleet, /^full: .* of OUTRIGGER_SPOOL_BYTES \(16 MiB\)/)
    expect(await service.metric('spool_bytes')).toBeLessThanOrEqual(16 * MIB)
    await letGo()
    await until(async () => ((await service.metric('spool_acknowledging')) === 1 ? round : undefined), STOP_MS)
  }
  expect(fleet.lost()).toBe(0)
  await expectAllStored(service, fleet)
})

test.skipIf(!mayMount)(
  'the spool on a disk of 64 MiB that is full: the same, with the error, and over a crash',
  async () => {
    const folder = await dataFolder()
    mountSmallDisk(join(folder, 'spool'), 64)
    const { service, port } = await startOn(folder)
    const letGo = await holdRecords(service)
    const fleet = publishingFleet({ port, machines: MACHINES })
    await expectStopped(service, fleet, /ENOSPC/)
    await letGo()
    await until(async () => ((await service.metric('spool_acknowledging')) === 1 ? true : undefined), STOP_MS)
    expect(fleet.lost()).toBe(0)

    await holdRecords(service)
    await expectStopped(service, fleet, /ENOSPC/)
    await service.kill()
    const again = await startService(folder, { MQTT_PORT: String(port), LOG_LEVEL: 'fatal' })
    await expectAllStored(again, fleet)
  },
)

test.skipIf(!mayMount)(
  'the disk of the store alone is full: acknowledgements go on, and all is stored later',
  async () => {
    const folder = await dataFolder()
    mountSmallDisk(folder, 24)
    for (const part of ['spool', 'records']) mountElsewhere(`${folder}-${part}`, join(folder, part))
    const { service, port } = await startOn(folder)
    const fleet = publishingFleet({ port, machines: MACHINES, messagesPerSecond: 2_000 })
    await delay(1_000)
    const ballast = fillDisk(folder)
    const pipeline = async () => {
      const { ready, note } = await partOf(service, 'pipeline')
      return ready ? undefined : String(note)
    }
    expect(await until(pipeline, STOP_MS)).toMatch(/space|written|write/i)
    const before = fleet.acknowledged()
    await delay(10_000)
    expect(fleet.acknowledged()).toBeGreaterThan(before + 5_000)
    expect((await setCounts(service)).waiting).toBeGreaterThan(5_000)
    rmSync(ballast)
    await expectAllStored(service, fleet)
  },
)

test.skipIf(!mayMount)(
  'the disk of everything is full, records included: nothing is lost, and it goes on',
  async () => {
    const folder = await dataFolder()
    mountSmallDisk(folder, 400)
    const { service, port } = await startOn(folder, { OUTRIGGER_SPOOL_HISTORY_BYTES: '0' })
    const fleet = publishingFleet({ port, machines: MACHINES, messagesPerSecond: 2_000 })
    await delay(1_000)
    const ballast = fillDisk(folder)
    await until(async () => ((await partOf(service, 'spool')).note?.includes('ENOSPC') ? true : undefined), STOP_MS)
    const before = fleet.acknowledged()
    await delay(10_000)
    expect(fleet.acknowledged()).toBeLessThan(before + 1_000)
    rmSync(ballast)
    await expectAllStored(service, fleet)
  },
)

test.skipIf(!hasStrace)(
  'syncs of the spool fail with EIO: nothing is acknowledged, and it goes on in a new file',
  async () => {
    const { service, port } = await startOn(await dataFolder())
    const fleet = publishingFleet({ port, machines: MACHINES, messagesPerSecond: 500 })
    await delay(1_000)
    const disk = await failingSyncs(service)
    await expectStopped(service, fleet, /EIO/)
    await disk.mend()
    await expectAllStored(service, fleet)
    expect(fleet.lost()).toBe(0)
  },
)

/** Leaves no room on the disk of a folder. @returns the file that takes it */
function fillDisk(folder: string): string {
  const file = join(folder, 'ballast')
  const chunk = Buffer.alloc(64 * 1024)
  try {
    for (;;) writeFileSync(file, chunk, { flag: 'a' })
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC')
  }
  return file
}

/** Every sync of the spool's files fails from now on; what else the service writes is synced by another call. */
async function failingSyncs({ process: { pid } }: RunningService): Promise<{ mend(): Promise<void> }> {
  const tracer: ChildProcess = spawn(
    'strace',
    ['-f', '-q', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO', '-p', String(pid)],
    { stdio: 'ignore' },
  )
  const ended = once(tracer, 'exit')
  const mend = async () => {
    if (tracer.exitCode === null && tracer.signalCode === null) tracer.kill('SIGINT')
    await ended
  }
  onTestFinished(mend)
  return { mend }
}
