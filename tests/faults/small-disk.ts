import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Whether this account may mount file systems here. */
export const mayMount = (() => {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-mount-'))
  try {
    mount('-t', 'tmpfs', '-o', 'size=1m', 'outrigger-test', folder)
    execFileSync('umount', [folder])
    return true
  } catch {
    return false
  } finally {
    rmSync(folder, { recursive: true })
  }
})()

/** Puts a file system of so many MiB at a folder, until the test's end. */
export function mountSmallDisk(folder: string, megabytes: number): void {
  mkdirSync(folder, { recursive: true })
  mount('-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755`, 'outrigger-test', folder)
  unmountAtEnd(folder)
}

/** Puts an ordinary folder at another place, so that it is not on the disk that it seems to be on, until the test's end. */
export function mountElsewhere(source: string, folder: string): void {
  mkdirSync(source, { recursive: true })
  mkdirSync(folder, { recursive: true })
  mount('--bind', source, folder)
  unmountAtEnd(folder)
}

function mount(...args: string[]): void {
  execFileSync('mount', args, { stdio: 'ignore' })
}

/** Lazily, since programs of a service that was killed may still be ending there. */
function unmountAtEnd(folder: string): void {
  onTestFinished(() => void execFileSync('umount', ['--lazy', folder]))
}
