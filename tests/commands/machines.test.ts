import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { noteUse } from '../../src/machines/credentials.ts'
import { holdDataFolder } from '../../src/records/data-folder.ts'
import { projectRoot } from '../../src/root.ts'
import { now, runningApi } from '../api/running-api.ts'

const api = await runningApi()
let address = ''
beforeAll(async () => {
  address = await api.app.listen({ host: '127.0.0.1', port: 0 })
})

async function temporary(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger machines-'))
  await chmod(folder, 0o755)
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** A data folder on which a service seems to run, with the API of this test. */
async function served(): Promise<string> {
  const folder = await temporary()
  const hold = await holdDataFolder(folder, { address })
  onTestFinished(() => hold.release())
  return folder
}

async function machines(folder: string, words: readonly string[], input = '', environment = {}) {
  const child = spawn(process.execPath, [join(projectRoot, 'bin', 'run.mjs'), 'machines', ...words], {
    env: { PATH: process.env.PATH, OUTRIGGER_DATA: folder, ...environment },
    cwd: await temporary(),
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const said = { out: '', error: '' }
  child.stdout.on('data', (chunk) => (said.out += chunk))
  child.stderr.on('data', (chunk) => (said.error += chunk))
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { ...said, code }
}

const table = 'device;machine;type;site\nbox-1;pump-1;boom_pump;Hafen\nbox-2;pump-2;boom_pump;Hafen\n'

test('a fleet is imported through the running service, its secrets go into a file of their own, and once', async () => {
  const folder = await served()
  const file = join(folder, 'fleet.csv')
  const secrets = join(folder, 'secrets.csv')
  await writeFile(file, table)
  expect(await machines(folder, ['import', file, '--dry-run', '--credentials', secrets])).toEqual({
    out: 'Would import: 2 machines new, 2 devices bound, 2 secrets issued.\n',
    error: '',
    code: 0,
  })
  expect(await readdir(folder)).not.toContain('secrets.csv')

  const imported = await machines(folder, ['import', file, '--credentials', secrets, '--reason', 'spring'])
  expect(imported.out).toMatch(/^Imported: 2 machines new, 2 devices bound, 2 secrets issued\.\nThe secrets are in/)
  expect(await readFile(secrets, 'utf8')).toMatch(/^username,password\nbox-1,[\w-]{32}\nbox-2,[\w-]{32}\n$/)
  expect((await stat(secrets)).mode & 0o777).toBe(0o600)
  const audit = (await api.get('/audit?subject=pump-1')).body.items
  expect(audit).toMatchObject([{ action: 'machine.register', user: userInfo().username, reason: 'spring' }])

  const again = await machines(folder, ['import', file, '--credentials', secrets])
  expect(again).toMatchObject({ code: 2, error: expect.stringContaining('only copy') })
  const other = join(folder, 'other.csv')
  const unchanged = await machines(folder, ['import', '-', '--credentials', other, '--json'], table)
  expect([unchanged.code, JSON.parse(unchanged.out)]).toMatchObject([0, { outcome: 'unchanged', issued: 0 }])
  expect(await readdir(folder)).not.toContain('other.csv')
})

test('every wrong line is told with its place in the file', async () => {
  const folder = await served()
  const file = join(folder, 'wrong.csv')
  await writeFile(file, 'id,type,hours,colour\nok-1,boom_pump,1,red\nbad 1,boom_pump,x,\nbad-2,rocket,,\n')
  const refused = await machines(folder, ['import', file])
  expect([refused.code, refused.out]).toEqual([1, ''])
  const said = refused.error.split('\n')
  expect(said[0]).toBe(`${file}:3: machine: 'bad 1' is no id: 1 to 64 of A–Z a–z 0–9 . _ -`)
  expect(said[1]).toContain(`${file}:3: hours: 'x' is no number`)
  expect(said[2]).toContain(`${file}:4: 'rocket' is no type`)
  expect(said[3]).toBe('nothing was written, because 2 lines are wrong')

  const kept = await machines(folder, ['import', file, '--keep-going'])
  expect(kept).toMatchObject({
    code: 1,
    out: 'Imported: 1 machines new, 1 meter readings.\nColumns left out: colour.\n',
  })
  expect(kept.error).toContain(`${file}:4: 'rocket'`)
})

test('a machine is added, rotated, revoked, and added again', async () => {
  const folder = await served()
  const json = async (...words: string[]) => JSON.parse((await machines(folder, [...words, '--json'])).out)
  const added = await machines(folder, ['add', 'crane-1', '--type', 'tower_crane', '--hours', '12', '--user', 'ana'])
  expect(added.out).toMatch(
    /^crane-1 is written down\.\nUser name crane-1, password [\w-]{32} \(shown this once\)\.\n$/,
  )
  expect((await api.get('/audit?subject=crane-1')).body.items[0]).toMatchObject({ user: 'ana' })
  const again = await machines(folder, ['add', 'crane-1', '--type', 'tower_crane'])
  expect(again.out).toBe(
    'crane-1 is there as you say already.\ncrane-1 has credentials already: rotate gives a new secret.\n',
  )
  expect((await json('rotate', 'crane-1')).rotated).toMatchObject([{ id: 'crane-1', secret: expect.any(String) }])
  expect(await json('revoke', 'crane-1')).toEqual({ revoked: ['crane-1'] })
  expect(await machines(folder, ['rotate', 'crane-1'])).toMatchObject({
    code: 1,
    error: expect.stringContaining('revoked'),
  })
  expect(await json('add', 'crane-1', '--type', 'tower_crane')).toMatchObject({ secret: expect.any(String) })
  expect((await api.get('/credentials/machine/crane-1')).body).toMatchObject({ revokedAt: null })
})

test('a device that nobody has registered may log in all the same', async () => {
  const folder = await served()
  const { out } = await machines(folder, ['add', 'bare-1'])
  expect(out).toMatch(/^The machine bare-1 may log in\.\nUser name bare-1, password .{32} \(shown this once\)\.\n$/)
  expect((await api.get('/machines/bare-1')).status).toBe(404)
  const again = await machines(folder, ['add', 'bare-1'])
  expect(again).toMatchObject({ code: 1, error: "the machine 'bare-1' has credentials already\n" })
})

test('gateways and bridges are added, with a password that somebody brings along, and many are rotated into a file', async () => {
  const folder = await served()
  const bridge = await machines(folder, ['add', 'site-4', '--bridge', '--machines', 'pump-1, crane-2'])
  expect(bridge.out).toMatch(/^The bridge site-4 may log in\./)
  const more = await machines(folder, ['assign', 'site-4', '--machines', 'crane-9'])
  expect(more).toMatchObject({ code: 0, out: 'site-4 speaks for crane-2, crane-9, pump-1.\n' })
  const fewer = await machines(folder, ['unassign', 'site-4', '--machines', 'crane-2,pump-1', '--json'])
  expect(JSON.parse(fewer.out)).toEqual({ id: 'site-4', machines: ['crane-9'] })
  const brought = await machines(folder, ['add', 'gw-9', '--gateway', '--password-stdin'], 'a password from home\n')
  expect(brought).toMatchObject({ code: 0, out: expect.stringContaining('with the password that you gave') })
  expect((await api.get('/credentials/gateway/gw-9')).body.proof).toBe('password')

  const file = join(folder, 'rotated.csv')
  const rotated = await machines(folder, ['rotate', 'site-4', 'gw-9', 'nobody', '--credentials', file])
  expect(rotated).toMatchObject({ code: 1, out: '', error: expect.stringContaining("'nobody' has no") })
  expect(await readdir(folder)).not.toContain('rotated.csv')
  const both = await machines(folder, ['rotate', 'site-4', 'gw-9', '--credentials', file])
  expect(both).toMatchObject({ code: 0, out: `2 new secrets are in ${file}.\n` })
  expect(await readFile(file, 'utf8')).toMatch(/^username,password\nsite-4,.{32}\ngw-9,.{32}\n$/)
})

test('everybody who never logged in gets a new secret, or everybody', async () => {
  const folder = await served()
  const ids = async (...words: string[]) => {
    const file = join(folder, `${words.join('')}.csv`)
    expect(await machines(folder, ['rotate', ...words, '--credentials', file])).toMatchObject({ code: 0, error: '' })
    return [...(await readFile(file, 'utf8')).matchAll(/^(every-\d),.{32}$/gm)].map(([, id]) => id)
  }
  for (const id of ['every-1', 'every-2', 'every-3']) await api.post('/credentials', { kind: 'machine', id })
  await api.post('/credentials', { kind: 'machine', id: 'every-4', password: 'a password from home' })
  await api.post('/credentials/machine/every-3/revoke')
  await noteUse(api.records.db, ['every-1'], now)
  expect(await ids('--unused')).toEqual(['every-2'])
  expect(await ids('--all')).toEqual(['every-1', 'every-2'])
})

test('the list shows machines, devices, gateways and bridges', async () => {
  const folder = await served()
  await api.post('/machines/import?credentials=true', {
    rows: [{ device: 'listed-box', machine: 'listed-pump', type: 'boom_pump' }],
  })
  await api.post('/credentials', { kind: 'bridge', id: 'listed-site', machines: ['a', 'b', 'c', 'd', 'e'] })
  const { out } = await machines(folder, ['list'])
  expect(out).toMatch(/^ID +KIND +TYPE +STATE +CREDENTIALS +SPEAKS FOR +LOGGED IN +HEARD\n/)
  expect(out).toMatch(/\nlisted-box +device +– +– +secret +listed-pump +– +–\n/)
  expect(out).toMatch(/\nlisted-pump +machine +boom_pump +in_service +none +– +– +–\n/)
  expect(out).toMatch(/\nlisted-site +bridge +– +– +secret +a b c and 2 more +– +–\n/)
  const { items } = JSON.parse((await machines(folder, ['list', '--json'])).out)
  expect(items).toContainEqual(expect.objectContaining({ id: 'listed-site', speaksFor: ['a', 'b', 'c', 'd', 'e'] }))
})

test('where no service runs the records are opened, changed, and closed', async () => {
  const folder = join(await temporary(), 'data')
  expect(await machines(folder, ['list'])).toMatchObject({ code: 1, error: expect.stringContaining('nothing has run') })
  const added = await machines(folder, ['add', 'pump-1', '--type', 'boom_pump', '--json'])
  expect(JSON.parse(added.out)).toMatchObject({ outcome: 'written', secret: expect.any(String) })
  expect((await stat(join(folder, 'access.key'))).mode & 0o777).toBe(0o600)
  const { out, error } = await machines(folder, ['list'])
  expect([out.split('\n')[1], error]).toEqual([expect.stringMatching(/^pump-1 +machine +boom_pump/), ''])
  const hold = await holdDataFolder(folder)
  await hold.release()
}, 60_000)

for (const { words, code, says } of [
  { words: ['--help'], code: 0, says: 'machines -- import FILE.csv' },
  { words: [], code: 2, says: 'machines -- import FILE.csv' },
  { words: ['show'], code: 2, says: "there is no 'show'" },
  { words: ['constructor'], code: 2, says: "there is no 'constructor'" },
  { words: ['list', '--colour'], code: 2, says: '--colour' },
  { words: ['add'], code: 2, says: 'needs one id' },
  { words: ['add', 'a', '--bridge', '--gateway'], code: 2, says: 'a gateway or a bridge' },
  { words: ['assign', 'a'], code: 2, says: 'assign needs one id and --machines' },
  { words: ['assign', 'a', '--machines', 'b'], code: 1, says: "'a' has no credentials" },
  { words: ['rotate'], code: 2, says: 'rotate needs ids' },
  { words: ['rotate', '--all'], code: 2, says: 'need --credentials' },
  { words: ['rotate', 'a', '--all'], code: 2, says: 'rotate needs ids' },
  { words: ['import'], code: 2, says: 'needs one file' },
  { words: ['import', 'nowhere.csv'], code: 1, says: 'nowhere.csv' },
  { words: ['list', '--url', 'http://127.0.0.1:9'], code: 1, says: 'http://127.0.0.1:9 does not answer' },
  { words: ['add', 'a', '--type', 'rocket'], code: 1, says: "'rocket' is no type" },
  { words: ['add', 'a', '--site', 'b'], code: 1, says: 'needs its type' },
  { words: ['add', 'a', '--machines', 'b'], code: 1, says: 'a machine speaks for itself' },
  { words: ['revoke', 'nobody'], code: 1, says: 'has no credentials' },
]) {
  test(`machines ${words.join(' ')} ends with ${code} and says: ${says}`, async () => {
    const { out, error, code: ended } = await machines(await served(), words)
    expect(ended).toBe(code)
    expect(out + error).toContain(says)
    expect(out + error).not.toContain('    at ')
  })
}

test('the tail says why a machine does not show, and what became of its messages', async () => {
  await api.records.db.insertInto('machines').values({ id: 'heard-1', type: 'generic', state: 'unassigned' }).execute()
  const folder = await served()
  const { out, code } = await machines(folder, ['tail', 'heard-1'])
  expect([code, out.split('\n')[0]]).toEqual([0, 'heard-1 speaks for heard-1, generic, unassigned.'])
  expect(JSON.parse((await machines(folder, ['tail', 'heard-1', '--json'])).out)).toMatchObject({ id: 'heard-1' })
  expect((await machines(folder, ['tail', 'nobody'])).out).toContain(
    'nobody is no machine.\n  nothing was ever received',
  )
  const free = await machines(await temporary(), ['tail', 'heard-1'])
  expect(free).toMatchObject({ code: 1, error: expect.stringContaining('no service runs on') })
})
