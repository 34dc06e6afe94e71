import { join } from 'node:path'
import { type Selectable, sql } from 'kysely'
import { expect, test } from 'vitest'
import { listInspections, listOperatorTasks, markReminderReceived } from '../../src/advise/inspection-list.ts'
import type { InspectionReminder } from '../../src/advise/inspection-reminder.ts'
import { inspectionProgramme } from '../../src/advise/inspections.ts'
import { loadCatalogue } from '../../src/catalogue/load.ts'
import { type HoursLedger, hoursLedger } from '../../src/features/hours-ledger.ts'
import {
  CorrectionInvalid,
  confirmCounter,
  DoubtDecided,
  enterMeterReading,
  listCounterDoubts,
  markCorrectionsApplied,
  NoSuchDoubt,
  pendingCorrections,
  recordLedgers,
} from '../../src/features/hours-ledger-records.ts'
import type { MachinesTable } from '../../src/records/tables.ts'
import { projectRoot } from '../../src/root.ts'
import { testRecords } from '../records/test-records.ts'

const T0 = Date.UTC(2026, 0, 5)
const H = 3_600_000
const DAY = 24 * H

const catalogue = loadCatalogue(join(projectRoot, 'catalogue'))
const excavator = catalogue.profile('excavator')
const { db } = await testRecords()
const programme = inspectionProgramme(db, catalogue)

async function machine(id: string, fields: Partial<Selectable<MachinesTable>> = {}): Promise<HoursLedger> {
  const { contacts, ...other } = fields
  await db
    .insertInto('machines')
    .values({ id, type: 'excavator', state: 'in_service', contacts: JSON.stringify(contacts ?? []), ...other })
    .execute()
  return hoursLedger(excavator)
}

/** One reading of the hour meter, as the pipeline takes it. */
async function read(id: string, ledger: HoursLedger, at: number, engine_hours_h: number): Promise<void> {
  const values = new Map([['engine_hours_h', engine_hours_h]])
  const events = ledger.observe([{ device: id, machine: id, measuredAt: at, receivedAt: at, seq: undefined, values }])
  await db
    .transaction()
    .execute((trx) => recordLedgers(trx, [{ machine: id, status: ledger.takeStatus(), events }], at))
}

/** What the pipeline does with decisions of people. */
async function applyCorrections(id: string, ledger: HoursLedger, now: number): Promise<void> {
  const pending = (await pendingCorrections(db)).filter((one) => one.machine === id)
  const events = pending.flatMap(({ correction }) => ledger.apply(correction))
  await db.transaction().execute(async (trx) => {
    await recordLedgers(trx, [{ machine: id, status: ledger.takeStatus(), events }], now)
    await markCorrectionsApplied(
      trx,
      pending.map((one) => one.id),
      now,
    )
  })
}

async function reminders(id: string): Promise<InspectionReminder[]> {
  const rows = await db
    .selectFrom('outbox')
    .select('payload')
    .where('name', '=', 'inspection-reminder')
    .orderBy('position')
    .execute()
  return rows.map(({ payload }) => payload as InspectionReminder).filter((reminder) => reminder.machine.id === id)
}

test('a machine that joins with 6,300 h: nothing for the past, one reminder when the next window opens', async () => {
  const ledger = await machine('joins', {
    serial: 'SN-1',
    customer: 'Alpha',
    site: 'North',
    contacts: [{ name: 'Wang', phone: '+86 1' }],
    delivered_at: new Date(T0 - 700 * DAY),
  })
  await read('joins', ledger, T0, 6300)
  expect(await programme.remind({ now: T0, machine: 'joins' })).toBe(0)
  const unknown = await listInspections(db, catalogue, { machine: 'joins', state: 'unknown', limit: 100 })
  expect(
    unknown.items
      .flatMap((one) => one.items)
      .filter(({ task }) => task === 'SPOT_INSPECTION')
      .map(({ dueHours }) => dueHours),
  ).toEqual([100, 250, 500, 1000, 2000, 3000, 4000, 5000, 6000])

  const opens = T0 + 155 * H
  await read('joins', ledger, opens - H, 6449)
  expect(await programme.remind({ now: opens - H, machine: 'joins' })).toBe(0)
  await read('joins', ledger, opens, 6450)
  expect(await programme.remind({ now: opens, machine: 'joins' })).toBe(1)
  expect(await programme.remind({ now: opens, machine: 'joins' })).toBe(0)

  const [reminder] = await reminders('joins')
  expect(reminder).toMatchObject({
    version: 1,
    machine: { id: 'joins', serial: 'SN-1', customer: 'Alpha', site: 'North', contact: { name: 'Wang' }, hours: 6450 },
    dueHours: 6500,
    overdue: [],
  })
  expect(reminder?.tasks.map(({ task }) => task).sort()).toEqual(['BOLT_SLEW', 'ENG_250', 'FUEL_500'])
  expect(reminder?.tasks.find(({ task }) => task === 'FUEL_500')).toMatchObject({
    name: { en: expect.any(String), zh: expect.any(String) },
    due: [{ state: 'open', dueHours: 6500, windowOpensHours: 6450, windowClosesHours: 6550 }],
  })

  const [first] = (await listInspections(db, catalogue, { machine: 'joins', limit: 10 })).items
  expect(first).toMatchObject({
    id: reminder?.id,
    state: 'open',
    performer: 'service',
    dueHours: 6500,
    remindedAt: new Date(opens).toISOString(),
  })
  expect(first?.tasks.toSorted()).toEqual(['BOLT_SLEW', 'ENG_250', 'FUEL_500'])
})

test('a fleet over 1,000 h: no due point is told twice, none of an operator or customer, none is left out', async () => {
  const fleet = new Map<string, HoursLedger>()
  for (let i = 0; i < 50; i++) fleet.set(`fleet-${i}`, await machine(`fleet-${i}`, { delivered_at: new Date(T0) }))
  const end = T0 + 70 * DAY
  for (let at = T0; at <= end; at += 2 * DAY) {
    const entries = [...fleet].map(([id, ledger], i) => {
      const hours = ((at - T0) / DAY) * (14.3 + (i % 5) / 10)
      const values = new Map([['engine_hours_h', hours]])
      const events = ledger.observe([
        { device: id, machine: id, measuredAt: at, receivedAt: at, seq: undefined, values },
      ])
      return { machine: id, status: ledger.takeStatus(), events }
    })
    await db.transaction().execute((trx) => recordLedgers(trx, entries, at))
    await programme.remind({ now: at })
  }
  const told = (await Promise.all([...fleet.keys()].map(reminders))).flat()
  const points = told.flatMap(({ machine, tasks }) =>
    tasks.flatMap(({ task, due }) => due.map(({ n }) => `${machine.id} ${task} ${n}`)),
  )
  expect(new Set(points).size).toBe(points.length)
  const performers = new Set(told.flatMap(({ tasks }) => tasks.map(({ task }) => excavator.tasks.get(task)?.performer)))
  expect([...performers]).toEqual(['service'])

  for (const id of fleet.keys()) {
    const own = new Set(points.filter((point) => point.startsWith(`${id} `)).map((point) => point.slice(id.length + 1)))
    for (const point of [
      'ENG_250 1',
      'ENG_250 2',
      'ENG_250 3',
      'SPOT_INSPECTION 1',
      'SPOT_INSPECTION 4',
      'RUNIN_100 1',
      'FUEL_500 2',
    ])
      expect(own, `${id} ${point}`).toContain(point)
  }
  expect(await forgotten()).toEqual([])
})

/** Due points that should have been told and were not. */
async function forgotten(): Promise<{ task: string }[]> {
  return db
    .selectFrom('inspection_items')
    .innerJoin('inspections', 'inspections.id', 'inspection_items.inspection')
    .where('performer', '=', 'service')
    .where('inspection_items.state', 'in', ['open', 'overdue'])
    .where('inspection_items.reminded_at', 'is', null)
    .select(['inspection_items.machine', 'task', 'n'])
    .execute()
}

test('windows that passed in an outage are one reminder that names them', async () => {
  const ledger = await machine('outage', { delivered_at: new Date(T0) })
  await read('outage', ledger, T0, 10)
  expect(await programme.remind({ now: T0, machine: 'outage' })).toBe(0)
  const back = T0 + 60 * DAY
  await read('outage', ledger, back, 1120)
  expect(await programme.remind({ now: back, machine: 'outage' })).toBe(1)

  const [reminder] = await reminders('outage')
  const due = (task: string) =>
    reminder?.tasks.find((one) => one.task === task)?.due.map((point) => [point.dueHours, point.state])
  expect(due('SPOT_INSPECTION')).toEqual([100, 250, 500, 1000].map((hours) => [hours, 'overdue']))
  expect(due('FUEL_500')).toEqual([500, 1000].map((hours) => [hours, 'overdue']))
  expect(reminder?.overdue).toEqual(expect.arrayContaining(['SPOT_INSPECTION', 'FUEL_500', 'RUNIN_100', 'ENG_250']))
  expect(await programme.remind({ now: back + DAY, machine: 'outage' })).toBe(0)
})

test('a jump of 9,999 h queues nothing until somebody confirms it', async () => {
  const ledger = await machine('jumps')
  await read('jumps', ledger, T0, 310)
  await programme.remind({ now: T0, machine: 'jumps' })
  await read('jumps', ledger, T0 + H, 310 + 9_999)
  for (let hour = 2; hour < 50; hour++) await read('jumps', ledger, T0 + hour * H, 310 + 9_999 + hour / 10)
  expect(await programme.remind({ now: T0 + 50 * H, machine: 'jumps' })).toBe(0)

  const doubts = await listCounterDoubts(db, { machine: 'jumps', open: true, limit: 10 })
  expect(doubts).toMatchObject([{ kind: 'counter_jump', signal: 'engine_hours_h', value: 10_309, previous: 310 }])
  const event = doubts[0]?.id ?? 0
  await confirmCounter(db, { event, resolution: 'accept', by: 'li', now: T0 + 50 * H })
  await applyCorrections('jumps', ledger, T0 + 50 * H)
  expect(ledger.status().hours).toBeCloseTo(10_313.9)
  expect(await programme.remind({ now: T0 + 50 * H, machine: 'jumps' })).toBe(1)
  expect((await reminders('jumps'))[0]?.tasks.map(({ task }) => task)).toContain('MAJOR_10000')

  await expect(confirmCounter(db, { event, resolution: 'accept', by: 'li', now: T0 })).rejects.toThrow(DoubtDecided)
  await expect(confirmCounter(db, { event: 1e9, resolution: 'accept', by: 'li', now: T0 })).rejects.toThrow(NoSuchDoubt)
  expect(await listCounterDoubts(db, { machine: 'jumps', open: true, limit: 10 })).toEqual([])
})

test('a fall queues nothing; the new controller goes on from the ledger once somebody says so', async () => {
  const ledger = await machine('falls')
  await read('falls', ledger, T0, 440)
  await programme.remind({ now: T0, machine: 'falls' })
  await read('falls', ledger, T0 + 5 * H, 2)
  await read('falls', ledger, T0 + 20 * H, 14)
  expect(await programme.remind({ now: T0 + 20 * H, machine: 'falls' })).toBe(0)

  const [doubt] = await listCounterDoubts(db, { machine: 'falls', limit: 10 })
  const event = doubt?.id ?? 0
  await expect(confirmCounter(db, { event, resolution: 'set', by: 'li', now: T0 })).rejects.toThrow(CorrectionInvalid)
  await confirmCounter(db, { event, resolution: 'continue', by: 'li', note: 'new controller', now: T0 + 20 * H })
  await applyCorrections('falls', ledger, T0 + 20 * H)
  expect(ledger.status().hours).toBe(452)
  expect(await programme.remind({ now: T0 + 20 * H, machine: 'falls' })).toBe(1)
  expect(await pendingCorrections(db)).toEqual([])
})

test('a counter that comes back settles its event by itself', async () => {
  const ledger = await machine('spike')
  await read('spike', ledger, T0, 440)
  await read('spike', ledger, T0 + H, 4400)
  await read('spike', ledger, T0 + 2 * H, 441)
  expect(await listCounterDoubts(db, { machine: 'spike', limit: 10 })).toMatchObject([{ resolution: 'came_back' }])
})

test('a meter reading starts the programme of a machine that sends nothing', async () => {
  const ledger = await machine('meter')
  expect(await programme.remind({ now: T0, machine: 'meter' })).toBe(0)
  await enterMeterReading(db, { machine: 'meter', hours: 6460, at: T0, by: 'li', now: T0 })
  await applyCorrections('meter', ledger, T0)
  expect(await programme.remind({ now: T0, machine: 'meter' })).toBe(1)
  expect((await reminders('meter'))[0]?.dueHours).toBe(6500)
  await expect(enterMeterReading(db, { machine: 'meter', hours: 1, at: T0 + DAY, by: 'li', now: T0 })).rejects.toThrow(
    CorrectionInvalid,
  )
})

test('asked by many at the same time, a visit is told once', async () => {
  const ids = Array.from({ length: 8 }, (_, i) => `race-${i}`)
  for (const id of ids) await read(id, await machine(id), T0, 460)
  const other = inspectionProgramme(db, catalogue)
  await Promise.all([1, 2, 3].flatMap(() => [programme.remind({ now: T0 }), other.remind({ now: T0 })]))
  for (const id of ids) {
    await programme.remind({ now: T0, machine: id })
    expect(await reminders(id)).toHaveLength(1)
  }
})

test('a reminder and its mark commit together: what breaks in between leaves neither', async () => {
  await read('crash', await machine('crash'), T0, 460)
  await sql`alter table outbox add constraint refused check (payload -> 'machine' ->> 'id' <> 'crash')`.execute(db)
  await expect(programme.remind({ now: T0, machine: 'crash' })).rejects.toThrow('refused')
  await sql`alter table outbox drop constraint refused`.execute(db)
  expect((await listInspections(db, catalogue, { machine: 'crash', limit: 1 })).items).toEqual([])
  expect(await programme.remind({ now: T0, machine: 'crash' })).toBe(1)
})

test('who is told and who is not, by the state of the machine', async () => {
  for (const [state, told] of [
    ['in_service', 1],
    ['parked', 1],
    ['workshop', 1],
    ['retired', 0],
    ['unassigned', 0],
  ] as const) {
    await read(`state-${state}`, await machine(`state-${state}`, { state }), T0, 460)
    expect(await programme.remind({ now: T0, machine: `state-${state}` }), state).toBe(told)
  }
})

test('dates come without any hours: 14 days ahead of the first month after delivery', async () => {
  await machine('dates', { delivered_at: new Date(T0), time_zone: 'Asia/Shanghai' })
  expect(await programme.remind({ now: T0, machine: 'dates' })).toBe(0)
  expect(await programme.remind({ now: T0 + 16 * DAY, machine: 'dates' })).toBe(0)
  expect(await programme.remind({ now: T0 + 17 * DAY, machine: 'dates' })).toBe(1)
  expect((await reminders('dates'))[0]).toMatchObject({
    dueAt: new Date(Date.UTC(2026, 1, 5)).toISOString(),
    machine: { hours: null },
  })
})

test('a machine at which nothing came to anything is not looked at', async () => {
  const ledger = await machine('quiet')
  await read('quiet', ledger, T0, 300)
  await programme.remind({ now: T0, machine: 'quiet' })
  const check = () =>
    db
      .selectFrom('programme_checks')
      .select(['next_hours', 'next_at'])
      .where('machine', '=', 'quiet')
      .executeTakeFirstOrThrow()
  const before = await check()
  expect(before.next_hours).toBe(450)
  await read('quiet', ledger, T0 + 10 * H, 310)
  await programme.remind({ now: T0 + 10 * H, machine: 'quiet' })
  expect(await check()).toEqual(before)
})

test('a changed delivery date moves what was not told yet', async () => {
  await machine('moved', { delivered_at: new Date(T0) })
  await programme.remind({ now: T0, machine: 'moved' })
  const warranty = async () => {
    const { items } = await listInspections(db, catalogue, { machine: 'moved', limit: 100 })
    return items.find(({ tasks }) => tasks.includes('WARRANTY_END'))?.dueAt
  }
  expect(await warranty()).toBe(new Date(Date.UTC(2026, 11, 5)).toISOString())
  const later = new Date(T0 + 10 * DAY)
  await sql`update machines set delivered_at = ${later}, revision = nextval('machine_revision') where id = 'moved'`.execute(
    db,
  )
  await programme.remind({ now: T0, machine: 'moved' })
  expect(await warranty()).toBe(new Date(Date.UTC(2026, 11, 15)).toISOString())
})

test('the list comes in pages: what was told first, then what will come, each once', async () => {
  const all = await listInspections(db, catalogue, { limit: 1000 })
  const paged: string[] = []
  for (let after: string | undefined; ; ) {
    const page = await listInspections(db, catalogue, { after, limit: 97 })
    paged.push(...page.items.map(({ id }) => id))
    if (page.next === null) break
    after = page.next
  }
  expect(paged.slice(0, 1000)).toEqual(all.items.map(({ id }) => id))
  expect(new Set(paged).size).toBe(paged.length)
  const told = all.items.map(({ remindedAt }) => remindedAt !== null)
  expect(told.lastIndexOf(true)).toBeLessThan(told.includes(false) ? told.indexOf(false) : told.length)
  const customers = await listInspections(db, catalogue, { performer: 'customer', limit: 10 })
  expect(customers.items.every(({ performer, remindedAt }) => performer === 'customer' && remindedAt === null)).toBe(
    true,
  )
})

test('the desk notes a reminder once', async () => {
  const [first] = (await listInspections(db, catalogue, { machine: 'joins', limit: 1 })).items
  await markReminderReceived(db, first?.id ?? '', T0)
  await markReminderReceived(db, first?.id ?? '', T0 + DAY)
  const [again] = (await listInspections(db, catalogue, { machine: 'joins', limit: 1 })).items
  expect(again?.deskReceivedAt).toBe(new Date(T0).toISOString())
})

test("an operator's tasks are counters of the machine", async () => {
  const listed = await listOperatorTasks(db, catalogue, { machine: 'joins', now: T0 + 8 * DAY })
  expect(listed.find(({ task }) => task === 'DAILY')).toMatchObject({
    performer: 'operator',
    lastHours: 6450,
    nextHours: 6460,
    remainingHours: 10,
  })
  expect(listed.map(({ task }) => task)).toContain('GREASE_50')
  expect(await listOperatorTasks(db, catalogue, { machine: 'nobody', now: T0 })).toEqual([])
})
