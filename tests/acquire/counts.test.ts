import { expect, test } from 'vitest'
import { openCounts, openReceipts, type SetCounts } from '../../src/acquire/counts.ts'
import type { MessageKind } from '../../src/acquire/message.ts'
import { messageTally, tallyPlace } from '../../src/acquire/message-tally.ts'

const tally = (...messages: [MessageKind, 0 | 1 | 2, number][]) => {
  const counts = messageTally()
  for (const [kind, qos, count] of messages) counts[tallyPlace(kind, qos)] = count
  return counts
}
const none = { stored: 0, duplicate: 0, quarantined: 0 }
const sumHolds = ({ received, stored, duplicate, quarantined, waiting }: SetCounts) =>
  received === stored + duplicate + quarantined + waiting

test('received is what came of the messages and what still waits, at any moment', () => {
  const receiving = openReceipts()
  const counts = openCounts(openReceipts(receiving.shared)) // as another thread sees it
  const snapshots: SetCounts[] = []
  const look = () => {
    snapshots.push(counts.snapshot())
    return snapshots.at(-1)
  }

  receiving.add(tally(['telemetry', 1, 2], ['other', 0, 1], ['faults', 1, 1], ['status', 1, 1]))
  expect(look()).toEqual({ received: 3, ...none, waiting: 3 })
  // one array of a hundred, one malformed set, one message on nobody's topic, a good fault list
  const messages: { kind: MessageKind }[] = [
    { kind: 'telemetry' },
    { kind: 'telemetry' },
    { kind: 'other' },
    { kind: 'faults' },
  ]
  counts.settle({ messages, stored: 90, duplicate: 10, quarantined: 2 })
  expect(look()).toEqual({ received: 102, stored: 90, duplicate: 10, quarantined: 2, waiting: 0 })
  receiving.add(tally(['telemetry', 0, 5]))
  expect(look()).toMatchObject({ received: 107, waiting: 5 })
  // a malformed status message is a set that nobody saw coming
  counts.settle({ messages: [{ kind: 'status' }], stored: 0, duplicate: 0, quarantined: 1 })
  expect(look()).toMatchObject({ received: 108, quarantined: 3, waiting: 5 })

  expect(snapshots.every(sumHolds)).toBe(true)
  expect(snapshots.map(({ received }) => received)).toEqual(
    [...snapshots.map(({ received }) => received)].sort((a, b) => a - b),
  )
})

test('messages are counted by kind and QoS', () => {
  const receipts = openReceipts()
  receipts.add(tally(['telemetry', 0, 3], ['status', 2, 1]))
  receipts.add(tally(['telemetry', 0, 4]))
  expect(receipts.messages().filter(({ count }) => count > 0)).toEqual([
    { kind: 'telemetry', qos: 0, count: 7 },
    { kind: 'status', qos: 2, count: 1 },
  ])
  expect(receipts.bearingSets()).toBe(7)
})
