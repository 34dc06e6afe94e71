import { beforeAll, describe, expect, test } from 'vitest'
import { advise } from '../../src/advise/advisor.ts'
import { builtinDesk } from '../../src/advise/builtin-desk.ts'
import { jobById } from '../../src/advise/jobs.ts'
import { maintenanceJobSchema } from '../../src/advise/maintenance-job.ts'
import { type TicketState, ticketStates } from '../../src/advise/tables.ts'
import {
  changeTicketState,
  commentOnTicket,
  listTickets,
  TicketReasonMissing,
  TicketTransitionRefused,
  TicketUnknown,
  ticketTransitions,
  ticketWithHistory,
} from '../../src/advise/tickets.ts'
import { type TestRecords, testRecords } from '../records/test-records.ts'
import { catalogue, machine, now, raise } from './story.ts'

let records: TestRecords
beforeAll(async () => {
  records = await testRecords()
})

let machines = 0
async function openTicket(): Promise<{ ticket: string; job: string; machine: string }> {
  machines += 1
  const id = await machine(records.db, `m${machines}`)
  await raise(records.db, id, { severity: 'S3' })
  await advise(records.db, { catalogue, now })
  const { payload } = await records.db
    .selectFrom('outbox')
    .select('payload')
    .orderBy('position', 'desc')
    .executeTakeFirstOrThrow()
  const message = maintenanceJobSchema.parse(payload)
  const { ticket = '' } = await builtinDesk({ db: records.db, now: () => now }).take(message)
  return { ticket, job: message.id, machine: id }
}

const go = (id: string, state: TicketState, reason?: string) =>
  changeTicketState(records.db, id, { state, user: 'wang', reason, now })

describe('ways a ticket can go', () => {
  for (const { name, way } of [
    {
      name: 'to the end, by every step',
      way: 'triaged dispatched accepted en_route on_site waiting_parts on_site repaired verified customer_confirmed callback_done closed',
    },
    {
      name: 'solved by telephone',
      way: 'triaged dispatched accepted repaired verified customer_confirmed callback_done closed',
    },
    {
      name: 'a second way to the site with the parts',
      way: 'triaged dispatched accepted en_route on_site waiting_parts en_route on_site',
    },
    { name: 'escalated twice, then dispatched', way: 'triaged escalated_region escalated_hq dispatched' },
    { name: 'not in order after all', way: 'triaged dispatched accepted repaired verified reopened dispatched' },
  ]) {
    test(name, async () => {
      const { ticket } = await openTicket()
      const states = way.split(' ') as TicketState[]
      for (const state of states) await go(ticket, state)
      const { state, history } = await ticketWithHistory(records.db, ticket)
      expect(state).toBe(states.at(-1))
      expect(history.map((entry) => entry.state)).toEqual(['new', ...states])
    })
  }
})

for (const { from, to } of [
  { from: [], to: 'closed' },
  { from: [], to: 'repaired' },
  { from: ['triaged'], to: 'new' },
  { from: ['triaged', 'dispatched', 'accepted', 'repaired'], to: 'closed' },
  { from: ['triaged', 'dispatched', 'accepted', 'repaired'], to: 'callback_done' },
] as { from: TicketState[]; to: TicketState }[]) {
  test(`a ticket that is ${from.at(-1) ?? 'new'} cannot become ${to}`, async () => {
    const { ticket } = await openTicket()
    for (const state of from) await go(ticket, state)
    const before = await ticketWithHistory(records.db, ticket)
    await expect(go(ticket, to)).rejects.toThrow(TicketTransitionRefused)
    expect(await ticketWithHistory(records.db, ticket)).toEqual(before)
  })
}

test('every state but the two ends leads on, and to an end', () => {
  const reaches = (from: TicketState, seen = new Set<TicketState>()): Set<TicketState> => {
    for (const to of ticketTransitions[from]) if (!seen.has(to)) reaches(to, seen.add(to))
    return seen
  }
  for (const state of ticketStates.filter((each) => each !== 'closed' && each !== 'cancelled'))
    expect([...reaches(state)], state).toEqual(expect.arrayContaining(['closed', 'cancelled']))
})

test('cancelling needs a reason, ends the ticket and withdraws its job', async () => {
  const { ticket, job } = await openTicket()
  await expect(go(ticket, 'cancelled')).rejects.toThrow(TicketReasonMissing)
  await expect(go(ticket, 'cancelled', '  ')).rejects.toThrow(TicketReasonMissing)
  const cancelled = await go(ticket, 'cancelled', 'sensor fault')
  expect(cancelled).toMatchObject({ state: 'cancelled', closedAt: new Date(now).toISOString() })
  expect(await jobById(records.db, job)).toMatchObject({
    state: 'withdrawn',
    endedBy: 'wang',
    endReason: 'sensor fault',
  })
  await expect(go(ticket, 'triaged')).rejects.toThrow(TicketTransitionRefused)
})

test('two people who move a ticket at once: one does, the other is told', async () => {
  const { ticket } = await openTicket()
  const both = await Promise.allSettled([go(ticket, 'triaged'), go(ticket, 'triaged')])
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  expect((await ticketWithHistory(records.db, ticket)).history).toHaveLength(2)
})

test('comments are kept in order, a ticket that is not there is unknown', async () => {
  const { ticket } = await openTicket()
  await commentOnTicket(records.db, ticket, { user: 'li', text: 'called the site', now })
  const { history } = await commentOnTicket(records.db, ticket, { user: 'li', text: 'nobody answers', now })
  expect(history.slice(1)).toMatchObject([
    { kind: 'comment', by: 'li', note: 'called the site' },
    { kind: 'comment', by: 'li', note: 'nobody answers' },
  ])
  await expect(commentOnTicket(records.db, 'T-999999', { user: 'li', text: 'x', now })).rejects.toThrow(TicketUnknown)
  await expect(go('T-999999', 'triaged')).rejects.toThrow(TicketUnknown)
  await expect(ticketWithHistory(records.db, 'T-999999')).rejects.toThrow(TicketUnknown)
})

test('tickets are listed by machine and by state, page by page, newest first', async () => {
  const { ticket, machine: id } = await openTicket()
  await go(ticket, 'triaged')
  expect((await listTickets(records.db, { machine: id, state: 'triaged', limit: 5 })).items).toHaveLength(1)
  expect((await listTickets(records.db, { machine: id, state: 'new', limit: 5 })).items).toEqual([])

  const all = (await listTickets(records.db, { limit: 1000 })).items.map((each) => each.id)
  const paged: string[] = []
  for (let after: number | undefined; ; ) {
    const page = await listTickets(records.db, { limit: 3, after })
    paged.push(...page.items.map((each) => each.id))
    if (page.next === null) break
    after = page.next
  }
  expect(paged).toEqual(all)
  expect(all[0]).toBe(ticket)
})
