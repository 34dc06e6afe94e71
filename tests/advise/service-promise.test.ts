import { expect, test } from 'vitest'
import { dueAt, priorityOf, warranty } from '../../src/advise/service-promise.ts'

const dayMs = 86_400_000
const now = Date.UTC(2026, 6, 1)
const ago = (days: number) => now - days * dayMs

test('priority follows severity', () => {
  expect((['S4', 'S3', 'S2', 'S1'] as const).map(priorityOf)).toEqual(['P1', 'P2', 'P3', 'P4'])
})

for (const { name, priority, visit, days } of [
  { name: 'P1: a day', priority: 'P1', visit: undefined, days: 1 },
  { name: 'P2: a day, whatever visit is near', priority: 'P2', visit: 0.5, days: 1 },
  { name: 'P3: thirty days where no visit is known', priority: 'P3', visit: undefined, days: 30 },
  { name: 'P3: the next visit', priority: 'P3', visit: 12, days: 12 },
  { name: 'P3: not as late as a far visit', priority: 'P3', visit: 90, days: 30 },
  { name: 'P3: not at a visit that is over', priority: 'P3', visit: -1, days: 30 },
] as const)
  test(`due date of ${name}`, () =>
    expect(dueAt(priority, now, visit === undefined ? undefined : now + visit * dayMs)).toBe(now + days * dayMs))

for (const { name, deliveredAt, hours, state } of [
  { name: 'young and little used', deliveredAt: ago(100), hours: 900, state: 'in_warranty' },
  { name: 'the last hour before 3,000', deliveredAt: ago(100), hours: 2999.95, state: 'in_warranty' },
  { name: '3,000 hours are the end', deliveredAt: ago(100), hours: 3000, state: 'expired' },
  { name: 'a year is the end', deliveredAt: Date.UTC(2025, 6, 1), hours: 10, state: 'expired' },
  { name: 'a day before the year is over', deliveredAt: Date.UTC(2025, 6, 2), hours: 10, state: 'in_warranty' },
  { name: 'hours alone can end it', deliveredAt: null, hours: 3001, state: 'expired' },
  { name: 'the calendar alone can end it', deliveredAt: ago(400), hours: null, state: 'expired' },
  { name: 'without a date of delivery', deliveredAt: null, hours: 100, state: 'unknown' },
  { name: 'without hours', deliveredAt: ago(10), hours: null, state: 'unknown' },
] as const)
  test(`warranty: ${name}`, () => expect(warranty(deliveredAt, hours, now).state).toBe(state))

test('a machine delivered on 29 February is out of warranty from 28 February', () => {
  expect(warranty(Date.UTC(2024, 1, 29), 0, now).until).toBe(Date.UTC(2025, 1, 28))
})
