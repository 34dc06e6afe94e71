import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'
import { delimiter, join } from 'node:path'
import { projectRoot } from '../../root.ts'

/** What the figures were measured on. */
export interface MachineFacts {
  readonly measured_at: string
  readonly cores: number
  readonly cpu: string
  readonly memory_mb: number
  readonly system: string
  /** Of the minute before. */
  readonly load_average: number
  /** 4 KiB written and forced to the disk of the temporary folder: median and 99th percentile, ms. */
  readonly fsync_ms: { readonly p50: number; readonly p99: number }
  readonly node: string
  readonly aedes: string
  readonly duckdb: string
  /** null: not installed. */
  readonly mosquitto: string | null
}

const SYNCS = 200

/** @param folder on the disk that the service will use */
export async function readMachineFacts(folder: string): Promise<MachineFacts> {
  return {
    measured_at: new Date().toISOString(),
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memory_mb: Math.round(totalmem() / 2 ** 20),
    system: `${type()} ${release()} ${arch()}`,
    load_average: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    fsync_ms: await fsyncCost(folder),
    node: process.version.slice(1),
    aedes: packageVersion('aedes'),
    duckdb: packageVersion('@duckdb/node-api'),
    mosquitto: mosquittoVersion(),
  }
}

/** The program, where distributions put it; undefined: it is not installed. */
export function findMosquitto(): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/sbin']
  return folders.map((folder) => join(folder, 'mosquitto')).find((path) => existsSync(path))
}

function mosquittoVersion(): string | null {
  const program = findMosquitto()
  if (!program) return null
  return /version (\S+)/.exec(spawnSync(program, ['-h'], { encoding: 'utf8' }).stdout)?.[1] ?? 'unknown'
}

function packageVersion(name: string): string {
  return JSON.parse(readFileSync(join(projectRoot, 'node_modules', name, 'package.json'), 'utf8')).version
}

async function fsyncCost(folder: string): Promise<{ p50: number; p99: number }> {
  const file = await open(join(folder, 'fsync'), 'w')
  const bytes = Buffer.alloc(4096, 1)
  const times: number[] = []
  for (let written = 0; written < SYNCS; written++) {
    const begun = performance.now()
    await file.write(bytes)
    await file.datasync()
    times.push(performance.now() - begun)
  }
  await file.close()
  times.sort((a, b) => a - b)
  const at = (share: number) => Math.round((times[Math.floor(share * (SYNCS - 1))] as number) * 100) / 100
  return { p50: at(0.5), p99: at(0.99) }
}
