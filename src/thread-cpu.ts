import { readFileSync } from 'node:fs'

/** Ticks of the clock in which /proc counts CPU time, per second: on Linux a constant of its interface. */
const TICKS = 100

/** CPU time that the calling thread has used since it began, seconds; undefined where the system does not tell: only Linux does. */
export function threadCpuSeconds(): number | undefined {
  try {
    const stat = readFileSync('/proc/thread-self/stat', 'utf8')
    // what stands before is the name in parentheses, which may hold anything
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS
  } catch {
    return undefined
  }
}
