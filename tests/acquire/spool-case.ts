import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { SpooledMessage } from '../../src/acquire/message.ts'
import { type Incoming, openSpool, type Spool, type SpoolOptions } from '../../src/acquire/spool.ts'
import { nodeDisk, type SpoolDisk } from '../../src/acquire/spool-disk.ts'
import { openSpoolReader } from '../../src/acquire/spool-reader.ts'
import { messageKind } from '../../src/acquire/topics.ts'
import { openLog } from '../../src/log.ts'

export const log = openLog('test', 'silent')

/** Waits for no medium; for what a test only wants to find there. */
export const unsyncedDisk: SpoolDisk = {
  ...nodeDisk,
  create: async (path) => ({ ...(await nodeDisk.create(path)), datasync: async () => {} }),
  syncFolder: async () => {},
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger acquire '))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export async function spoolIn(folder: string, options: Partial<SpoolOptions> = {}): Promise<Spool> {
  const spool = await openSpool({ folder, kindOf: (topic) => messageKind(topic, ''), log, ...options })
  onTestFinished(() => spool.close().catch(() => {}))
  return spool
}

export function incoming(text: string, more: Partial<Incoming> = {}): Incoming {
  return {
    receivedAt: 1_767_225_600_000,
    topic: 'machines/m-1/telemetry',
    payload: Buffer.from(text),
    qos: 1,
    retained: false,
    origin: 'mqtt',
    ...more,
  }
}

/** Everything from `from` up to what is committed, and the damage that was met. */
export function readAll(
  folder: string,
  upTo: number,
  from = 0,
): { messages: SpooledMessage[]; damaged: number; lost: number; stretches: SpooledMessage[] } {
  const reader = openSpoolReader({ folder, from, log })
  const messages: SpooledMessage[] = []
  for (;;) {
    const some = reader.read(upTo, 7, 5_000)
    if (some.length === 0) break
    messages.push(...some)
  }
  reader.close()
  return {
    messages: messages.filter(({ origin }) => origin !== 'damage'),
    damaged: reader.damage.stretches,
    lost: reader.damage.lost,
    stretches: messages.filter(({ origin }) => origin === 'damage'),
  }
}

export function texts(messages: readonly SpooledMessage[]): string[] {
  return messages.map(({ payload }) => payload.toString())
}

export function damageFile(path: string, damage: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path)
  damage(bytes)
  writeFileSync(path, bytes)
}
