import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { runAs, unprivilegedAccount } from '../../src/records/account.ts'
import { findPostgres } from '../../src/records/postgres-program.ts'

const isRoot = process.getuid?.() === 0
const account = isRoot ? await unprivilegedAccount() : undefined

/** A copy of the npm package as it comes, without the links that its post-install script makes, in a folder of `mode`. */
async function packageIn(mode: number) {
  const top = await mkdtemp(join(tmpdir(), 'outrigger-program-'))
  onTestFinished(() => rm(top, { recursive: true, force: true }))
  await chmod(top, 0o755)
  const folder = join(top, 'package')
  const { postgres } = await findPostgres(undefined, top)
  await mkdir(folder)
  execFileSync('cp', ['-RP', dirname(dirname(postgres)), folder])
  execFileSync('find', [folder, '-type', 'l', '-delete'])
  await chmod(folder, mode)
  return { npmPackage: { folder, version: '1.2.3' }, copies: join(top, 'copies') }
}

test('program: runs from its package, once the links to its libraries are made', async () => {
  const { npmPackage, copies } = await packageIn(0o755)
  const { postgres, initdb } = await findPostgres(account, copies, npmPackage)
  expect(postgres).toBe(join(npmPackage.folder, 'native', 'bin', 'postgres'))
  await runAs(account, initdb, ['--version'])
})

test.runIf(isRoot)('program: runs from one copy where its account cannot reach the package', async () => {
  const { npmPackage, copies } = await packageIn(0o700)
  const found = await Promise.all([1, 2].map(() => findPostgres(account, copies, npmPackage)))
  expect(new Set(found.map(({ postgres }) => postgres))).toEqual(
    new Set([join(copies, 'postgresql-1.2.3', 'native', 'bin', 'postgres')]),
  )
  for (const { initdb } of found) await runAs(account, initdb, ['--version'])
  expect(await readdir(copies)).toEqual(['postgresql-1.2.3'])
})

test('program: what does not run names the way out', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-program-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const npmPackage = { folder: join(folder, 'package'), version: '1.2.3' }
  await mkdir(join(npmPackage.folder, 'native', 'bin'), { recursive: true })
  await writeFile(join(npmPackage.folder, 'native', 'pg-symlinks.json'), '[]')
  await expect(findPostgres(account, join(folder, 'copies'), npmPackage)).rejects.toThrow('DATABASE_URL')
})
