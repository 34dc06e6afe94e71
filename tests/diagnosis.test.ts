import { expect, test } from 'vitest'
import type { ConnectionEvent } from '../src/acquire/connection-log.ts'
import { diagnose } from '../src/diagnosis.ts'
import type { MachineTail, TailMessage } from '../src/machine-tail.ts'

const now = Date.UTC(2026, 0, 1, 12)
const minute = 60_000

type Facts = Parameters<typeof diagnose>[0]

const facts = (more: Partial<Facts> = {}): Facts => ({
  id: 'pump-1',
  machine: undefined,
  devices: ['pump-1'],
  since: now - 60 * minute,
  unjudgedBytes: 0,
  connections: [],
  messages: [],
  ...more,
})
const machine = (more: object = {}) =>
  ({
    id: 'pump-1',
    state: 'in_service',
    mergedInto: null,
    lastSeenAt: null,
    newestMeasuredAt: null,
    ...more,
  }) as unknown as NonNullable<MachineTail['machine']>
const message = (more: Partial<TailMessage> = {}): TailMessage => ({
  device: 'pump-1',
  position: 1,
  isOlder: false,
  receivedAt: now - minute,
  measuredAt: undefined,
  outcome: 'stored',
  stored: 0,
  duplicate: 0,
  quarantined: 0,
  quarantine: [],
  rejected: [],
  topic: 'machines/pump-1/telemetry',
  message: undefined,
  size: undefined,
  payload: undefined,
  ...more,
})
const stored = message({ stored: 1, measuredAt: now - 2 * minute })
const inQuarantine = (reason: string, detail = 'a detail') =>
  message({ outcome: 'quarantined', quarantined: 1, quarantine: [{ id: 7, reason, detail }] })
const event = (more: Partial<ConnectionEvent>): ConnectionEvent => ({
  at: now - minute,
  event: 'connected',
  clientId: 'c',
  address: '10.0.0.7',
  ...more,
})
const refused = event({ event: 'login_refused', reason: 'wrong_secret' })

for (const { name, given, codes, text = '' } of [
  { name: 'nobody ever heard of it', given: {}, codes: ['never_seen'], text: "'pump-1'" },
  {
    name: 'it shows a wrong secret',
    given: { connections: [refused, refused] },
    codes: ['login_refused'],
    text: 'wrong secret, 2 times, last at 2026-01-01T11:59:00.000Z from 10.0.0.7',
  },
  {
    name: 'it is connected and says nothing',
    given: { connections: [event({})] },
    codes: ['silent_connection'],
    text: 'and is connected',
  },
  {
    name: 'it was connected and said nothing',
    given: { connections: [event({}), event({ event: 'disconnected', reason: 'keep_alive' })] },
    codes: ['silent_connection'],
    text: '(keep_alive)',
  },
  {
    name: 'its clock is ahead',
    given: { messages: [inQuarantine('clock', 'measured 60 min after it was received')] },
    codes: ['quarantined'],
    text: 'measured 60 min after',
  },
  {
    name: 'its topic is unknown',
    given: { messages: [{ ...inQuarantine('topic'), topic: 'machines/pump-1/data' }] },
    codes: ['unknown_topic'],
    text: "'machines/pump-1/data'",
  },
  {
    name: 'some of it is in quarantine',
    given: { machine: machine(), messages: [stored, inQuarantine('values', 'a: not_finite')] },
    codes: ['partly_quarantined', 'stored'],
    text: '1 of its last 2 sets, as values',
  },
  {
    name: 'the number of what was given up is all that is left',
    given: { messages: [message({ outcome: 'quarantined', quarantined: 3 })] },
    codes: ['quarantined'],
    text: '3 sets',
  },
  { name: 'all is well', given: { machine: machine(), messages: [stored] }, codes: ['stored'], text: '11:58:00' },
  {
    name: 'it sends a backlog',
    given: { machine: machine(), messages: [{ ...stored, measuredAt: now - 600 * minute }] },
    codes: ['stored'],
    text: 'it sends a backlog',
  },
  {
    name: 'its values are no values',
    given: { messages: [{ ...stored, rejected: [{ signal: 'hyd_oil_temp_c', reason: 'implausible' as const }] }] },
    codes: ['stored', 'values_rejected'],
  },
  {
    name: 'it sends the same again',
    given: { messages: [message({ outcome: 'duplicate', duplicate: 2 })] },
    codes: ['only_duplicates'],
    text: 'all 2 sets',
  },
  { name: 'it waits', given: { messages: [message({ outcome: 'waiting' })] }, codes: ['waiting'], text: '1 message' },
  { name: 'it sends no readings', given: { messages: [message({ outcome: 'taken' })] }, codes: ['no_readings'] },
  {
    name: 'it came in, and does not any more',
    given: { machine: machine(), messages: [{ ...stored, receivedAt: now - 30 * minute }], connections: [refused] },
    codes: ['login_refused', 'stored', 'quiet'],
    text: 'since its last message',
  },
  {
    name: 'it was refused once, and came in after that',
    given: { messages: [{ ...stored, receivedAt: now - 5 * minute }], connections: [refused, event({})] },
    codes: ['stored'],
  },
  {
    name: 'it sends too much',
    given: { messages: [stored], connections: [event({ event: 'held_back', at: now - 2 * minute })] },
    codes: ['stored', 'held_back'],
  },
  {
    name: 'it was heard before this process began',
    given: { machine: machine({ lastSeenAt: new Date(now - minute), newestMeasuredAt: new Date(now - 2 * minute) }) },
    codes: ['stored'],
  },
  {
    name: 'it was heard before this process began, and sent rubbish once',
    given: {
      machine: machine({ lastSeenAt: new Date(now - minute), newestMeasuredAt: new Date(now - 2 * minute) }),
      messages: [{ ...inQuarantine('shape'), isOlder: true, receivedAt: now - 500 * minute }],
    },
    codes: ['stored', 'partly_quarantined'],
  },
  {
    name: 'it has been quiet for long',
    given: {
      machine: machine({ lastSeenAt: new Date(now - 90 * minute), newestMeasuredAt: new Date(now - 91 * minute) }),
    },
    codes: ['quiet', 'stored'],
    text: '10:30:00',
  },
  {
    name: 'nobody named its type',
    given: { machine: machine({ state: 'unassigned' }), messages: [stored] },
    codes: ['stored', 'unassigned'],
  },
  {
    name: 'it is retired',
    given: { machine: machine({ state: 'retired' }), messages: [stored] },
    codes: ['stored', 'retired'],
  },
  {
    name: 'it was merged',
    given: { machine: machine({ state: 'retired', mergedInto: 'pump-2' }), messages: [stored] },
    codes: ['stored', 'merged'],
  },
  {
    name: 'it speaks for another machine',
    given: { machine: machine({ id: 'pump-9' }), messages: [stored] },
    codes: ['stored', 'bound_elsewhere'],
  },
] as { name: string; given: Partial<Facts>; codes: string[]; text?: string }[])
  test(`a diagnosis: ${name}`, () => {
    const found = diagnose(facts(given), now)
    expect(found.map(({ code }) => code)).toEqual(codes)
    expect(found[0]?.text).toContain(text)
  })
