import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { openStagePace } from '../../src/acquire/stage-pace.ts'

function pace(options: { worked?: number; committed?: number; stuckMs?: number } = {}) {
  const spool = { committed: options.committed ?? 0 }
  let told = 0
  const opened = openStagePace({
    committed: () => spool.committed,
    worked: options.worked ?? 0,
    lagBytes: 100,
    stuckMs: options.stuckMs ?? 60_000,
  })
  opened.onRoom(() => told++)
  onTestFinished(() => opened.stop())
  return { spool, pace: opened, told: () => told }
}

test('stages that are little behind hold nothing up; far behind they do, until they have caught up', () => {
  const { spool, pace: opened, told } = pace()
  spool.committed = 99
  expect(opened.holds()).toBe(false)
  spool.committed = 150
  expect(opened.holds()).toBe(true)
  opened.progress(40)
  expect([opened.holds(), told()]).toEqual([true, 0])
  opened.progress(60)
  expect([opened.holds(), told()]).toEqual([false, 1])
})

test('what waited at the start is worked off beside what comes, and little by little no more is allowed', () => {
  const { spool, pace: opened } = pace({ committed: 10_000 })
  spool.committed = 10_050
  expect(opened.holds()).toBe(false)
  spool.committed = 10_100
  expect(opened.holds()).toBe(true)
  opened.progress(1_000) // 800 more may come for the 1,000 that went
  spool.committed = 10_899
  expect(opened.holds()).toBe(false)
  spool.committed = 10_900
  expect(opened.holds()).toBe(true)
})

test('stages that are stuck hold up nobody for long', async () => {
  const { spool, pace: opened, told } = pace({ stuckMs: 30 })
  spool.committed = 5_000
  expect(opened.holds()).toBe(true)
  await delay(200)
  expect([opened.holds(), told() > 0]).toEqual([false, true])
})
