import { expect, test } from 'vitest'
import { pairSlots } from '../src/pair-slots.ts'
import { seeded } from './acquire/seeded.ts'

test('pairs are numbered as they are met, and found again', () => {
  const slots = pairSlots()
  expect([slots.slotOf(7, 0), slots.slotOf(0, 7), slots.slotOf(7, 0), slots.slotOf(7, 7)]).toEqual([0, 1, 0, 2])
  expect([slots.find(0, 7), slots.find(1, 7), slots.find(100_000, 0)]).toEqual([1, -1, -1])
  expect([slots.firstOf(1), slots.secondOf(1), slots.size]).toEqual([0, 7, 3])
  expect([...slots.withFirst(7)]).toEqual([2, 0])
  expect([...slots.withFirst(3)]).toEqual([])
  expect([...slots.withFirst(9_999_999)]).toEqual([])
})

test('100,000 pairs of any kind are what a map says they are', () => {
  const random = seeded(5)
  const slots = pairSlots()
  const expected = new Map<string, number>()
  for (let i = 0; i < 100_000; i++) {
    const [first, second] = [Math.floor(random() ** 4 * 20_000), Math.floor(random() * 3_000)] as [number, number]
    const key = `${first} ${second}`
    if (!expected.has(key)) expected.set(key, expected.size)
    expect(slots.slotOf(first, second)).toBe(expected.get(key))
  }
  expect(slots.size).toBe(expected.size)
  const ofFirst = [...expected].filter(([key]) => key.startsWith('3 ')).map(([, slot]) => slot)
  expect([...slots.withFirst(3)]).toEqual(ofFirst.reverse())
})
