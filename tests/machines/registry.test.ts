import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { changeMachine, machineById, registerMachine } from '../../src/machines/machines.ts'
import { createOverride } from '../../src/machines/overrides.ts'
import { openRegistry } from '../../src/machines/registry.ts'
import { testRecords } from '../records/test-records.ts'
import { catalogue, decision, now } from './story.ts'

const { db } = await testRecords()

test('registry: machines have the profile of their model, and share rules that nobody changed', async () => {
  await registerMachine(db, catalogue, { id: 'a-1', type: 'boom_pump', model: 'bp-52' }, decision)
  await registerMachine(db, catalogue, { id: 'a-2', type: 'boom_pump' }, decision)
  const registry = await openRegistry(db, catalogue, now)
  expect(registry.machine('a-1')).toMatchObject({ id: 'a-1', type: 'boom_pump', model: 'bp-52', state: 'in_service' })
  expect(registry.machine('a-1')?.profile).toBe(catalogue.profile('boom_pump', 'bp-52'))
  expect(registry.machine('a-2')?.rules).toBe(catalogue.profile('boom_pump').rules)
  expect(registry.machine('nobody')).toBeUndefined()
})

test('registry: a refresh names the machines that changed, once', async () => {
  await registerMachine(db, catalogue, { id: 'b-1', type: 'boom_pump', site: 'B' }, decision)
  await registerMachine(db, catalogue, { id: 'b-2', type: 'boom_pump', site: 'B' }, decision)
  const registry = await openRegistry(db, catalogue, now)
  expect(await registry.refresh(now)).toEqual([])

  await changeMachine(db, catalogue, 'b-1', { state: 'parked' }, decision)
  await registerMachine(db, catalogue, { id: 'b-3', type: 'excavator' }, decision)
  expect((await registry.refresh(now)).sort()).toEqual(['b-1', 'b-3'])
  expect(registry.machine('b-1')?.state).toBe('parked')
  expect(await registry.refresh(now)).toEqual([])

  const override = {
    scope: 'site',
    scopeId: 'B',
    rule: 'hyd_oil_temp_c.high',
    parameter: 'offDelaySeconds',
    value: 30,
  } as const
  await createOverride(db, catalogue, override, { ...decision, reason: 'try', role: 'admin' })
  expect((await registry.refresh(now)).sort()).toEqual(['b-1', 'b-2'])
})

test('registry: a change that makes no difference to the stages names nobody', async () => {
  await registerMachine(db, catalogue, { id: 'c-1', type: 'boom_pump' }, decision)
  const registry = await openRegistry(db, catalogue, now)
  await changeMachine(db, catalogue, 'c-1', { customer: 'Bau AG' }, decision)
  expect(await registry.refresh(now)).toEqual([])
})

test('registry: machines that were never seen are written down in the transaction that needs them', async () => {
  const registry = await openRegistry(db, catalogue, now)
  await db.transaction().execute(async (trx) => {
    await registry.addUnassigned(trx, ['d-1', 'd-1', 'd-2'])
    await trx
      .insertInto('machine_status')
      .values({ machine: 'd-1', last_seen_at: new Date(now) })
      .execute()
  })
  expect(registry.machine('d-1')).toMatchObject({ type: 'generic', state: 'unassigned' })
  expect(await machineById(db, 'd-2')).toMatchObject({ type: 'generic', state: 'unassigned' })
  expect(await registry.refresh(now)).toEqual([])
})

test('registry: a machine of a transaction that failed is written with the next one', async () => {
  const registry = await openRegistry(db, catalogue, now)
  const failing = db.transaction().execute(async (trx) => {
    await registry.addUnassigned(trx, ['e-1'])
    throw new Error('the disk is full')
  })
  await expect(failing).rejects.toThrow('the disk is full')
  await registry.refresh(now)
  await db.transaction().execute((trx) => registry.addUnassigned(trx, ['e-1']))
  expect(await machineById(db, 'e-1')).toMatchObject({ state: 'unassigned' })
})

test('registry: a machine that somebody registers meanwhile stays as it was registered', async () => {
  const registry = await openRegistry(db, catalogue, now)
  await registerMachine(db, catalogue, { id: 'f-1', type: 'excavator' }, decision)
  await db.transaction().execute((trx) => registry.addUnassigned(trx, ['f-1']))
  expect(await registry.refresh(now)).toEqual(['f-1'])
  expect(registry.machine('f-1')).toMatchObject({ type: 'excavator', state: 'in_service' })
})

test('registry: ten thousand new machines of one message are written at once', async () => {
  const registry = await openRegistry(db, catalogue, now)
  const ids = Array.from({ length: 10_000 }, (_, number) => `g-${number}`)
  await db.transaction().execute((trx) => registry.addUnassigned(trx, ids))
  expect(await registry.refresh(now)).toEqual([])
  const { count } = await db
    .selectFrom('machines')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('id', 'like', 'g-%')
    .executeTakeFirstOrThrow()
  expect(count).toBe(10_000)
})

test('registry: of two changes at the same time, neither is overlooked', async () => {
  const reader = await openRegistry(db, catalogue, now)
  const writer = await openRegistry(db, catalogue, now)
  const slow = await db.startTransaction().execute()
  await writer.addUnassigned(slow, ['h-1'])
  const quick = registerMachine(db, catalogue, { id: 'h-2', type: 'excavator' }, decision)
  await Promise.race([quick, delay(200)])
  await reader.refresh(now)
  await slow.commit().execute()
  await quick
  await reader.refresh(now)
  expect([reader.machine('h-1')?.type, reader.machine('h-2')?.type]).toEqual(['generic', 'excavator'])
})
