import { chmod, chown, cp, mkdir, mkdtemp, realpath, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { unprivilegedAccount } from '../../src/records/account.ts'
import { placeRecords } from '../../src/records/records-place.ts'

/** A data folder that only its owner can reach, and a state folder. */
async function folders() {
  const top = await realpath(await mkdtemp(join(tmpdir(), 'outrigger-place-')))
  onTestFinished(() => rm(top, { recursive: true }))
  await chmod(top, 0o755)
  const [closed, stateFolder] = [join(top, 'closed'), join(top, 'state')]
  const dataFolder = join(closed, 'data')
  await mkdir(dataFolder, { recursive: true })
  await chmod(closed, 0o700)
  return { dataFolder, closed, stateFolder }
}

describe.runIf(process.getuid?.() === 0)('place of the records, as root', () => {
  test('in the data folder where the account of PostgreSQL can reach it, and closed to others', async () => {
    const { dataFolder, closed, stateFolder } = await folders()
    await chmod(closed, 0o711)
    const place = await placeRecords(dataFolder, stateFolder)
    expect(place).toMatchObject({ folder: join(dataFolder, 'records'), account: await unprivilegedAccount() })
    const { mode, uid } = await stat(place.folder)
    expect([mode & 0o777, uid]).toEqual([0o700, place.account?.uid])
  })

  test('elsewhere where it cannot, at every start in the same place', async () => {
    const { dataFolder, stateFolder } = await folders()
    const { folder } = await placeRecords(dataFolder, stateFolder)
    expect(folder.startsWith(`${stateFolder}/`)).toBe(true)
    expect((await placeRecords(dataFolder, stateFolder)).folder).toBe(folder)
    await expect(stat(join(dataFolder, 'records'))).rejects.toThrow('ENOENT')
  })

  test('records are found again though the data folder became reachable, or was renamed', async () => {
    const { dataFolder, closed, stateFolder } = await folders()
    const { folder } = await placeRecords(dataFolder, stateFolder)
    await mkdir(join(folder, 'pgdata'))
    await chmod(closed, 0o755)
    expect((await placeRecords(dataFolder, stateFolder)).folder).toBe(folder)
    await rename(dataFolder, `${dataFolder}-moved`)
    expect((await placeRecords(`${dataFolder}-moved`, stateFolder)).folder).toBe(folder)
  })

  test('a data folder that was deleted and made again does not find old records', async () => {
    const { dataFolder, stateFolder } = await folders()
    const { folder } = await placeRecords(dataFolder, stateFolder)
    await rm(dataFolder, { recursive: true })
    await mkdir(dataFolder)
    expect((await placeRecords(dataFolder, stateFolder)).folder).not.toBe(folder)
  })

  test('a copy of the data folder does not get the records of the original', async () => {
    const { dataFolder, stateFolder } = await folders()
    const { folder } = await placeRecords(dataFolder, stateFolder)
    const copy = `${dataFolder}-copy`
    await cp(dataFolder, copy, { recursive: true })
    await expect(placeRecords(copy, stateFolder)).rejects.toThrow(`belong to ${dataFolder},`)
    await rm(join(copy, 'records-id'))
    expect((await placeRecords(copy, stateFolder)).folder).not.toBe(folder)
    expect((await placeRecords(dataFolder, stateFolder)).folder).toBe(folder)
  })

  test("records of an ordinary user stay that user's", async () => {
    const { dataFolder, stateFolder } = await folders()
    await mkdir(join(dataFolder, 'records', 'pgdata'), { recursive: true })
    await chown(join(dataFolder, 'records', 'pgdata'), 1, 1)
    const place = await placeRecords(dataFolder, stateFolder)
    expect(place).toMatchObject({ folder: join(dataFolder, 'records'), account: { uid: 1, gid: 1 } })
  })

  test('a state folder that the account cannot reach either is an error that names the ways out', async () => {
    const { dataFolder, closed } = await folders()
    await expect(placeRecords(dataFolder, join(closed, 'state'))).rejects.toThrow(/OUTRIGGER_DATA.*DATABASE_URL/)
  })
})
