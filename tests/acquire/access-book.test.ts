import { expect, test } from 'vitest'
import type { ConnectionAttempt, Identity, RefusedLogin } from '../../src/acquire/access.ts'
import { type AccessBookOptions, type KnownIdentity, openAccessBook } from '../../src/acquire/access-book.ts'
import { passwordVerifier, secretVerifier } from '../../src/acquire/access-secret.ts'

const key = new Uint8Array(32).fill(1)
const unlimited = { connections: undefined, messagesPerSecond: undefined, packetBytes: undefined }
const service = { username: 'fleet', password: 'fleet-password' }

function book(options: Partial<AccessBookOptions> = {}) {
  return openAccessBook({ key, prefix: '', service: undefined, certificates: false, now: () => 0, ...options })
}

function known(id: string, facts: Partial<KnownIdentity> = {}): KnownIdentity {
  const verifier = secretVerifier(key, id, `secret of ${id}`)
  return { kind: 'machine', id, verifier, revoked: false, limits: unlimited, machines: [], ...facts }
}

function attempt(facts: { [Fact in keyof ConnectionAttempt]?: ConnectionAttempt[Fact] | string }): ConnectionAttempt {
  const { password } = facts
  const bytes = typeof password === 'string' ? Buffer.from(password) : password
  const none = { clientId: 'c-1', username: undefined, certificate: undefined, address: '10.0.0.1' }
  return { ...none, ...facts, password: bytes } as ConnectionAttempt
}

const shown = (answer: Identity | RefusedLogin) =>
  typeof answer === 'string' ? answer : { kind: answer.kind, id: answer.id }

function admitted(answer: Identity | RefusedLogin | Promise<Identity | RefusedLogin>): Identity {
  if (typeof answer === 'string' || answer instanceof Promise) throw new Error(`not let in at once: ${answer}`)
  return answer
}

const login = (id: string, password = `secret of ${id}`) => attempt({ username: id, password })

test('as long as nobody has credentials, anybody is let in, whatever they show', () => {
  const access = book()
  expect(access.isOpen()).toBe(true)
  for (const given of [{}, { username: 'x' }, { username: 'x', password: 'y' }])
    expect(shown(admitted(access.identify(attempt(given))))).toEqual({ kind: 'anyone', id: 'c-1' })
})

test('from the first credentials on everybody has to log in, be they revoked or not, and who came in before is told off', () => {
  for (const revoked of [false, true]) {
    const access = book()
    const ended: unknown[] = []
    access.onChange((identity) => ended.push(identity))
    access.takeOver({ identities: [known('pump-1', { revoked })], registered: [] })
    expect(ended).toEqual([{ kind: 'anyone', id: '' }])
    expect(access.isOpen()).toBe(false)
    expect(access.identify(attempt({}))).toBe('no_credentials')
    expect(access.identify(attempt({ username: 'x', password: 'y' }))).toBe('unknown')
  }
  expect(book({ service }).isOpen()).toBe(false)
  expect(book({ certificates: true }).isOpen()).toBe(false)
})

for (const { name, given, answer } of [
  { name: 'the right secret', given: login('pump-1'), answer: { kind: 'machine', id: 'pump-1' } },
  { name: 'a wrong secret', given: login('pump-1', 'secret of pump-2'), answer: 'wrong_secret' },
  { name: 'no secret', given: attempt({ username: 'pump-1' }), answer: 'wrong_secret' },
  { name: 'an unknown user', given: login('pump-9'), answer: 'unknown' },
  { name: 'nothing', given: attempt({}), answer: 'no_credentials' },
  { name: 'a revoked one with its secret', given: login('old-1'), answer: 'revoked' },
  { name: 'the service', given: login('fleet', 'fleet-password'), answer: { kind: 'service', id: 'fleet' } },
  { name: 'the service with a wrong password', given: login('fleet', 'x'), answer: 'wrong_secret' },
  { name: 'the name of what every object has', given: login('constructor', ''), answer: 'unknown' },
  {
    name: 'the certificate of a registered machine',
    given: attempt({ certificate: 'crane-1' }),
    answer: { kind: 'machine', id: 'crane-1' },
  },
  {
    name: 'the certificate of a machine that has credentials',
    given: attempt({ certificate: 'pump-1', username: 'pump-1' }),
    answer: { kind: 'machine', id: 'pump-1' },
  },
  { name: 'the certificate of a stranger', given: attempt({ certificate: 'stolen-1' }), answer: 'unknown' },
  { name: 'the certificate of a revoked machine', given: attempt({ certificate: 'old-1' }), answer: 'revoked' },
  {
    name: 'the certificate of one and the name of another',
    given: attempt({ certificate: 'crane-1', username: 'pump-1' }),
    answer: 'wrong_secret',
  },
  {
    name: 'a certificate and a log-in: the log-in counts',
    given: attempt({ certificate: 'crane-1', username: 'pump-1', password: 'secret of pump-1' }),
    answer: { kind: 'machine', id: 'pump-1' },
  },
]) {
  test(`logging in with ${name}`, () => {
    const access = book({ service })
    access.takeOver({ identities: [known('pump-1'), known('old-1', { revoked: true })], registered: ['crane-1'] })
    const found = access.identify(given)
    if (found instanceof Promise) throw new Error('not at once')
    expect(shown(found)).toEqual(answer)
  })
}

const may = {
  'machines/d/telemetry': 'publish',
  'machines/d/faults': 'publish',
  'machines/d/status': 'publish',
  'machines/d/advice': 'subscribe',
  'gateways/d/telemetry': '',
  'machines/a/telemetry': '',
  'machines/a/advice': '',
  'machines/d/': '',
  'machines/d/telemetry/x': '',
  'machines/+/advice': '',
  'machines/d/+': '',
  'machines/d/#': '',
  'machines/#': '',
  '#': '',
  '$SYS/#': '',
  '$share/x/machines/d/advice': '',
}
for (const { kind, machines, rights } of [
  { kind: 'machine', machines: ['d'], rights: may },
  {
    kind: 'machine',
    machines: ['a'], // the device sits in machine a
    rights: { ...may, 'machines/a/advice': 'subscribe' },
  },
  {
    kind: 'bridge',
    machines: ['a'],
    rights: {
      ...Object.fromEntries(Object.keys(may).map((topic) => [topic, ''])),
      'machines/a/telemetry': 'publish',
      'machines/a/faults': 'publish',
      'machines/a/status': 'publish',
      'machines/a/advice': 'subscribe',
    },
  },
  {
    kind: 'gateway',
    machines: ['a'],
    rights: {
      ...Object.fromEntries(Object.keys(may).map((topic) => [topic, ''])),
      'gateways/d/telemetry': 'publish',
      'machines/a/advice': 'subscribe',
    },
  },
] as const) {
  for (const prefix of ['', 'fleet/']) {
    test(`what a ${kind} that speaks for ${machines} may do under '${prefix}'`, () => {
      const access = book({ prefix })
      access.takeOver({ identities: [known('d', { kind, machines })], registered: [] })
      const identity = admitted(access.identify(login('d')))
      const verdicts = Object.keys(rights).map((topic) => {
        const full = topic.startsWith('$') ? topic : `${prefix}${topic}`
        const publish = identity.mayPublish(full) ? 'publish' : ''
        const subscribe = identity.maySubscribe(full) ? 'subscribe' : ''
        return [topic, publish + subscribe]
      })
      expect(Object.fromEntries(verdicts)).toEqual(rights)
      if (prefix) expect(identity.mayPublish('machines/d/telemetry')).toBe(false)
    })
  }
}

test('the service and anyone may do what can be done, but hear nothing of the broker itself', () => {
  for (const identity of [
    admitted(book().identify(attempt({}))),
    admitted(book({ service }).identify(login('fleet', service.password))),
  ]) {
    for (const topic of ['machines/x/telemetry', 'gateways/x/telemetry', 'what/ever']) {
      expect(identity.mayPublish(topic)).toBe(true)
      expect(identity.maySubscribe(topic)).toBe(true)
    }
    expect(identity.maySubscribe('#')).toBe(true)
    expect(identity.maySubscribe('$SYS/#')).toBe(false)
  }
})

for (const { name, change, isEnded } of [
  { name: 'revoked', change: { revoked: true }, isEnded: true },
  { name: 'rotated', change: { verifier: secretVerifier(key, 'b', 'another') }, isEnded: true },
  { name: 'limited', change: { limits: { ...unlimited, connections: 2 } }, isEnded: true },
  { name: 'no longer assigned', change: { machines: ['m-1'] }, isEnded: true },
  { name: 'assigned more', change: { machines: ['m-1', 'm-2', 'm-3'] }, isEnded: false },
  { name: 'told again as it is', change: {}, isEnded: false },
]) {
  test(`who is ${name} is ${isEnded ? 'cut off' : 'left alone'}`, () => {
    const access = book()
    const before = known('b', { kind: 'bridge', machines: ['m-1', 'm-2'] })
    access.takeOver({ identities: [before], registered: [] })
    const ended: unknown[] = []
    access.onChange((identity) => ended.push(identity))
    access.takeOver({ identities: [{ ...before, ...change }], registered: [] })
    expect(ended).toEqual(isEnded ? [{ kind: 'bridge', id: 'b' }] : [])
  })
}

test('what is assigned while a bridge is connected holds at once', () => {
  const access = book()
  access.takeOver({ identities: [known('b', { kind: 'bridge' })], registered: [] })
  const identity = admitted(access.identify(login('b')))
  expect(identity.mayPublish('machines/m-1/telemetry')).toBe(false)
  access.takeOver({ identities: [known('b', { kind: 'bridge', machines: ['m-1'] })], registered: [] })
  expect(identity.mayPublish('machines/m-1/telemetry')).toBe(true)
})

test('a machine that came in by its certificate is cut off when it is revoked', () => {
  const access = book({ certificates: true })
  access.takeOver({ identities: [], registered: ['crane-1'] })
  const ended: unknown[] = []
  access.onChange((identity) => ended.push(identity))
  expect(admitted(access.identify(attempt({ certificate: 'crane-1' }))).mayPublish('machines/crane-1/status')).toBe(
    true,
  )
  access.takeOver({ identities: [known('crane-1', { verifier: null, revoked: true })], registered: [] })
  expect(ended).toEqual([{ kind: 'machine', id: 'crane-1' }])
  expect(access.identify(attempt({ certificate: 'crane-1' }))).toBe('revoked')
})

test('secrets that were issued under a lost key fit nothing, and are counted', () => {
  const access = book({ key: new Uint8Array(32).fill(2) })
  access.takeOver({ identities: [known('pump-1'), known('pump-2')], registered: [] })
  expect(access.foreign()).toBe(2)
  expect(access.identify(login('pump-1'))).toBe('wrong_secret')
})

test('who has logged in is told, once an hour', () => {
  let now = 0
  const access = book({ now: () => now })
  access.takeOver({ identities: [known('pump-1'), known('pump-2')], registered: [] })
  const again = () => {
    access.identify(login('pump-1'))
    access.identify(login('pump-2', 'wrong'))
    return access.used()
  }
  expect([again(), again()]).toEqual([['pump-1'], []])
  now = 3_600_000
  expect([again(), access.used()]).toEqual([['pump-1'], []])
})

const password = 'a password from home'
const brought = await passwordVerifier(password)
const bring = (id: string, shownPassword: string, address = '10.0.0.1') =>
  attempt({ username: id, password: shownPassword, address })

test('a password that was brought along takes its time once, then none', async () => {
  const access = book()
  access.takeOver({ identities: [known('pump-1', { verifier: brought })], registered: [] })
  const first = access.identify(bring('pump-1', password))
  const meanwhile = access.identify(bring('pump-1', password))
  expect(first).toBeInstanceOf(Promise)
  expect(shown(await first)).toEqual({ kind: 'machine', id: 'pump-1' })
  expect(shown(await meanwhile)).toEqual({ kind: 'machine', id: 'pump-1' })
  expect(admitted(access.identify(bring('pump-1', password))).id).toBe('pump-1')

  expect(await access.identify(bring('pump-1', 'a wrong password'))).toBe('wrong_secret')
  expect(access.identify(bring('pump-1', 'a wrong password'))).toBe('wrong_secret') // and at once
})

test('a password that was right before a rotation is not right after it', async () => {
  const access = book()
  access.takeOver({ identities: [known('pump-1', { verifier: brought })], registered: [] })
  await access.identify(bring('pump-1', password))
  const other = await passwordVerifier('another password')
  const underWay = access.identify(bring('pump-1', 'another password'))
  access.takeOver({ identities: [known('pump-1', { verifier: other })], registered: [] })
  expect(await underWay).toBe('wrong_secret')
  expect(await access.identify(bring('pump-1', password))).toBe('wrong_secret')
  expect(shown(await access.identify(bring('pump-1', 'another password')))).toEqual({ kind: 'machine', id: 'pump-1' })
})

test('10,000 wrong passwords: they are refused at once, the right one gets in, and so does everybody else', async () => {
  const access = book()
  const identities = ['guessed', 'other-1', 'other-2'].map((id) => known(id, { verifier: brought }))
  access.takeOver({ identities: [...identities, known('issued')], registered: [] })
  await access.identify(bring('guessed', password))

  const answers: unknown[] = []
  for (let n = 0; n < 10_000; n++) answers.push(access.identify(bring('guessed', `guess ${n}`, `10.0.0.${n % 3}`)))
  expect(answers.filter((answer) => answer === 'too_many_attempts')).toHaveLength(9_998)
  for (let n = 0; n < 10_000; n++) expect(access.identify(login('issued', `guess ${n}`))).toBe('wrong_secret')

  expect(admitted(access.identify(bring('guessed', password))).id).toBe('guessed')
  expect(admitted(access.identify(login('issued'))).id).toBe('issued')
  const others = await Promise.all(['other-1', 'other-2'].map((id) => access.identify(bring(id, password))))
  expect(others.map(shown)).toEqual([
    { kind: 'machine', id: 'other-1' },
    { kind: 'machine', id: 'other-2' },
  ])
})

test('wrong passwords of one address are looked at less and less, those of another address still are', async () => {
  let now = 0
  const access = book({ now: () => now })
  access.takeOver({ identities: [known('guessed', { verifier: brought })], registered: [] })
  const guess = (n: number, address: string) => access.identify(bring('guessed', `guess ${n}`, address))
  for (let n = 0; n < 5; n++) expect(await guess(n, '10.0.0.1')).toBe('wrong_secret')
  expect(guess(5, '10.0.0.1')).toBe('too_many_attempts')
  expect(shown(await access.identify(bring('guessed', password, '10.0.0.2')))).toEqual({
    kind: 'machine',
    id: 'guessed',
  })
  now = 10_000
  expect(await guess(6, '10.0.0.1')).toBe('wrong_secret')
  expect(guess(7, '10.0.0.1')).toBe('too_many_attempts')
})

test('more passwords than can be looked at are told that we are busy', async () => {
  const access = book()
  const ids = Array.from({ length: 201 }, (_, n) => `pump-${n}`)
  access.takeOver({ identities: ids.map((id) => known(id, { verifier: brought })), registered: [] })
  const answers = ids.map((id) => access.identify(bring(id, password)))
  expect(answers.at(-1)).toBe('busy')
  expect(answers.filter((answer) => answer instanceof Promise)).toHaveLength(200)
  expect(shown(await (answers[0] as Promise<Identity>))).toEqual({ kind: 'machine', id: 'pump-0' })
})
