import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { damageFile } from '../acquire/spool-case.ts'
import { holdRecords, outcomes, partOf } from './held-records.ts'
import { connectClient, dataFolder, publish, startService, until } from './running-service.ts'

const SETS = 20 // of each message
const topic = 'machines/pump-1/telemetry'
const start = Date.now() - 86_400_000

/** Message number `i`, of about 2 KB. */
const message = (i: number) =>
  Array.from({ length: SETS }, (_, set) => ({
    ts: start + (i * SETS + set) * 1_000,
    signals: { hyd_oil_temp_c: 50, engine_speed_rpm: 1_500, main_pressure_bar: 180.5 },
  }))

test('the budget of the spool used up: acknowledgements stop, nobody is cut, and all is stored when there is room', {
  timeout: 90_000,
}, async () => {
  const service = await startService(await dataFolder(), { OUTRIGGER_SPOOL_BYTES: '262144', LOG_LEVEL: 'fatal' })
  const letGo = await holdRecords(service)
  const clients = await Promise.all([1, 2, 3, 4].map(() => connectClient(service)))
  let cut = 0
  for (const client of clients) client.on('close', () => cut++)
  let acknowledged = 0
  const MESSAGES = 300
  const sent = Array.from({ length: MESSAGES }, (_, i) =>
    publish(clients[i % 4] as never, topic, message(i)).then(() => acknowledged++),
  )
  const part = await until(async () => {
    const state = await partOf(service, 'spool')
    return state.ready ? undefined : state
  }, 20_000)
  expect(part).toMatchObject({
    status: 503,
    note: expect.stringMatching(/^full: .* of OUTRIGGER_SPOOL_BYTES \(256 KiB\)/),
  })
  expect(await service.metric('spool_acknowledging')).toBe(0)
  expect(await service.metric('spool_budget_bytes')).toBe(262_144)
  expect(await service.metric('spool_bytes')).toBeLessThanOrEqual(262_144)
  expect(acknowledged).toBeGreaterThan(50)
  expect(acknowledged).toBeLessThan(200)

  await letGo()
  await Promise.all(sent)
  expect(cut).toBe(0)
  const sets = MESSAGES * SETS
  expect(await outcomes(service)).toEqual({ received: sets, stored: sets, duplicate: 0, quarantined: 0 })
  expect(await partOf(service, 'spool')).toMatchObject({ ready: true })
  expect(await service.metric('spool_acknowledging')).toBe(1)
})

test('a spool that was damaged while the service was away: what was lost is counted, kept and shown', {
  timeout: 90_000,
}, async () => {
  const folder = await dataFolder()
  const first = await startService(folder, { LOG_LEVEL: 'fatal' })
  await holdRecords(first)
  const client = await connectClient(first)
  for (let i = 0; i < 30; i++) await publish(client, topic, message(i))
  await first.kill()
  const spool = join(folder, 'spool')
  const [file = ''] = readdirSync(spool).filter((name) => name.endsWith('.spool'))
  damageFile(join(spool, file), (bytes) => bytes.fill(0, bytes.length / 2 + 500, bytes.length / 2 + 510))

  const service = await startService(folder, { LOG_LEVEL: 'fatal' })
  expect(await outcomes(service)).toEqual({ received: 29 * SETS + 1, stored: 29 * SETS, duplicate: 0, quarantined: 1 })
  expect(await service.metric('spool_damaged_total')).toBe(1)
  expect(await service.metric('spool_lost_messages_total')).toBe(1)
  const { items } = await service.get('/quarantine?reason=damaged')
  expect(items).toHaveLength(1)
  expect(items[0].topic).toMatch(new RegExp(`^\\$spool/${file}@\\d+$`))
  expect(await partOf(service, 'pipeline')).toMatchObject({
    status: 200,
    note: expect.stringContaining(`last at ${items[0].topic.slice('$spool/'.length)}`),
  })
})
