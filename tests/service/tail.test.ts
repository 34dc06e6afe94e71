import mqtt from 'mqtt'
import { expect, test } from 'vitest'
import { connectClient, dataFolder, publish, startService, until } from './running-service.ts'

const set = (at: number, signals: object = { hyd_oil_temp_c: 60 }) => ({ ts: at, signals })

test('the tail of a machine says why it does not show', { timeout: 90_000 }, async () => {
  const folder = await dataFolder()
  const service = await startService(folder)
  const client = await connectClient(service)
  const now = Date.now()
  const tail = (id: string) => service.get(`/machines/${id}/tail`)
  const codes = async (id: string) => (await tail(id)).diagnosis.map(({ code }: { code: string }) => code)

  expect(await tail('ghost')).toMatchObject({
    machine: null,
    messages: [],
    diagnosis: [{ code: 'never_seen', text: expect.stringContaining("'ghost'") }],
  })

  await service.post('/machines', { id: 'good', type: 'boom_pump' })
  await publish(client, 'machines/good/telemetry', set(now - 2_000, { hyd_oil_temp_c: 60, boom_angle_deg_1: 'up' }))
  await publish(client, 'machines/good/telemetry', set(now - 2_000))
  await publish(client, 'machines/good/telemetry', [set(now - 1_000), set(now + 3_600_000), { no: 'set' }])
  await publish(client, 'machines/good/status', { ts: now, online: true })
  await publish(client, 'machines/ahead/telemetry', set(now + 7_200_000))
  await publish(client, 'machines/misspelt/telemetri', set(now))
  await publish(client, 'machines/new/telemetry', Buffer.from(`${JSON.stringify(set(now - 1))} `))
  await publish(client, 'gateways/site-4/telemetry', [
    { machine: 'via-1', ...set(now - 1) },
    { machine: 'via-2', ...set(now + 7_200_000) },
  ])
  await until(async () => ((await service.metric('reading_sets_waiting')) === 0 ? true : undefined))

  const good = await tail('good')
  expect(good.machine).toEqual({ id: 'good', type: 'boom_pump', state: 'in_service', mergedInto: null })
  expect(good.messages).toMatchObject([
    { outcome: 'taken', topic: 'machines/good/status', stored: 0, rejected: [] },
    {
      outcome: 'mixed',
      stored: 1,
      duplicate: 0,
      quarantined: 2,
      measuredAt: new Date(now - 1_000).toISOString(),
      quarantine: [{ reason: 'clock', detail: expect.stringContaining('min after') }, { reason: 'shape' }],
    },
    { outcome: 'duplicate', stored: 0, duplicate: 1 },
    {
      outcome: 'stored',
      topic: 'machines/good/telemetry',
      qos: 1,
      retained: false,
      replayed: false,
      rejected: [{ signal: 'boom_angle_deg_1', reason: 'wrong_type' }],
      payload: JSON.stringify(set(now - 2_000, { hyd_oil_temp_c: 60, boom_angle_deg_1: 'up' })),
      encoding: 'utf8',
      isCut: false,
    },
  ])
  expect(good.diagnosis.map(({ code }: { code: string }) => code)).toEqual([
    'partly_quarantined',
    'stored',
    'values_rejected',
  ])

  const ahead = await tail('ahead')
  expect(ahead.diagnosis[0]).toMatchObject({ code: 'quarantined', text: expect.stringMatching(/as clock: .*120 min/) })
  expect((await tail('misspelt')).diagnosis[0]).toMatchObject({
    code: 'unknown_topic',
    text: expect.stringContaining("'machines/misspelt/telemetri'"),
  })
  expect(await codes('new')).toEqual(['stored', 'unassigned'])
  expect((await tail('site-4')).messages).toMatchObject([{ outcome: 'mixed', stored: 1, quarantined: 1 }])
  expect((await tail('via-1')).messages).toMatchObject([
    { outcome: 'stored', topic: 'gateways/site-4/telemetry', stored: 1, quarantined: 0 },
  ])
  expect(await codes('via-2')).toEqual(['quarantined'])

  // a device that speaks for a machine of another name, which shows what it sends
  await service.post('/bindings', { device: 'new', machine: 'good', user: 'ana' })
  expect((await tail('good')).devices).toEqual(['good', 'new'])
  expect(await codes('new')).toContain('bound_elsewhere')

  // who comes with a wrong secret, and with the right one and nothing to say
  const { secret } = await service.post('/credentials', { kind: 'machine', id: 'locked' })
  const login = (password: string) =>
    mqtt.connectAsync(service.broker, { username: 'locked', password, reconnectPeriod: 0 })
  await expect(login('wrong')).rejects.toThrow()
  await until(async () => ((await tail('locked')).connections.length > 0 ? true : undefined))
  expect((await tail('locked')).diagnosis[0]).toMatchObject({
    code: 'login_refused',
    text: expect.stringContaining('wrong secret, 1 time'),
  })
  const quiet = await login(secret)
  expect((await tail('locked')).diagnosis[0].code).not.toBe('never_seen')
  await quiet.endAsync()

  // after a crash the quarantine still knows
  await service.kill()
  const again = await startService(folder)
  const later = await again.get('/machines/ahead/tail')
  expect(later.messages).toMatchObject([
    { outcome: 'quarantined', quarantine: [{ reason: 'clock' }], encoding: 'utf8' },
  ])
  expect(later.diagnosis[0].code).toBe('quarantined')
  expect((await again.get('/machines/good/tail')).diagnosis.map(({ code }: { code: string }) => code)).toContain(
    'partly_quarantined',
  )
})
