import { expect, test } from 'vitest'
import { now, runningApi } from './running-api.ts'

const open = await runningApi()
const guarded = await runningApi({ config: { OUTRIGGER_API_TOKEN: 'a-secret' } })
const admin = { authorization: 'Bearer a-secret' }
const dayMs = 86_400_000

await open.post('/machines', { id: 'pump-1', type: 'boom_pump', site: 'north' })
await guarded.post('/machines', { id: 'pump-1', type: 'boom_pump' }, admin)

const warmer = {
  scope: 'machine',
  scopeId: 'pump-1',
  rule: 'hyd_oil_temp_c.high',
  parameter: 'warn.limit',
  value: 84,
  user: 'ana',
  reason: 'hot climate',
}
const rule = async (id = 'hyd_oil_temp_c.high') =>
  (await open.get('/machines/pump-1/rules')).body.items.find((one: { rule: string }) => one.rule === id)
// a limit whose alarm is S4, whatever the catalogue calls it
const safety = (await open.get('/machines/pump-1/rules')).body.items.find(
  ({ critical }: { critical: { severity: string } | null }) => critical?.severity === 'S4',
)
const unsafe = {
  ...warmer,
  rule: safety.rule,
  parameter: 'critical.onDelaySeconds',
  value: safety.critical.onDelaySeconds + 1,
}

test('an override holds for its machine until it is withdrawn', async () => {
  expect(await rule()).toMatchObject({ warn: { limit: 80, severity: 'S2' }, unit: '°C', overridden: false })
  const refreshed = open.told.refreshed
  const made = await open.post('/rules/overrides', { ...warmer, expiresAt: new Date(now + dayMs).toISOString() })
  expect(made.status).toBe(201)
  expect(made.body).toMatchObject({
    changedBy: 'ana',
    reason: 'hot climate',
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + dayMs).toISOString(),
    withdrawnAt: null,
  })
  expect(open.told.refreshed).toBe(refreshed + 1)
  expect(await rule()).toMatchObject({ warn: { limit: 84 }, overridden: true })

  const withdrawn = await open.post(`/rules/overrides/${made.body.id}/withdraw`, { user: 'ben', reason: 'autumn' })
  expect(withdrawn.body).toMatchObject({ withdrawnBy: 'ben', withdrawnBecause: 'autumn' })
  expect(await rule()).toMatchObject({ warn: { limit: 80 }, overridden: false })
  expect((await open.get('/rules/overrides?holding=true')).body.items).toEqual([])
  expect((await open.get('/rules/overrides?scope=machine&scopeId=pump-1')).body.items).toMatchObject([withdrawn.body])
  expect((await open.post(`/rules/overrides/${made.body.id}/withdraw`, { user: 'b', reason: 'c' })).status).toBe(404)
  const actions = (await open.get('/audit?subject=machine/pump-1/hyd_oil_temp_c.high')).body.items
  expect(actions.map(({ action }: { action: string }) => action)).toEqual(['rule.override.withdraw', 'rule.override'])
})

test('the narrower place wins', async () => {
  for (const [scope, scopeId, value] of [
    ['type', 'boom_pump', 81],
    ['site', 'north', 82],
  ] as const) {
    expect((await open.post('/rules/overrides', { ...warmer, scope, scopeId, value })).status).toBe(201)
    expect(await rule()).toMatchObject({ warn: { limit: value } })
  }
})

for (const { name, body, status } of [
  { name: 'without a reason', body: { reason: ' ' }, status: 400 },
  { name: 'of a rule that is not there', body: { rule: 'nothing.high' }, status: 400 },
  { name: 'of a parameter that is none', body: { parameter: 'severity' }, status: 400 },
  { name: 'beyond the critical limit', body: { value: 95 }, status: 400 },
  { name: 'that has expired', body: { expiresAt: new Date(now - 1).toISOString() }, status: 400 },
  { name: 'of a machine that is not there', body: { scopeId: 'nobody' }, status: 404 },
  { name: 'of an S4 limit', body: { ...unsafe }, status: 403 },
]) {
  test(`an override ${name} is refused`, async () => {
    const answer = await open.post('/rules/overrides', { ...warmer, ...body })
    expect(answer.status, JSON.stringify(answer.body)).toBe(status)
  })
}

test('where no token is set, none makes an admin', async () => {
  expect((await open.post('/rules/overrides', unsafe, { authorization: 'Bearer undefined' })).status).toBe(403)
})

test('an S4 limit is changed and given back with the admin token', async () => {
  expect((await guarded.post('/rules/overrides', unsafe)).status).toBe(401)
  const made = await guarded.post('/rules/overrides', unsafe, admin)
  expect(made.status).toBe(201)
  const withdrawn = await guarded.post(`/rules/overrides/${made.body.id}/withdraw`, { user: 'a', reason: 'b' }, admin)
  expect(withdrawn.status).toBe(200)
})
