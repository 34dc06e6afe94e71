import { expect, onTestFinished, test } from 'vitest'
import { type AccessBook, type AccessChange, openAccessBook } from '../../src/acquire/access-book.ts'
import { startAccessFeed } from '../../src/machines/access-feed.ts'
import { bindDevice } from '../../src/machines/bindings.ts'
import {
  CredentialExists,
  CredentialRefused,
  CredentialUnknown,
  changeCredential,
  credentialByName,
  issueCredential,
  issueMissing,
  listCredentials,
  noteUse,
  revokeCredential,
  rotateCredential,
} from '../../src/machines/credentials.ts'
import { registerMachine } from '../../src/machines/machines.ts'
import { mergeMachines } from '../../src/machines/merge.ts'
import { log } from '../acquire/spool-case.ts'
import { testRecords } from '../records/test-records.ts'
import { catalogue, decision, noteMoves, now } from './story.ts'

const { db } = await testRecords()
const key = new Uint8Array(32).fill(3)
const unlimited = { connections: undefined, messagesPerSecond: undefined, packetBytes: undefined }

const issue = (kind: 'machine' | 'gateway' | 'bridge', id: string, more = {}) =>
  issueCredential(db, key, { kind, id, ...more }, decision)

const auditOf = (subject: string) =>
  db.selectFrom('audit').selectAll().where('subject', '=', subject).orderBy('id').execute()

/** A broker's book that follows the records. */
async function follow(at = { now }) {
  const book = openAccessBook({ key, prefix: '', service: undefined, certificates: true, now: () => 0 })
  const pushed: AccessChange[] = []
  const feed = await startAccessFeed({
    db,
    push: async (change) => {
      pushed.push(change)
      book.takeOver(change)
    },
    used: async () => book.used(),
    now: () => at.now,
    log,
  })
  onTestFinished(() => feed.stop())
  return { book, pushed, refresh: feed.refresh }
}

function logIn(book: AccessBook, username: string, secret: string | undefined) {
  const password = Buffer.from(secret ?? '')
  return book.identify({ clientId: 'c', username, password, certificate: undefined, address: '127.0.0.1' })
}

test('what was issued logs in, is told once, and is nowhere in the records', async () => {
  const { credential, secret } = await issue('machine', 'pump-1', { limits: { connections: 2 } })
  expect(secret).toMatch(/^[\w-]{32}$/)
  expect(credential).toEqual({
    kind: 'machine',
    id: 'pump-1',
    proof: 'secret',
    limits: { ...unlimited, connections: 2 },
    machines: [],
    createdAt: new Date(now),
    createdBy: 'li.wei',
    rotatedAt: null,
    rotatedBy: null,
    revokedAt: null,
    revokedBy: null,
    lastUsedAt: null,
  })
  const { book } = await follow()
  expect(logIn(book, 'pump-1', secret)).toMatchObject({ kind: 'machine', limits: { connections: 2 } })
  const everything = JSON.stringify([
    await db.selectFrom('credentials').selectAll().execute(),
    await db.selectFrom('audit').selectAll().execute(),
  ])
  expect(everything).not.toContain(secret)
  expect(await auditOf('pump-1')).toMatchObject([{ action: 'credential.issue', by: 'li.wei', reason: 'as agreed' }])
})

test('a rotated secret takes the place of the one before, and the audit log knows who did it', async () => {
  const { secret: before } = await issue('machine', 'rotating')
  const { book, refresh } = await follow()
  const { credential, secret } = await rotateCredential(db, key, { kind: 'machine', id: 'rotating' }, decision)
  expect(credential).toMatchObject({ rotatedAt: new Date(now), rotatedBy: 'li.wei' })
  expect(logIn(book, 'rotating', before)).toMatchObject({ id: 'rotating' }) // nobody has told the broker yet
  await refresh()
  expect(logIn(book, 'rotating', before)).toBe('wrong_secret')
  expect(logIn(book, 'rotating', secret)).toMatchObject({ id: 'rotating' })
  const [, entry] = await auditOf('rotating')
  expect(entry).toMatchObject({ action: 'credential.rotate', after: { rotatedAt: new Date(now).toISOString() } })
  expect(JSON.stringify(entry)).not.toContain(secret)
})

test('who is revoked stays out until credentials are issued anew', async () => {
  const { secret } = await issue('machine', 'leaving')
  const { book, refresh } = await follow()
  await revokeCredential(db, { kind: 'machine', id: 'leaving' }, decision)
  await refresh()
  expect(logIn(book, 'leaving', secret)).toBe('revoked')
  await expect(rotateCredential(db, key, { kind: 'machine', id: 'leaving' }, decision)).rejects.toThrow(
    CredentialRefused,
  )
  const again = await issue('machine', 'leaving')
  await refresh()
  expect(logIn(book, 'leaving', secret)).toBe('wrong_secret')
  expect(logIn(book, 'leaving', again.secret)).toMatchObject({ id: 'leaving' })
})

test('a registered machine that shows a certificate can be locked out, a stranger cannot', async () => {
  await registerMachine(db, catalogue, { id: 'certified', type: 'tower_crane' }, decision)
  const { book, refresh } = await follow()
  const show = () =>
    book.identify({
      clientId: 'c',
      username: undefined,
      password: undefined,
      certificate: 'certified',
      address: '127.0.0.1',
    })
  expect(show()).toMatchObject({ kind: 'machine', id: 'certified' })
  expect(await revokeCredential(db, { kind: 'machine', id: 'certified' }, decision)).toMatchObject({ proof: 'none' })
  await refresh()
  expect(show()).toBe('revoked')
  await expect(revokeCredential(db, { kind: 'machine', id: 'stranger' }, decision)).rejects.toThrow(CredentialUnknown)
})

test('a bridge speaks for what is assigned to it, as long as it is', async () => {
  const name = { kind: 'bridge', id: 'site-4' } as const
  const { secret } = await issue('bridge', 'site-4', { machines: ['m-2', 'm-1', 'm-1'] })
  const { book, refresh } = await follow()
  const topics = ['m-1', 'm-2', 'm-3'].map((machine) => `machines/${machine}/telemetry`)
  const allowed = () => {
    const identity = logIn(book, 'site-4', secret)
    if (typeof identity === 'string' || identity instanceof Promise) throw new Error(`not let in: ${identity}`)
    return topics.map((topic) => identity.mayPublish(topic))
  }
  expect(allowed()).toEqual([true, true, false])
  const changed = await changeCredential(db, name, { assign: ['m-3'], unassign: ['m-1', 'm-9'] }, decision)
  expect(changed.machines).toEqual(['m-2', 'm-3'])
  await refresh()
  expect(allowed()).toEqual([false, true, true])
  expect((await auditOf('site-4')).at(-1)).toMatchObject({
    action: 'credential.change',
    before: { machines: ['m-1', 'm-2'] },
    after: { machines: ['m-2', 'm-3'] },
  })
})

test('limits that are not named stay, null lifts them', async () => {
  const name = { kind: 'gateway', id: 'limited' } as const
  await issue('gateway', 'limited', { limits: { connections: 1, packetBytes: 1_000 } })
  const { limits } = await changeCredential(
    db,
    name,
    { limits: { packetBytes: null, messagesPerSecond: 0.5 } },
    decision,
  )
  expect(limits).toEqual({ connections: 1, messagesPerSecond: 0.5, packetBytes: undefined })
})

for (const { name, more, fault } of [
  { name: 'a user name with a slash', more: { id: 'a/b' }, fault: CredentialRefused },
  { name: 'a short password', more: { id: 'weak', password: 'short' }, fault: CredentialRefused },
  { name: 'machines of a machine', more: { id: 'proud', machines: ['x'] }, fault: CredentialRefused },
  { name: 'a machine id that is none', more: { id: 'b', kind: 'bridge', machines: ['a b'] }, fault: CredentialRefused },
  { name: 'a user name that is taken', more: { id: 'taken' }, fault: CredentialExists },
  { name: 'a user name of another kind', more: { id: 'taken', kind: 'bridge' }, fault: CredentialExists },
]) {
  test(`nothing is issued for ${name}`, async () => {
    if (more.id === 'taken') await issue('machine', 'taken').catch(() => {})
    await expect(issue('machine', 'x', more)).rejects.toThrow(fault)
  })
}

test('who is unknown, or of another kind, cannot be changed', async () => {
  await issue('machine', 'only-machine')
  for (const id of ['nobody', 'only-machine']) {
    const name = { kind: 'gateway', id } as const
    await expect(rotateCredential(db, key, name, decision)).rejects.toThrow(CredentialUnknown)
    await expect(revokeCredential(db, name, decision)).rejects.toThrow(CredentialUnknown)
    await expect(changeCredential(db, name, {}, decision)).rejects.toThrow(CredentialUnknown)
  }
})

test('a list goes on where the page before ended', async () => {
  await issue('gateway', 'list-a')
  await issue('bridge', 'list-b', { machines: ['listed'] })
  await issue('gateway', 'list-c')
  const ids = async (query: Partial<Parameters<typeof listCredentials>[1]>) =>
    (await listCredentials(db, { limit: 10, after: 'list', ...query }))
      .map(({ id }) => id)
      .filter((id) => id.startsWith('list-'))
  expect(await ids({ limit: 2 })).toEqual(['list-a', 'list-b'])
  expect(await ids({ after: 'list-b' })).toEqual(['list-c'])
  expect(await ids({ kind: 'gateway' })).toEqual(['list-a', 'list-c'])
  expect(await ids({ machine: 'listed' })).toEqual(['list-b'])
  expect(await ids({ revoked: true })).toEqual([])
})

test('many at once: who has some keeps them, revoked ones too', async () => {
  const { secret } = await issue('machine', 'bulk-1')
  await issue('machine', 'bulk-2')
  await revokeCredential(db, { kind: 'machine', id: 'bulk-2' }, decision)
  const ids = Array.from({ length: 5_000 }, (_, n) => `bulk-${n}`)
  const secrets = await db.transaction().execute((trx) => issueMissing(trx, key, ids, decision))
  expect(secrets.size).toBe(4_998)
  expect(new Set(secrets.values()).size).toBe(4_998)
  const { book } = await follow()
  expect(logIn(book, 'bulk-1', secret)).toMatchObject({ id: 'bulk-1' })
  expect(logIn(book, 'bulk-2', secrets.get('bulk-3'))).toBe('revoked')
  for (const id of ['bulk-0', 'bulk-3', 'bulk-4999'])
    expect(logIn(book, id, secrets.get(id))).toMatchObject({ kind: 'machine', id })
  expect(await auditOf('bulk-3')).toMatchObject([{ action: 'credential.issue', by: 'li.wei' }])
  const again = await db.transaction().execute((trx) => issueMissing(trx, key, ids, decision))
  expect(again.size).toBe(0)
})

test('when somebody logged in last is written down', async () => {
  const { secret } = await issue('machine', 'busy')
  const { book, refresh } = await follow()
  logIn(book, 'busy', secret)
  await noteUse(db, book.used(), now + 5)
  await refresh()
  expect(await credentialByName(db, { kind: 'machine', id: 'busy' })).toMatchObject({ lastUsedAt: new Date(now + 5) })
})

test('a device hears the advice for the machine that it sits in, from the instant that it does', async () => {
  const at = { now }
  const { secret } = await issue('machine', 'box-1')
  for (const id of ['crane-a', 'crane-b', 'crane-c'])
    await registerMachine(db, catalogue, { id, type: 'tower_crane' }, decision)
  const { book, refresh } = await follow(at)
  const heard = async () => {
    await refresh()
    const identity = logIn(book, 'box-1', secret)
    if (typeof identity === 'string' || identity instanceof Promise) throw new Error(`not let in: ${identity}`)
    return ['box-1', 'crane-a', 'crane-b', 'crane-c'].filter((id) => identity.maySubscribe(`machines/${id}/advice`))
  }
  const bind = (machine: string, from: Date | null) =>
    bindDevice(db, { device: 'box-1', machine, from, to: null }, decision, noteMoves().moveHistory)
  expect(await heard()).toEqual(['box-1'])
  await bind('crane-a', null)
  expect(await heard()).toEqual(['box-1', 'crane-a'])
  await bind('crane-b', new Date(now + 60_000))
  expect(await heard()).toEqual(['box-1', 'crane-a'])
  at.now = now + 60_000
  expect(await heard()).toEqual(['box-1', 'crane-b'])
  await mergeMachines(db, { from: 'crane-b', into: 'crane-c' }, decision, noteMoves().moveHistory)
  expect(await heard()).toEqual(['box-1', 'crane-c'])
})

test('what was changed is told once, and what could not be told is told again', async () => {
  const failures = { left: 0 }
  const told: string[][] = []
  const feed = await startAccessFeed({
    db,
    push: async ({ identities }) => {
      if (failures.left-- > 0) throw new Error('the broker is away')
      told.push(identities.map(({ id }) => id))
    },
    used: async () => [],
    now: () => now,
    log,
  })
  onTestFinished(() => feed.stop())
  told.length = 0
  await feed.refresh()
  expect(told).toEqual([])
  failures.left = 1
  await issue('machine', 'told-1')
  await expect(feed.refresh()).rejects.toThrow('the broker is away')
  await issue('machine', 'told-2')
  await feed.refresh()
  expect(told.map((ids) => ids.sort())).toEqual([['told-1', 'told-2']])
})
