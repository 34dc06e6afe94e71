import { expect, test } from 'vitest'
import {
  changeMachine,
  listMachines,
  MachineExists,
  MachineRefused,
  MachineUnknown,
  machineById,
  registerMachine,
} from '../../src/machines/machines.ts'
import { mergeMachines } from '../../src/machines/merge.ts'
import { testRecords } from '../records/test-records.ts'
import { catalogue, decision, noteMoves, now } from './story.ts'

const { db } = await testRecords()

async function seenOnly(id: string): Promise<void> {
  await db.insertInto('machines').values({ id, type: 'generic', state: 'unassigned' }).execute()
}

test('machines: id and type are enough, the rest has its default', async () => {
  const machine = await registerMachine(db, catalogue, { id: 'Pump_1.a-b', type: 'boom_pump' }, decision)
  expect(machine).toMatchObject({
    id: 'Pump_1.a-b',
    type: 'boom_pump',
    model: null,
    state: 'in_service',
    timeZone: 'UTC',
    language: 'en',
    contacts: [],
    mergedInto: null,
  })
  expect(await machineById(db, machine.id)).toEqual({
    ...machine,
    lastSeenAt: null,
    newestMeasuredAt: null,
    online: null,
    position: null,
    serviceHours: null,
    serviceHoursSource: null,
    serviceHoursAt: null,
    volumeM3: null,
  })
})

test('machines: everything that was said is kept, with what its own messages say', async () => {
  const facts = {
    id: 'ex-1',
    type: 'excavator',
    model: 'ex-22',
    serial: 'PIN 77',
    customer: 'Bau AG',
    site: 'Ostkreuz',
    region: 'Berlin',
    timeZone: 'Europe/Berlin',
    deliveredAt: new Date('2025-06-01T00:00:00Z'),
    contacts: [{ name: 'Ada', phone: '+49 30 1' }],
    language: 'zh',
    state: 'workshop',
  } as const
  expect(await registerMachine(db, catalogue, facts, decision)).toMatchObject(facts)
  await db
    .insertInto('machine_status')
    .values({
      machine: 'ex-1',
      last_seen_at: new Date(now),
      online: true,
      latitude: 52.5,
      longitude: 13.4,
      position_at: new Date(now),
      service_hours: 12.5,
      service_hours_source: 'engine_hours_h',
    })
    .execute()
  expect(await machineById(db, 'ex-1')).toMatchObject({
    ...facts,
    online: true,
    serviceHours: 12.5,
    serviceHoursSource: 'engine_hours_h',
    position: { latitude: 52.5, longitude: 13.4, at: new Date(now) },
  })
})

for (const { name, facts, says } of [
  {
    name: 'a type that the catalogue does not have',
    facts: { id: 'r-1', type: 'bagger' },
    says: /'bagger' .*excavator/,
  },
  { name: 'an abstract type', facts: { id: 'r-1', type: 'engine_driven' }, says: /'engine_driven'/ },
  { name: 'a model of another type', facts: { id: 'r-1', type: 'excavator', model: 'bp-52' }, says: /'bp-52' .*ex-22/ },
  { name: 'a time zone that is none', facts: { id: 'r-1', type: 'excavator', timeZone: 'Berlin' }, says: /'Berlin'/ },
  { name: 'an id with a slash', facts: { id: 'r/1', type: 'excavator' }, says: /'r\/1'/ },
  { name: 'an id of 65 characters', facts: { id: 'r'.repeat(65), type: 'excavator' }, says: /machine id/ },
  { name: 'an empty id', facts: { id: '', type: 'excavator' }, says: /machine id/ },
  { name: 'an id with a line end', facts: { id: 'r-1\n', type: 'excavator' }, says: /machine id/ },
]) {
  test(`machines: ${name} is refused, and nothing is written`, async () => {
    await expect(registerMachine(db, catalogue, facts, decision)).rejects.toThrow(MachineRefused)
    await expect(registerMachine(db, catalogue, facts, decision)).rejects.toThrow(says)
    await expect(machineById(db, facts.id)).rejects.toThrow(MachineUnknown)
  })
}

test('machines: an id that is registered cannot be registered again', async () => {
  await registerMachine(db, catalogue, { id: 'twice', type: 'boom_pump' }, decision)
  await expect(registerMachine(db, catalogue, { id: 'twice', type: 'boom_pump' }, decision)).rejects.toThrow(
    MachineExists,
  )
})

test('machines: one that was only seen is named by registering it', async () => {
  await seenOnly('seen-1')
  const before = await machineById(db, 'seen-1')
  const machine = await registerMachine(db, catalogue, { id: 'seen-1', type: 'tower_crane', site: 'A' }, decision)
  expect(machine).toMatchObject({ type: 'tower_crane', state: 'in_service', site: 'A', createdAt: before.createdAt })
  expect(machine.revision).toBeGreaterThan(before.revision)
})

test('machines: naming the type of one that was only seen puts it in service', async () => {
  await seenOnly('seen-2')
  await expect(changeMachine(db, catalogue, 'seen-2', { state: 'in_service' }, decision)).rejects.toThrow(
    'name its type',
  )
  expect(await changeMachine(db, catalogue, 'seen-2', { site: 'A' }, decision)).toMatchObject({ state: 'unassigned' })
  expect(await changeMachine(db, catalogue, 'seen-2', { type: 'boom_pump' }, decision)).toMatchObject({
    type: 'boom_pump',
    site: 'A',
    state: 'in_service',
  })
})

test('machines: naming the type with another state keeps that state', async () => {
  await seenOnly('seen-3')
  const machine = await changeMachine(db, catalogue, 'seen-3', { type: 'boom_pump', state: 'parked' }, decision)
  expect(machine.state).toBe('parked')
})

test('machines: a change touches what it names, raises the revision, and is in the audit log with its reason', async () => {
  const { revision } = await registerMachine(
    db,
    catalogue,
    { id: 'changed', type: 'boom_pump', model: 'bp-52', customer: 'Bau AG', site: 'A' },
    decision,
  )
  const change = { state: 'parked', site: null } as const
  const machine = await changeMachine(db, catalogue, 'changed', change, { ...decision, reason: 'winter' })
  expect(machine).toMatchObject({ state: 'parked', site: null, customer: 'Bau AG', model: 'bp-52' })
  expect(machine.revision).toBeGreaterThan(revision)
  const audit = await db.selectFrom('audit').selectAll().where('subject', '=', 'changed').orderBy('id').execute()
  expect(audit).toMatchObject([
    { action: 'machine.register', by: 'li.wei', before: null, after: { type: 'boom_pump', customer: 'Bau AG' } },
    {
      action: 'machine.change',
      by: 'li.wei',
      reason: 'winter',
      at: new Date(now),
      before: { state: 'in_service', site: 'A' },
      after: { state: 'parked', site: null },
    },
  ])
})

test('machines: another type needs another model', async () => {
  await registerMachine(db, catalogue, { id: 'retyped', type: 'boom_pump', model: 'bp-52' }, decision)
  await expect(changeMachine(db, catalogue, 'retyped', { type: 'excavator' }, decision)).rejects.toThrow(`'bp-52'`)
  const machine = await changeMachine(db, catalogue, 'retyped', { type: 'excavator', model: null }, decision)
  expect(machine).toMatchObject({ type: 'excavator', model: null })
})

test('machines: what is not there cannot be changed', async () => {
  await expect(changeMachine(db, catalogue, 'nobody', { site: 'A' }, decision)).rejects.toThrow(MachineUnknown)
})

test('machines: lists go on after the last of the page before, by what is asked for', async () => {
  for (const id of ['list-c', 'list-a', 'list-b', 'list-d']) {
    await registerMachine(db, catalogue, { id, type: 'mobile_crane', site: id === 'list-d' ? 'B' : 'L' }, decision)
  }
  await mergeMachines(db, { from: 'list-c', into: 'list-d' }, decision, noteMoves().moveHistory)
  const ids = async (query: Omit<Parameters<typeof listMachines>[1], 'limit'>, limit = 10) =>
    (await listMachines(db, { ...query, limit })).map(({ id }) => id)

  expect(await ids({ type: 'mobile_crane' }, 2)).toEqual(['list-a', 'list-b'])
  expect(await ids({ type: 'mobile_crane', after: 'list-b' })).toEqual(['list-d'])
  expect(await ids({ site: 'L' })).toEqual(['list-a', 'list-b'])
  expect(await ids({ type: 'mobile_crane', state: 'parked' })).toEqual([])
})
