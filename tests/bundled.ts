import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { onTestFinished } from 'vitest'
import { projectRoot } from '../src/root.ts'

/** Makes a program of a TypeScript file, to be run as a process of its own until the test's end. @returns its path */
export async function bundled(entryPoint: string): Promise<string> {
  const cache = join(projectRoot, 'node_modules', '.cache') // where the packages beside it are found
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'outrigger-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const outfile = join(folder, 'entry.mjs')
  await build({
    entryPoints: [entryPoint],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  })
  return outfile
}
