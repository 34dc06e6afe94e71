import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { build } from 'esbuild'
import { onTestFinished } from 'vitest'
import { projectRoot } from '../../src/root.ts'

export interface StartedProgram {
  readonly child: ChildProcess
  /** The first line it wrote, parsed as JSON. */
  readonly said: unknown
}

/** Bundles a TypeScript file of this folder; the path of the result is for `startProgram`. */
export async function bundleProgram(name: string): Promise<string> {
  const folder = join(projectRoot, 'node_modules', '.cache', 'outrigger-tests')
  await mkdir(folder, { recursive: true })
  const outfile = join(folder, `${randomUUID()}.mjs`)
  await build({
    entryPoints: [join(import.meta.dirname, name)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  })
  onTestFinished(() => rm(outfile, { force: true }))
  return outfile
}

/** Runs a bundle in a process of its own, which the test may kill, until it has said its line. */
export async function startProgram(
  bundle: string,
  args: readonly string[],
  account?: { uid: number; gid: number },
): Promise<StartedProgram> {
  const child = spawn(process.execPath, [bundle, ...args], {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
    ...account,
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  for await (const line of createInterface({ input: child.stdout })) return { child, said: JSON.parse(line) }
  throw new Error(`${bundle} ended without a word`)
}
