import { expect, test } from 'vitest'
import { bindDevice, listBindings } from '../../src/machines/bindings.ts'
import { issueCredential, listCredentials } from '../../src/machines/credentials.ts'
import { type FleetImportOptions, importFleet } from '../../src/machines/fleet-import.ts'
import { readFleetTable } from '../../src/machines/fleet-table.ts'
import { finishMoves } from '../../src/machines/history-moves.ts'
import { machineById, registerMachine } from '../../src/machines/machines.ts'
import { mergeMachines } from '../../src/machines/merge.ts'
import { openRegistry } from '../../src/machines/registry.ts'
import { testRecords } from '../records/test-records.ts'
import { catalogue, decision, noteMoves, now } from './story.ts'

const { db } = await testRecords()
const accessKey = new Uint8Array(32).fill(4)
const day = 86_400_000

function bring(text: string, options: Partial<FleetImportOptions> = {}, at = now) {
  const all = { dryRun: false, keepGoing: false, credentials: false, ...options }
  return importFleet({ db, catalogue, accessKey }, readFleetTable(Buffer.from(text)), all, { ...decision, now: at })
}

const auditOf = async (subject: string) =>
  (await db.selectFrom('audit').selectAll().where('subject', '=', subject).orderBy('id').execute()).map(
    ({ action, by, before, after }) => ({ action, by, before, after }),
  )

const full = `Device;Machine;Type;Model;Serial;Customer;Site;Zone;Delivered at;Hours
gw-1;full-1;boom_pump;bp-38;SN 1;Züblin;北京;Asia/Shanghai;01.03.2025;4321,5
;full-2;excavator;;;;;;;
`

test('a table becomes machines, bindings, meter readings and credentials, each in the audit log', async () => {
  const report = await bring(full, { credentials: true })
  expect(report).toMatchObject({
    outcome: 'written',
    lines: 2,
    created: ['full-1', 'full-2'],
    changed: [],
    unchanged: 0,
    bound: 1,
    meterReadings: 1,
    withoutCredentials: 2,
    faults: [],
  })
  expect([...report.issued.keys()]).toEqual(['gw-1', 'full-2'])
  expect(await machineById(db, 'full-1')).toMatchObject({
    type: 'boom_pump',
    model: 'bp-38',
    serial: 'SN 1',
    customer: 'Züblin',
    site: '北京',
    timeZone: 'Asia/Shanghai',
    deliveredAt: new Date(Date.UTC(2025, 2, 1)),
    state: 'in_service',
  })
  expect(await listBindings(db, { device: 'gw-1', limit: 10 })).toMatchObject([
    { machine: 'full-1', from: null, to: null, boundBy: 'li.wei', reason: 'as agreed' },
  ])
  const meter = await db.selectFrom('counter_corrections').selectAll().where('machine', '=', 'full-1').execute()
  expect(meter).toMatchObject([{ kind: 'meter', value: 4321.5, at: new Date(now), by: 'li.wei' }])
  expect(await auditOf('full-1')).toMatchObject([
    { action: 'machine.register', by: 'li.wei', after: { type: 'boom_pump', site: '北京' } },
    { action: 'meter.enter', after: { hours: 4321.5 } },
  ])
  expect((await auditOf('gw-1')).map(({ action }) => action)).toEqual(['device.bind', 'credential.issue'])
  const registry = await openRegistry(db, catalogue, now)
  expect(registry.resolve('gw-1', 0)).toBe('full-1')
})

test('done again it changes nothing and says so, also on a later day', async () => {
  const before = await db.selectFrom('audit').select('id').execute()
  for (const at of [now, now + 30 * day]) {
    const report = await bring(full, { credentials: true }, at)
    expect(report).toMatchObject({ outcome: 'unchanged', created: [], changed: [], unchanged: 2 })
    expect(report).toMatchObject({ bound: 0, meterReadings: 0, withoutCredentials: 0 })
  }
  expect(await db.selectFrom('audit').select('id').execute()).toHaveLength(before.length)
})

test('a dry run says the same and does nothing', async () => {
  const text = 'device,machine,type,hours\ngw-dry,dry-1,boom_pump,7\n'
  const dry = await bring(text, { dryRun: true, credentials: true })
  expect(dry).toMatchObject({ outcome: 'dry_run', created: ['dry-1'], bound: 1, meterReadings: 1 })
  expect([dry.withoutCredentials, dry.issued.size]).toEqual([1, 0])
  await expect(machineById(db, 'dry-1')).rejects.toThrow('no machine')
  const { outcome: _, issued, ...wet } = await bring(text, { credentials: true })
  const { outcome: __, issued: ___, ...said } = dry
  expect(said).toEqual(wet)
  expect(issued.size).toBe(1)
})

test('what a cell names is changed, what it leaves empty stays', async () => {
  await bring('id,type,site,serial\nchange-1,boom_pump,Hafen,SN 1\n')
  const report = await bring('id,type,site,serial\nchange-1,,Messe,\n')
  expect(report).toMatchObject({ outcome: 'written', created: [], changed: ['change-1'] })
  expect(await machineById(db, 'change-1')).toMatchObject({ type: 'boom_pump', site: 'Messe', serial: 'SN 1' })
  expect((await auditOf('change-1')).at(-1)).toMatchObject({
    action: 'machine.change',
    before: { site: 'Hafen' },
    after: { site: 'Messe' },
  })
})

test('a machine that published before anybody named it is named, one that was parked stays parked', async () => {
  await db
    .insertInto('machines')
    .values([
      { id: 'seen-1', type: 'generic', state: 'unassigned' },
      { id: 'seen-2', type: 'generic', state: 'unassigned' },
      { id: 'parked-1', type: 'boom_pump', state: 'parked' },
    ])
    .execute()
  await bring('id,type,site\nseen-1,excavator,Hafen\nseen-2,,Hafen\nparked-1,boom_pump,Hafen\n')
  expect(await machineById(db, 'seen-1')).toMatchObject({ type: 'excavator', state: 'in_service' })
  expect(await machineById(db, 'seen-2')).toMatchObject({ type: 'generic', state: 'unassigned', site: 'Hafen' })
  expect(await machineById(db, 'parked-1')).toMatchObject({ state: 'parked', site: 'Hafen' })
  expect(await auditOf('seen-1')).toMatchObject([{ action: 'machine.register', before: { state: 'unassigned' } }])
})

test('every wrong line is named, and nothing is written', async () => {
  const text = [
    'device,machine,type,model,hours',
    'gw-a,wrong-1,boom_pump,,',
    ',wrong-2,rocket,,',
    ',wrong-3,excavator,bp-38,',
    ',wrong-4,,,',
    ',wrong 5,boom_pump,,x',
    'gw-a,wrong-6,boom_pump,,',
    ',wrong-1,excavator,,',
    ',wrong-8',
  ].join('\n')
  const report = await bring(text, { credentials: true })
  expect(report.outcome).toBe('refused')
  expect(report.issued.size).toBe(0)
  expect(report.faults.map(({ line, column, detail }) => [line, column, detail])).toEqual([
    [3, undefined, expect.stringContaining("'rocket' is no type")],
    [4, undefined, expect.stringContaining("'bp-38' is no model of the type 'excavator'")],
    [5, undefined, expect.stringContaining('needs its type')],
    [6, 'machine', expect.stringContaining('is no id')],
    [6, 'hours', expect.stringContaining('no number')],
    [7, undefined, expect.stringContaining("'gw-a' stands on line 2 already")],
    [8, undefined, expect.stringContaining("'wrong-1' stands on line 2 already, with another type")],
    [9, undefined, expect.stringContaining('2 cells')],
  ])
  await expect(machineById(db, 'wrong-1')).rejects.toThrow('no machine')

  const good = await bring(text, { keepGoing: true })
  expect(good).toMatchObject({ outcome: 'written', created: ['wrong-1'] })
  expect(good.faults).toHaveLength(8)
})

test('a machine may have several devices, each on its line', async () => {
  const report = await bring('device,machine,type\ngw-x,many-1,boom_pump\ngw-y,many-1,\nmany-1,many-1,\n')
  expect(report).toMatchObject({ outcome: 'written', created: ['many-1'], bound: 2 })
})

test('a machine that was merged into another is refused', async () => {
  for (const id of ['gone-1', 'stays-1']) await registerMachine(db, catalogue, { id, type: 'boom_pump' }, decision)
  await mergeMachines(db, { from: 'gone-1', into: 'stays-1' }, decision, noteMoves().moveHistory)
  const { faults } = await bring('id,type\ngone-1,boom_pump\n')
  expect(faults).toMatchObject([{ line: 2, detail: expect.stringContaining("merged into 'stays-1'") }])
})

test('what a device has sent already moves to its machine; one that sat elsewhere speaks for the new one from now on', async () => {
  await db.insertInto('machines').values({ id: 'heard-1', type: 'generic', state: 'unassigned' }).execute()
  await bring('device,machine,type\nheard-1,moved-1,boom_pump\n')
  const { moves, moveHistory } = noteMoves()
  await finishMoves(db, moveHistory)
  expect(moves).toMatchObject([{ from: 'heard-1', to: 'moved-1', measuredFrom: undefined }])

  await registerMachine(db, catalogue, { id: 'moved-0', type: 'boom_pump' }, decision)
  const draft = { device: 'swapped-1', machine: 'moved-0', from: null, to: null }
  await bindDevice(db, draft, decision, moveHistory)
  await bring('device,machine,type\nswapped-1,moved-1,boom_pump\n', {}, now + day)
  expect(await listBindings(db, { device: 'swapped-1', limit: 10 })).toMatchObject([
    { machine: 'moved-0', from: null, to: new Date(now + day) },
    { machine: 'moved-1', from: new Date(now + day), to: null },
  ])
  const again = await bring('device,machine,type\nswapped-1,moved-1,boom_pump\n', {}, now + 2 * day)
  expect(again.outcome).toBe('unchanged')
  const back = await bring('device,machine,type\nswapped-1,swapped-1,boom_pump\n', {}, now + 2 * day)
  expect(back.bound).toBe(1)
})

test('a meter reading that is dated is another one than one without date', async () => {
  const read = (hours: string, at: string) => bring(`id,type,hours,hours at\nmeter-1,boom_pump,${hours},${at}\n`)
  expect((await read('100', '2025-06-01')).meterReadings).toBe(1)
  expect((await read('100', '2025-06-01')).meterReadings).toBe(0)
  expect((await read('100', '')).meterReadings).toBe(0)
  expect((await read('100', '2025-07-01')).meterReadings).toBe(1)
  expect((await read('150', '')).meterReadings).toBe(1)
})

test('credentials that are there are kept, be they of a gateway', async () => {
  await issueCredential(db, accessKey, { kind: 'gateway', id: 'kept-1' }, decision)
  const report = await bring('id,type\nkept-1,boom_pump\nkept-2,boom_pump\n', { credentials: true })
  expect([...report.issued.keys()]).toEqual(['kept-2'])
  const kept = await listCredentials(db, { after: 'kept-', limit: 2 })
  expect(kept.map(({ kind }) => kind)).toEqual(['gateway', 'machine'])
})

test('5,000 machines with devices, hours and credentials are imported in one go, and once', async () => {
  const lines = Array.from(
    { length: 5_000 },
    (_, n) => `box-${n},fleet-${n},boom_pump,bp-38,SN ${n},Nordbau,Site ${n % 40},Europe/Berlin,2025-03-01,${n}.5`,
  )
  const text = `device,machine,type,model,serial,customer,site,zone,delivered at,hours\n${lines.join('\n')}\n`
  const report = await bring(text, { credentials: true })
  expect(report).toMatchObject({ outcome: 'written', bound: 5_000, meterReadings: 5_000, withoutCredentials: 5_000 })
  expect(report.created).toHaveLength(5_000)
  expect(new Set(report.issued.values()).size).toBe(5_000)
  expect(await bring(text, { credentials: true })).toMatchObject({ outcome: 'unchanged', unchanged: 5_000 })
})
