import { describe, expect, test } from 'vitest'
import type { FaultCode } from '../../src/acquire/message.ts'
import { type FaultState, faultWatch } from '../../src/detect/fault-watch.ts'
import { machineDetector } from '../../src/detect/machine-detector.ts'
import { context, every, minute, second, set, short, start } from './story.ts'

const machine = context({
  signals: { rpm: {} },
  faults: [
    { spn: 1, treat: 'ignore' },
    { spn: 2, treat: 'watch', component: 'fuel' },
    { spn: 3, treat: 'ticket', component: 'engine', severity: 'S3' },
    { spn: 4, fmi: 3, treat: 'ticket', component: 'electrical', failureMode: 'EN-09', severity: 'S2' },
  ],
})
type Message = readonly [seconds: number, codes: readonly FaultCode[]]
const watch = (messages: readonly Message[]) => {
  const fresh = faultWatch(machine)
  return messages.flatMap(([at, codes]) => fresh.message(start + at * second, start + at * second, codes)).map(short)
}
const low = { spn: 3, fmi: 18, sa: 0 }
const short4 = { spn: 4, fmi: 3, sa: 17 }
const list = (from: number, to: number, codes: readonly FaultCode[]): Message[] =>
  Array.from({ length: to - from + 1 }, (_, i) => [from + i, codes] as const)

describe('fault codes', () => {
  const cases: { name: string; messages: Message[]; expected: string[] }[] = [
    { name: 'ignored ones are nothing', messages: list(0, 90, [{ spn: 1, fmi: 0, lamp: 'red' }]), expected: [] },
    { name: 'watched ones are S1', messages: [[0, [{ spn: 2, fmi: 18 }]]], expected: ['raised fault.0.2.18 S1 0'] },
    {
      name: 'ticketed ones are as grave as the list says',
      messages: [[0, [low]]],
      expected: ['raised fault.0.3.18 S3 0'],
    },
    {
      name: 'the red stop lamp lifts to S4',
      messages: [
        [0, [low]],
        [30, [{ ...low, lamp: 'red_stop' }]],
      ],
      expected: ['raised fault.0.3.18 S3 0', 'severity fault.0.3.18 S4 0.5'],
    },
    {
      name: 'an electrical one that flickers is nothing',
      messages: [
        [0, [short4]],
        [59, [short4]],
        [61, []],
        [130, []],
      ],
      expected: [],
    },
    { name: 'one that lasts a minute is one', messages: list(0, 60, [short4]), expected: ['raised fault.17.4.3 S2 1'] },
    {
      name: 'two messages a minute apart are enough',
      messages: [
        [0, [short4]],
        [60, [short4]],
      ],
      expected: ['raised fault.17.4.3 S2 1'],
    },
    {
      name: 'absent for a minute is over',
      messages: [
        [0, [low]],
        [10, []],
        [69, []],
        [70, []],
      ],
      expected: ['raised fault.0.3.18 S3 0', `cleared fault.0.3.18 S3 ${70 / 60}`],
    },
    {
      name: 'back within a minute it never went',
      messages: [
        [0, [low]],
        [10, []],
        [69, [low]],
        [200, [low]],
      ],
      expected: ['raised fault.0.3.18 S3 0'],
    },
    {
      name: 'back after a minute it is new',
      messages: [
        [0, [low]],
        [60, []],
        [120, [low]],
      ],
      expected: ['raised fault.0.3.18 S3 0', 'cleared fault.0.3.18 S3 2', 'raised fault.0.3.18 S3 2'],
    },
    {
      name: 'two controllers are two alarms',
      messages: [[0, [low, { ...low, sa: 5 }]]],
      expected: ['raised fault.0.3.18 S3 0', 'raised fault.5.3.18 S3 0'],
    },
  ]
  for (const { name, messages, expected } of cases) test(name, () => expect(watch(messages)).toEqual(expected))

  test('say component, failure mode and highest count', () => {
    const fresh = faultWatch(machine)
    fresh.message(start, start, [{ ...short4, oc: 3 }])
    expect(fresh.message(start + minute, start + minute, [{ ...short4, oc: 2 }])).toMatchObject([
      { component: 'electrical', failureMode: 'EN-09', value: 3, signal: null, rule: 'fault', since: start },
    ])
    expect(fresh.message(start + minute, start + minute, [low])[0]).toMatchObject({ failureMode: 'fault.3.18' })
  })

  test('a restart between any two messages changes nothing', () => {
    const messages = [...list(0, 30, [short4]), ...list(31, 80, [short4, low]), ...list(81, 150, [])]
    let state: FaultState | undefined
    const found = messages.flatMap(([at, codes]) => {
      const fresh = faultWatch(machine, state)
      const some = fresh.message(start + at * second, start + at * second, codes)
      state = JSON.parse(JSON.stringify(fresh.state()))
      return some
    })
    expect(found.map(short)).toEqual(watch(messages))
    expect(found).toHaveLength(4)
  })
})

describe('with the other words of the machine', () => {
  test('its readings carry the time on that a fault must be absent', () => {
    const detector = machineDetector(machine)
    detector.faults(start, start, [low])
    detector.faults(start + 10 * second, start + 10 * second, [])
    const found = detector.observe(every(10 * second, start, start + 2 * minute, () => ({ rpm: 1 })))
    expect(found.map(short)).toEqual([`cleared fault.0.3.18 S3 ${70 / 60}`])
  })

  test('time alone does it too', () => {
    const detector = machineDetector(machine)
    detector.observe([set(start, { rpm: 1 }, start)])
    detector.faults(start, start, [low])
    detector.faults(start + second, start + second, [])
    expect(detector.tick(start + 60 * second)).toEqual([])
    expect(detector.tick(start + 67 * second).map(({ kind }) => kind)).toEqual(['cleared'])
  })

  test('a machine that sends nothing but fault codes is there without readings', () => {
    const detector = machineDetector(machine)
    detector.faults(start, start, [low])
    detector.faults(start + second, start + second, [])
    expect(detector.tick(start + 60 * second)).toEqual([])
    expect(detector.tick(start + 67 * second).map(({ kind }) => kind)).toEqual(['cleared'])
  })

  test('messages that come late, newest first, tell of the past and leave now as it is', () => {
    const detector = machineDetector(machine)
    detector.faults(start, start, [])
    const late = [30, 20, 10].map((minutes) => start - minutes * minute)
    const [third = 0, second_ = 0, first = 0] = late.toReversed()
    expect(detector.faultsAgain(third, start + second, [])).toEqual([])
    expect(detector.faultsAgain(second_, start + second, [low])).toMatchObject([
      { raised: { at: second_ }, cleared: { at: third + minute } },
    ])
    expect(detector.faultsAgain(first, start + second, [low])).toMatchObject([
      { raised: { at: first }, cleared: { at: third + minute } },
    ])
    expect(detector.newestFaultsAt()).toBe(start)
    expect(detector.faults(start + minute, start + minute, [])).toEqual([])
  })
})
