import { expect, test } from 'vitest'
import { ConfigInvalid, environmentSchema, readConfig, settingsHelp, settingsTable } from '../src/config.ts'

test('an empty environment gives the defaults: everything embedded, on loopback', () => {
  expect(readConfig({})).toMatchObject({
    HOST: '127.0.0.1',
    PORT: 8080,
    MQTT_HOST: '127.0.0.1',
    MQTT_PORT: 1883,
    DESK: 'builtin',
    OUTRIGGER_DATA: './data',
  })
})

test('an empty variable counts as not set', () => {
  expect(readConfig({ PORT: '', MQTT_URL: '' })).toMatchObject({ PORT: 8080 })
})

test('every fault is named at once, each with its variable and without secrets', () => {
  const read = () =>
    readConfig({ PORT: '99999', MQTT_URL: 'http://user:hidden@x', DESK: 'nobody', OUTRIGGER_API_TOKEN: 'short-secret' })
  expect(read).toThrow(ConfigInvalid)
  const message = String(catchError(read))
  for (const variable of ['PORT', 'MQTT_URL', 'DESK', 'OUTRIGGER_API_TOKEN']) expect(message).toContain(variable)
  expect(message).not.toContain('hidden')
  expect(message).not.toContain('short-secret')
})

test('what settings ask of each other is named beside what is wrong by itself', () => {
  const message = String(catchError(() => readConfig({ PORT: 'x', HOST: '0.0.0.0', MQTT_USERNAME: 'fleet' })))
  for (const variable of ['PORT', 'OUTRIGGER_API_TOKEN', 'MQTT_USERNAME']) expect(message).toContain(variable)
})

for (const { name, environment, fault } of [
  { name: 'an API beyond loopback without a token', environment: { HOST: '0.0.0.0' }, fault: 'OUTRIGGER_API_TOKEN' },
  { name: 'a user name without password', environment: { MQTT_USERNAME: 'fleet' }, fault: 'MQTT_PASSWORD' },
  {
    name: 'a topic prefix that does not end in a slash',
    environment: { MQTT_TOPIC_PREFIX: 'fleet' },
    fault: 'MQTT_TOPIC_PREFIX',
  },
  {
    name: 'a group of processes without a client id of its own',
    environment: { MQTT_URL: 'mqtt://broker', MQTT_SHARE: 'fleet' },
    fault: 'MQTT_CLIENT_ID',
  },
  { name: 'a group without a broker', environment: { MQTT_SHARE: 'fleet', MQTT_CLIENT_ID: 'a' }, fault: 'MQTT_URL' },
  {
    name: 'a certificate for a broker that is not spoken to over TLS',
    environment: { MQTT_URL: 'mqtt://broker', MQTT_CA: 'ca.pem' },
    fault: 'MQTT_CA',
  },
  {
    name: 'a certificate without its key',
    environment: { MQTT_URL: 'mqtts://broker', MQTT_CERT: 'outrigger.pem' },
    fault: 'MQTT_KEY',
  },
]) {
  test(`the start is refused: ${name}`, () => expect(() => readConfig(environment)).toThrow(fault))
}

test('the help and the table name every setting', () => {
  for (const name of Object.keys(environmentSchema.shape)) {
    expect(settingsHelp()).toContain(name)
    expect(settingsTable()).toContain(`\`${name}\``)
  }
})

function catchError(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    return error
  }
}
