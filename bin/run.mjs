#!/usr/bin/env node
/**
 * Runs a command of Outrigger from its TypeScript sources: bundles them once per content into
 * `node_modules/.cache/outrigger/<hash>/` and imports the result. Nobody has to build first, and no
 * compiler process stays behind beside the service.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import v8 from 'node:v8'

// The spool's syncs must not wait behind reads of the store: both use the threads of libuv. Read at their first use.
process.env.UV_THREADPOOL_SIZE ??= '8'

// Four helpers that share the short garbage of each thread between them cost more CPU than they save time.
v8.setFlagsFromString('--no-parallel-scavenge')
// By itself a heap grows to four times of what is alive in it before that is looked through.
v8.setFlagsFromString('--heap-growing-percent=80')

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const cache = join(root, 'node_modules', '.cache', 'outrigger')
const dayMs = 86_400_000

/** Entry points: each command, and each thread of the service. */
const entries = {
  start: 'src/main.ts',
  pipeline: 'src/pipeline-thread.ts',
  office: 'src/office-thread.ts',
  demo: 'src/commands/demo.ts',
  bench: 'src/commands/bench.ts',
  'bench-generator': 'src/commands/bench/generator-process.ts',
  'bench-aedes': 'src/commands/bench/aedes-process.ts',
  'bench-raw-store': 'src/commands/bench/raw-store-process.ts',
  replay: 'src/commands/replay.ts',
  queue: 'src/commands/queue.ts',
  machines: 'src/commands/machines.ts',
  catalogue: 'src/commands/catalogue.ts',
  reference: 'src/commands/reference.ts',
  simulate: 'simulators/simulate.ts',
}

function sources(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

async function build() {
  const hash = createHash('sha256').update(process.version)
  const files = [
    ...sources('src'),
    ...sources('simulators'),
    fileURLToPath(import.meta.url),
    join(root, 'package-lock.json'),
  ]
  for (const file of files) hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0')
  const folder = join(cache, hash.digest('hex').slice(0, 16))
  if (existsSync(folder)) return folder

  const { build: bundle } = await import('esbuild')
  mkdirSync(cache, { recursive: true })
  const partial = `${folder}.${process.pid}`
  await bundle({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(Object.entries(entries).filter(([, file]) => existsSync(join(root, file)))),
    outdir: partial,
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'linked',
    logLevel: 'error',
  })
  try {
    renameSync(partial, folder)
  } catch (error) {
    rmSync(partial, { recursive: true, force: true })
    if (!existsSync(folder)) throw error // somebody else's build of the same sources is as good
  }
  for (const name of readdirSync(cache)) {
    const old = join(cache, name)
    if (old !== folder && Date.now() - statSync(old).mtimeMs > dayMs) rmSync(old, { recursive: true, force: true })
  }
  return folder
}

const [command = '', ...rest] = process.argv.slice(2)
if (command !== 'build' && !Object.hasOwn(entries, command)) {
  console.error(`outrigger has no command '${command}'; there are: ${Object.keys(entries).join(', ')}`)
  process.exit(2)
}
const folder = await build()
if (command !== 'build') {
  const script = join(folder, `${command}.js`)
  process.argv = [process.argv[0], script, ...rest]
  process.setSourceMapsEnabled(true)
  await import(pathToFileURL(script).href)
}
