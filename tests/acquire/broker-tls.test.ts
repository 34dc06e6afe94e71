import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { connectAsync, type IClientOptions } from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import type { TlsOptions } from '../../src/acquire/broker-tls.ts'
import { client, embeddedBroker, rawSocket, type TestBroker, until } from './broker-case.ts'
import { accessBook } from './broker-defaults.ts'
import { connectPacket, publishPacket } from './mqtt-bytes.ts'
import { temporaryFolder } from './spool-case.ts'

const folder = join(import.meta.dirname, 'tls')
const pem = (name: string) => readFileSync(join(folder, name))
const topic = 'machines/pump-1/telemetry'

function tlsOptions(options: Partial<TlsOptions> = {}): TlsOptions {
  return {
    host: '127.0.0.1',
    port: 0,
    certFile: join(folder, 'server.pem'),
    keyFile: join(folder, 'server.key.pem'),
    caFile: undefined,
    clientCertificate: 'optional',
    ...options,
  }
}

const withClientCertificates = { caFile: join(folder, 'ca.pem') }

/** A broker in which the machine pump-1 is registered, and the user fleet knows the word. */
function certifiedBroker(options: Partial<TlsOptions>): Promise<TestBroker> {
  const access = accessBook({ certificates: true, service: { username: 'fleet', password: 'word' } })
  access.takeOver({ identities: [], registered: ['pump-1'] })
  return embeddedBroker({ tls: tlsOptions({ ...withClientCertificates, ...options }), access })
}

function secureClient(broker: TestBroker, options: IClientOptions = {}) {
  return client({ address: broker.tlsAddress ?? '' }, { ca: pem('ca.pem'), ...options })
}

const certificateOf = (name: string) => ({ cert: pem(`${name}.pem`), key: pem(`${name}.key.pem`) })

for (const qos of [0, 1, 2] as const) {
  test(`over TLS a message at QoS ${qos} arrives whole`, async () => {
    const broker = await embeddedBroker({ tls: tlsOptions() })
    const machine = await secureClient(broker)
    const payload = Buffer.alloc(300_000, 7)
    await machine.publishAsync(topic, payload, { qos })
    await until(() => broker.arrivals.length > 0)
    expect(broker.arrivals[0]?.payload.equals(payload)).toBe(true)
  })
}

test('over TLS many messages in flight are acknowledged in order, beside plain ones', async () => {
  const broker = await embeddedBroker({ tls: tlsOptions() })
  const [secure, plain] = [await secureClient(broker), await client(broker)]
  const send = (by: typeof secure, machine: string) =>
    Array.from({ length: 500 }, (_, i) => by.publishAsync(`machines/${machine}/telemetry`, String(i), { qos: 1 }))
  await Promise.all([...send(secure, 'a'), ...send(plain, 'b')])
  const numbers = broker.arrivals
    .filter((arrival) => arrival.topic.includes('/a/'))
    .map(({ payload }) => Number(payload))
  expect(numbers).toEqual(Array.from({ length: 500 }, (_, i) => i))
})

test('a certificate that we trust is a log-in; a machine may still publish only under its own name', async () => {
  const broker = await certifiedBroker({})
  const machine = await secureClient(broker, { ...certificateOf('pump-1'), clientId: 'modem' })
  await machine.publishAsync(topic, 'x', { qos: 1 })
  machine.publish('machines/pump-2/telemetry', 'x', { qos: 1 })
  await until(() => broker.connectionsOf('pump-1').length === 2)
  expect(broker.arrivals).toHaveLength(1)
  expect(broker.connectionsOf('pump-1').at(-1)?.reason).toBe('not_authorized')
})

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a session of ${maxVersion} that is resumed is still that of the certificate`, async () => {
    const broker = await certifiedBroker({})
    const options = { ...addressOf(broker), ca: pem('ca.pem'), ...certificateOf('pump-1'), maxVersion }
    const returnCode = async (session?: Buffer) => {
      const socket = connectTls({ ...options, ...(session && { session }) })
      onTestFinished(() => void socket.destroy())
      const next = new Promise<Buffer>((done) => socket.once('session', done))
      socket.write(connectPacket('modem'))
      const [connack] = (await once(socket, 'data')) as [Buffer]
      const isResumed = socket.isSessionReused()
      const made = await Promise.race([next, new Promise<undefined>((done) => setTimeout(done, 500, undefined))])
      socket.destroy()
      return { code: connack[3], isResumed, session: made }
    }
    const first = await returnCode()
    expect(first).toMatchObject({ code: 0, isResumed: false })
    expect(await returnCode(first.session)).toMatchObject({ code: 0, isResumed: true })
  })
}

test('where certificates are optional, a secret does as well, and nothing does not', async () => {
  const broker = await certifiedBroker({})
  await (await secureClient(broker, { username: 'fleet', password: 'word' })).publishAsync(topic, 'x', { qos: 1 })
  const bare = connectAsync(broker.tlsAddress ?? '', { ca: pem('ca.pem'), reconnectPeriod: 0 })
  await expect(bare).rejects.toMatchObject({ code: 5 })
})

for (const clientCertificate of ['optional', 'required'] as const) {
  test(`where certificates are ${clientCertificate}, one that nobody trusts is refused`, async () => {
    const broker = await certifiedBroker({ clientCertificate })
    const { host, port } = addressOf(broker)
    const socket = connectTls({ host, port, ca: pem('ca.pem'), ...certificateOf('stranger') })
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => {})
    socket.resume()
    socket.write(connectPacket('stranger'))
    await until(() => broker.counts().refused.tls === 1)
    await until(() => socket.destroyed)
  })
}

test('where certificates are required, a secret alone does not do', async () => {
  const broker = await certifiedBroker({ clientCertificate: 'required' })
  const { host, port } = addressOf(broker)
  const socket = connectTls({ host, port, ca: pem('ca.pem') })
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  socket.resume()
  socket.write(connectPacket('fleet', { username: 'fleet', password: 'word' }))
  await until(() => broker.counts().refused.tls === 1)
  await (await secureClient(broker, certificateOf('pump-1'))).publishAsync(topic, 'x', { qos: 1 })
})

test('what is no TLS is counted and is nobody else’s business', async () => {
  const broker = await embeddedBroker({ tls: tlsOptions() })
  const plain = await rawSocket(addressOf(broker).port)
  plain.resume()
  plain.write(connectPacket('plain'))
  await until(() => plain.destroyed)
  expect(broker.counts().refused.tls).toBe(1)
  await (await secureClient(broker)).publishAsync(topic, 'x', { qos: 1 })
})

test('a renewed certificate is taken over, one that does not fit is not, and connections go on', async () => {
  const files = temporaryFolder()
  const [certFile, keyFile] = [join(files, 'cert.pem'), join(files, 'key.pem')]
  copyFileSync(join(folder, 'server.pem'), certFile)
  copyFileSync(join(folder, 'server.key.pem'), keyFile)
  const broker = await embeddedBroker({ tls: tlsOptions({ certFile, keyFile, reloadMs: 20 }) })
  const before = await secureClient(broker)
  const first = await serial(broker)
  copyFileSync(join(folder, 'renewed.pem'), certFile) // its key is still to come
  await new Promise((done) => setTimeout(done, 100))
  expect(await serial(broker)).toBe(first)
  writeFileSync(keyFile, pem('renewed.key.pem'))
  while ((await serial(broker)) === first) await new Promise((done) => setTimeout(done, 20))
  await before.publishAsync(topic, 'x', { qos: 1 })
  await (await secureClient(broker)).publishAsync(topic, 'y', { qos: 1 })
})

test('files that are not there or do not fit together are an error that names the settings', async () => {
  const missing = embeddedBroker({ tls: tlsOptions({ certFile: join(folder, 'nowhere.pem') }) })
  await expect(missing).rejects.toThrow(/MQTT_TLS_CERT.*nowhere\.pem/s)
  const unfit = embeddedBroker({ tls: tlsOptions({ keyFile: join(folder, 'pump-1.key.pem') }) })
  await expect(unfit).rejects.toThrow('MQTT_TLS_KEY')
})

test('over TLS, too, a message that comes byte by byte arrives whole', async () => {
  const broker = await embeddedBroker({ tls: tlsOptions() })
  const { host, port } = addressOf(broker)
  const socket = connectTls({ host, port, ca: pem('ca.pem') })
  onTestFinished(() => void socket.destroy())
  socket.resume()
  for (const byte of Buffer.concat([connectPacket('slow'), publishPacket(topic, 'slowly', { id: 1 })])) {
    socket.write(Buffer.from([byte]))
    await new Promise((done) => setImmediate(done))
  }
  await until(() => broker.arrivals.length === 1)
  expect(broker.arrivals[0]?.payload.toString()).toBe('slowly')
})

function addressOf(broker: TestBroker): { host: string; port: number } {
  const { hostname, port } = new URL(broker.tlsAddress ?? '')
  return { host: hostname, port: Number(port) }
}

/** Serial number of the certificate that a new connection is shown. */
function serial(broker: TestBroker): Promise<string> {
  return new Promise((done, failed) => {
    const socket = connectTls({ ...addressOf(broker), ca: pem('ca.pem') }, () => {
      done(socket.getPeerCertificate().serialNumber)
      socket.destroy()
    })
    socket.on('error', failed)
  })
}
