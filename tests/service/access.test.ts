import { once } from 'node:events'
import { expect, test } from 'vitest'
import { dataFolder, spawnService, startService } from './running-service.ts'

test('beyond loopback the broker does not listen before somebody has credentials', async () => {
  const folder = await dataFolder()
  const everywhere = { MQTT_HOST: '0.0.0.0' }
  const refused = spawnService(folder, everywhere)
  let said = ''
  refused.stderr?.on('data', (chunk) => (said += chunk))
  const [code] = await once(refused, 'exit')
  expect([code, said]).toEqual([1, expect.stringContaining('MQTT_HOST is 0.0.0.0')])

  const local = await startService(folder)
  await local.post('/credentials', { kind: 'gateway', id: 'gw-1' })
  await local.stop()
  const open = await startService(folder, everywhere)
  expect(await open.stop()).toBe(0)
  const withService = { ...everywhere, MQTT_USERNAME: 'fleet', MQTT_PASSWORD: 'fleet-password' }
  const other = await startService(await dataFolder(), withService)
  expect(await other.stop()).toBe(0)
})
