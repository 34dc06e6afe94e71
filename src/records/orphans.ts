import { execFile } from 'node:child_process'
import { readdir, readFile, readlink, realpath, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { BaseLogger } from 'pino'
import { processIdentity } from './process-identity.ts'

/** First the fast shutdown, which keeps a later start quick, then the immediate one, then no choice. */
const STEPS = [
  { signal: 'SIGINT', waitMs: 5_000 },
  { signal: 'SIGQUIT', waitMs: 2_000 },
  { signal: 'SIGKILL', waitMs: 2_000 },
] as const

/**
 * Ends what is left of a PostgreSQL on this cluster whose owner was killed. The caller holds the cluster's folder,
 * so no living process of ours wants it.
 *
 * @throws {Error} a process of it cannot be ended
 */
export async function endOrphans(cluster: string, log: BaseLogger): Promise<void> {
  let left = await processesOf(cluster)
  for (const { signal, waitMs } of STEPS) {
    if (left.length === 0) return
    log.info({ pids: left, signal }, 'ending a PostgreSQL that was left over')
    for (const pid of left) {
      try {
        process.kill(pid, signal)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
    for (let waited = 0; waited < waitMs && left.length > 0; waited += 20) {
      await delay(20)
      left = left.filter((pid) => processIdentity(pid) !== undefined)
    }
  }
  left = await processesOf(cluster)
  if (left.length > 0) throw new Error(`PostgreSQL (process ${left.join(', ')}) still runs on ${cluster}`)
}

/**
 * Removes lock files that name a process which is none of PostgreSQL's: it asks the system only whether the pid exists,
 * and takes a stranger that got the pid since, or a dead process that nobody has collected, for another postmaster.
 * The caller holds the cluster's folder and has ended its orphans.
 */
export async function removeStaleLocks(lockFiles: readonly string[]): Promise<void> {
  for (const file of lockFiles) {
    const pid = await pidIn(file)
    if (pid !== undefined && exists(pid)) await rm(file)
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

async function pidIn(lockFile: string): Promise<number | undefined> {
  const text = await readFile(lockFile, 'utf8').catch(() => '')
  const pid = Math.abs(Number.parseInt(text, 10)) // a stand-alone backend writes its pid as a negative number
  return pid > 1 ? pid : undefined
}

async function processesOf(cluster: string): Promise<number[]> {
  const folder = await realpath(cluster).catch(() => undefined)
  if (folder === undefined) return []
  return process.platform === 'linux' ? runningIn(folder) : postmasterOf(folder)
}

/** PostgreSQL's processes work in the folder of their cluster, the postmaster as well as backends that have lost theirs. */
async function runningIn(folder: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const workingFolder = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      if (workingFolder !== folder) return undefined
      const program = await readlink(`/proc/${pid}/exe`).catch(() => '')
      return /^postgres\b/.test(basename(program)) ? Number(pid) : undefined
    }),
  )
  return found.filter((pid) => pid !== undefined)
}

async function postmasterOf(folder: string): Promise<number[]> {
  const pid = await pidIn(join(folder, 'postmaster.pid'))
  if (pid === undefined) return []
  const { stdout } = await promisify(execFile)('ps', ['-o', 'command=', '-p', `${pid}`]).catch(() => ({ stdout: '' }))
  return stdout.includes('postgres') && stdout.includes(folder) ? [pid] : []
}
