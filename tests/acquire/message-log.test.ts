import { expect, test } from 'vitest'
import { openMessageLog } from '../../src/acquire/message-log.ts'

const at = (position: number) => ({ position, receivedAt: 1_000 + position })

test('the last 50 messages of a device are kept, oldest first', () => {
  const log = openMessageLog()
  for (let i = 0; i < 120; i++) log.note('m', at(i), 'telemetry', 'stored', 500 + i)
  const messages = log.of('m')
  expect(messages.map(({ position }) => position)).toEqual(Array.from({ length: 50 }, (_, i) => 70 + i))
  expect(messages.at(-1)).toEqual({
    position: 119,
    receivedAt: 1_119,
    kind: 'telemetry',
    measuredAt: 619,
    stored: 1,
    duplicate: 0,
    quarantined: 0,
    reason: undefined,
  })
  expect(log.of('nobody')).toEqual([])
})

test('several sets of one message are one entry', () => {
  const log = openMessageLog()
  log.note('m', at(0), 'gateway', 'stored', 30)
  log.note('m', at(0), 'gateway', 'duplicate', 10)
  log.note('m', at(0), 'gateway', 'stored', 20)
  log.note('m', at(0), 'gateway', 'quarantined', 'clock')
  log.note('m', at(1), 'status', 'taken')
  expect(log.of('m')).toMatchObject([
    { kind: 'gateway', measuredAt: 30, stored: 2, duplicate: 1, quarantined: 1, reason: 'clock' },
    { kind: 'status', measuredAt: undefined, stored: 0, duplicate: 0, quarantined: 0, reason: undefined },
  ])
})

test('more sets than can be counted are that many or more', () => {
  const log = openMessageLog()
  for (let i = 0; i < 70_000; i++) log.note('m', at(0), 'telemetry', 'quarantined', 'shape')
  expect(log.of('m')).toMatchObject([{ quarantined: 65_535, reason: 'shape' }])
})

test('beyond so many devices, those that were silent for long give way', () => {
  const log = openMessageLog(200)
  let position = 0
  const heard = ['a', 'b', 'c']
  for (let i = 0; i < 5_000; i++) {
    log.note(`passing-${i}`, at(position++), 'telemetry', 'stored')
    for (const device of heard) log.note(device, at(position++), 'telemetry', 'stored')
  }
  for (const device of heard) expect(log.of(device)).toHaveLength(50)
  expect(log.of('passing-0')).toEqual([])
  expect(log.of('passing-4999')).toHaveLength(1)
})
