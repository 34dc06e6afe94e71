import { readdirSync, readFileSync } from 'node:fs'

/**
 * What Linux tells of processes in /proc. Where there is none, or a process has gone, the answers are undefined.
 */

/** Ticks of the clock in which /proc counts CPU time, per second: on Linux a constant of its interface. */
const TICKS = 100
const MIB = 1 << 20

interface Stat {
  readonly parent: number
  readonly cpuSeconds: number
  /** With that of children that have ended and were awaited. */
  readonly cpuSecondsWithEnded: number
}

function readStat(path: string): Stat | undefined {
  const text = read(path)
  if (text === undefined) return undefined
  // what stands before is the name in parentheses, which may hold anything
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticks = (field: number) => Number(fields[field - 3])
  const own = ticks(14) + ticks(15)
  return {
    parent: ticks(4),
    cpuSeconds: own / TICKS,
    cpuSecondsWithEnded: (own + ticks(16) + ticks(17)) / TICKS,
  }
}

/** CPU time of a process, all its threads together. */
export function cpuSeconds(pid: number): number | undefined {
  return readStat(`/proc/${pid}/stat`)?.cpuSeconds
}

/** CPU time of processes and of their children that have ended. */
export function cpuSecondsOfAll(pids: readonly number[]): number | undefined {
  return sum(pids.map((pid) => readStat(`/proc/${pid}/stat`)?.cpuSecondsWithEnded))
}

/** CPU time of each thread of a process by its id. */
export function threadCpuSeconds(pid: number): Map<string, number> {
  const threads = new Map<string, number>()
  for (const thread of list(`/proc/${pid}/task`)) {
    const stat = readStat(`/proc/${pid}/task/${thread}/stat`)
    if (stat) threads.set(thread, stat.cpuSeconds)
  }
  return threads
}

/** Children of a process, their children, and so on. */
export function descendants(pid: number): number[] {
  const parents = new Map<number, number>()
  for (const name of list('/proc')) {
    const stat = /^\d+$/.test(name) ? readStat(`/proc/${name}/stat`) : undefined
    if (stat) parents.set(Number(name), stat.parent)
  }
  const found = [pid]
  for (const parent of found) for (const [child, of] of parents) if (of === parent) found.push(child)
  return found.slice(1)
}

/** Memory of a process that is in RAM, MiB. */
export function rssMb(pid: number): number | undefined {
  return kilobytes(read(`/proc/${pid}/status`), 'VmRSS')
}

/** Memory of processes that is in RAM, MiB; what they share with others counts by its share. */
export function pssMb(pids: readonly number[]): number | undefined {
  return sum(pids.map((pid) => kilobytes(read(`/proc/${pid}/smaps_rollup`), 'Pss')))
}

function kilobytes(text: string | undefined, name: string): number | undefined {
  const found = text?.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))?.[1]
  return found === undefined ? undefined : (Number(found) * 1024) / MIB
}

/** Of what is there; undefined: nothing is. */
function sum(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined)
  return known.length === 0 ? undefined : known.reduce((total, value) => total + value, 0)
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
