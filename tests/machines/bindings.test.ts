import { expect, test } from 'vitest'
import { bindDevice, listBindings } from '../../src/machines/bindings.ts'
import { finishMoves } from '../../src/machines/history-moves.ts'
import { MachineRefused, MachineUnknown, machineById, registerMachine } from '../../src/machines/machines.ts'
import { mergeMachines } from '../../src/machines/merge.ts'
import { openRegistry } from '../../src/machines/registry.ts'
import { testRecords } from '../records/test-records.ts'
import { catalogue, decision, noteMoves, now } from './story.ts'

const { db } = await testRecords()
const hour = 3_600_000
const at = (hours: number) => new Date(now + hours * hour)

async function register(...ids: string[]): Promise<void> {
  for (const id of ids) await registerMachine(db, catalogue, { id, type: 'boom_pump' }, decision)
}

interface Step {
  readonly machine: string
  readonly from?: number
  readonly to?: number
}

async function bind(device: string, { machine, from, to }: Step) {
  const noted = noteMoves()
  const draft = { device, machine, from: from === undefined ? null : at(from), to: to === undefined ? null : at(to) }
  return { ...(await bindDevice(db, draft, decision, noted.moveHistory)), moves: noted.moves }
}

for (const [number, { name, steps, expected }] of [
  {
    name: 'without a binding a device speaks for the machine of its name',
    steps: [],
    expected: 'own own own own own own',
  },
  { name: 'a binding without ends holds always', steps: [{ machine: 'x' }], expected: 'x x x x x x' },
  {
    name: 'it begins with its first instant, and ends before its last',
    steps: [{ machine: 'x', from: 1, to: 3 }],
    expected: 'own x x own own own',
  },
  {
    name: 'a later one takes the time that is its own',
    steps: [
      { machine: 'x', from: 1 },
      { machine: 'y', from: 3 },
    ],
    expected: 'own x x y y y',
  },
  {
    name: 'one within another splits it',
    steps: [
      { machine: 'x', from: 0, to: 5 },
      { machine: 'y', from: 2, to: 3 },
    ],
    expected: 'x x y x x own',
  },
  {
    name: 'one around others takes their place',
    steps: [
      { machine: 'x', from: 1, to: 2 },
      { machine: 'y', from: 3, to: 4 },
      { machine: 'z', from: 0, to: 6 },
    ],
    expected: 'z z z z z z',
  },
  {
    name: 'one over the edges of two leaves what is outside',
    steps: [
      { machine: 'x', from: 0, to: 3 },
      { machine: 'y', from: 3, to: 6 },
      { machine: 'z', from: 2, to: 4 },
    ],
    expected: 'x x z z y y',
  },
  {
    name: 'one without ends can be split too',
    steps: [{ machine: 'x' }, { machine: 'y', from: 2, to: 4 }],
    expected: 'x x y y x x',
  },
  {
    name: 'a device can be given back',
    steps: [
      { machine: 'x', from: 1 },
      { machine: 'own', from: 4 },
    ],
    expected: 'own x x x own own',
  },
].entries()) {
  test(`bindings: ${name}`, async () => {
    const device = `device-${number}`
    const named = (machine: string) => (machine === 'own' ? device : `${machine}-${number}`)
    await register(device, named('x'), named('y'), named('z'))
    const followed = await openRegistry(db, catalogue, now)
    for (const step of steps as Step[]) await bind(device, { ...step, machine: named(step.machine) })
    await followed.refresh(now)

    for (const registry of [followed, await openRegistry(db, catalogue, now)]) {
      const machines = [0, 1, 2, 3, 4, 5].map((hours) => registry.resolve(device, at(hours).getTime()))
      expect(machines).toEqual(expected.split(' ').map(named))
    }
  })
}

test('bindings: the history of bindings stays, with who made them and why', async () => {
  await register('kept-x', 'kept-y')
  await bindDevice(
    db,
    { device: 'kept', machine: 'kept-x', from: null, to: null },
    { user: 'ada', reason: 'swap', now },
    noteMoves().moveHistory,
  )
  await bind('kept', { machine: 'kept-y', from: 1 })
  const holding = await listBindings(db, { device: 'kept', limit: 10 })
  expect(holding).toMatchObject([
    { machine: 'kept-x', from: null, to: at(1), boundBy: 'ada', reason: 'swap', replacedAt: null },
    { machine: 'kept-y', from: at(1), to: null, boundBy: 'li.wei', replacedAt: null },
  ])
  const all = await listBindings(db, { device: 'kept', replaced: true, limit: 10 })
  expect(all).toHaveLength(3)
  expect(all[0]).toMatchObject({ machine: 'kept-x', to: null, replacedAt: new Date(now) })
  const audit = await db.selectFrom('audit').selectAll().where('subject', '=', 'kept').orderBy('id').execute()
  expect(audit.at(-1)).toMatchObject({
    action: 'device.bind',
    by: 'li.wei',
    before: { bindings: [{ machine: 'kept-x' }] },
    after: { binding: { machine: 'kept-y' } },
  })
})

test('bindings: what a device measured before moves with it', async () => {
  await register('moving', 'target')
  const { moves, moved } = await bind('moving', { machine: 'target', from: 1, to: 3 })
  const expected = [{ from: 'moving', to: 'target', measuredFrom: now + hour, measuredTo: now + 3 * hour }]
  expect([moves, moved]).toEqual([expected, expected])
})

test('bindings: history that several devices made stays, and the answer says so', async () => {
  await register('shared', 'shared-b', 'shared-target')
  await bind('shared-b', { machine: 'shared', from: 0, to: 2 })
  const { moves, unmoved } = await bind('shared', { machine: 'shared-target', from: 1, to: 3 })
  expect(moves).toEqual([])
  expect(unmoved).toEqual([
    { from: 'shared', to: 'shared-target', measuredFrom: now + hour, measuredTo: now + 3 * hour },
  ])
})

test('bindings: a move that was interrupted is made at the next chance', async () => {
  await register('crash', 'crash-target')
  const draft = { device: 'crash', machine: 'crash-target', from: null, to: null }
  const failing = async () => Promise.reject(new Error('the store is away'))
  await expect(bindDevice(db, draft, decision, failing)).rejects.toThrow('the store is away')
  expect(await listBindings(db, { device: 'crash', limit: 10 })).toHaveLength(1)

  const { moves, moveHistory } = noteMoves()
  await finishMoves(db, moveHistory)
  await finishMoves(db, moveHistory)
  expect(moves).toEqual([{ from: 'crash', to: 'crash-target', measuredFrom: undefined, measuredTo: undefined }])
})

test('bindings: an unknown machine, an empty span and an id that is none are refused', async () => {
  await register('refusing')
  await expect(bind('d', { machine: 'nobody' })).rejects.toThrow(MachineUnknown)
  await expect(bind('d', { machine: 'refusing', from: 2, to: 2 })).rejects.toThrow(MachineRefused)
  await expect(bind('d/e', { machine: 'refusing' })).rejects.toThrow(MachineRefused)
})

test('merging: devices, history and what was merged before go to the target', async () => {
  await register('m-old', 'm-between', 'm-new', 'm-x')
  await bind('m-gateway', { machine: 'm-old' })
  const { moves, moveHistory } = noteMoves()
  await mergeMachines(db, { from: 'm-old', into: 'm-between' }, decision, moveHistory)
  await mergeMachines(db, { from: 'm-between', into: 'm-new' }, { ...decision, reason: 'one machine' }, moveHistory)

  const registry = await openRegistry(db, catalogue, now)
  const devices = ['m-old', 'm-between', 'm-new', 'm-gateway']
  expect(devices.map((device) => registry.resolve(device, now))).toEqual(['m-new', 'm-new', 'm-new', 'm-new'])
  expect(moves).toEqual([
    { from: 'm-old', to: 'm-between', measuredFrom: undefined, measuredTo: undefined },
    { from: 'm-between', to: 'm-new', measuredFrom: undefined, measuredTo: undefined },
  ])
  expect(await machineById(db, 'm-old')).toMatchObject({ mergedInto: 'm-new', state: 'retired' })
  const audit = await db
    .selectFrom('audit')
    .selectAll()
    .where('subject', '=', 'm-between')
    .orderBy('id', 'desc')
    .execute()
  expect(audit[0]).toMatchObject({ action: 'machine.merge', after: { mergedInto: 'm-new' }, reason: 'one machine' })

  await expect(mergeMachines(db, { from: 'm-old', into: 'm-x' }, decision, moveHistory)).rejects.toThrow(MachineRefused)
  await expect(mergeMachines(db, { from: 'm-x', into: 'm-x' }, decision, moveHistory)).rejects.toThrow(MachineRefused)
  await expect(mergeMachines(db, { from: 'm-x', into: 'm-old' }, decision, moveHistory)).rejects.toThrow(`'m-new'`)
  await expect(bind('d', { machine: 'm-old' })).rejects.toThrow(MachineRefused)
})
