import { expect, test } from 'vitest'
import { machineModel, type SimulatedSet } from '../../simulators/machine-model.ts'
import { type Message, type MessyPart, messySender, plainSender } from '../../simulators/messy.ts'
import { seededRandom } from '../../simulators/random.ts'
import type { Summary } from '../../src/reading.ts'

const startAt = Date.UTC(2026, 2, 2, 1)
const hourMs = 3_600_000

interface Entry extends Partial<Omit<SimulatedSet, 'ts'>> {
  readonly ts: number
  readonly machine?: string
  readonly signals: SimulatedSet['signals']
}

const entries = (message: Message): Entry[] => [JSON.parse(message.payload)].flat()

/** What one boom pump sends with these parts, and what it measured. */
function sent(parts: readonly MessyPart[], hours: number, everySeconds = 10) {
  const machine = machineModel({ type: 'boom_pump', seed: 3, startAt, reportEverySeconds: everySeconds })
  const sender = messySender({
    ...{ id: 'bp-1', prefix: 'site/', parts: new Set(parts), random: seededRandom(9), startAt },
    siteOffsetMs: 8 * hourMs,
  })
  const measured: SimulatedSet[] = []
  const messages: Message[] = []
  const connected: boolean[] = []
  for (const set of machine.advance(startAt + hours * hourMs)) {
    measured.push(set)
    messages.push(...sender.take(set))
    connected.push(sender.connected())
  }
  messages.push(...sender.flush())
  return { measured, messages, connected, all: messages.flatMap(entries) }
}

test('a plain unit sends each set as it was measured', () => {
  const set = { ts: startAt, seq: 0, mode: 'pumping', signals: { hyd_oil_temp_c: 60 } }
  const [message] = plainSender('site/', 'bp-1').take(set)
  expect(message).toEqual({ topic: 'site/machines/bp-1/telemetry', payload: JSON.stringify(set), sets: 1 })
})

test('the same seed sends the same messages', () => {
  const parts: MessyPart[] = ['summaries', 'fill-values', 'dropouts', 'offline', 'arrays', 'counter-reset']
  expect(sent(parts, 3).messages).toEqual(sent(parts, 3).messages)
})

test('summaries: one set a minute, each signal as {min, mean, max, n} in order, counters as they stand', () => {
  const { all } = sent(['summaries'], 0.5)
  expect(all.length).toBeGreaterThan(25)
  expect(all.length).toBeLessThan(33)
  for (const { signals } of all) {
    const { min, mean, max, n } = signals.hyd_oil_temp_c as Summary
    expect(min).toBeLessThanOrEqual(mean)
    expect(mean).toBeLessThanOrEqual(max)
    expect(n).toBeGreaterThan(0)
    expect(typeof signals.engine_hours_h).toBe('number')
  }
})

test('on-change: a value that stands still is sent once in ten minutes', () => {
  const { all, measured } = sent(['on-change'], 1)
  const count = (sets: readonly Entry[]) => sets.filter(({ signals }) => 'coolant_level_pct' in signals).length
  expect(count(measured)).toBeGreaterThan(50)
  expect(count(all)).toBeLessThan(20)
  expect(count(all)).toBeGreaterThan(4)
})

test('no-mode: the mode is missing from every set', () => {
  for (const set of sent(['no-mode'], 0.5).all) expect(set.mode).toBeUndefined()
})

test('fill-values: some values are codes for error or not available, the others are untouched', () => {
  const { all, measured } = sent(['fill-values'], 3)
  const values = all.flatMap(({ signals }) => signals.coolant_temp_c ?? [])
  const codes = values.filter((value) => [215, 214, 255].includes(value as number))
  expect(codes.length).toBeGreaterThan(values.length * 0.005)
  expect(codes.length).toBeLessThan(values.length * 0.05)
  expect(all.length).toBe(measured.length)
})

test('wrong-zone: the clock is off by the zone of the site', () => {
  const { all, measured } = sent(['wrong-zone'], 0.2)
  expect(all.map(({ ts }) => ts)).toEqual(measured.map(({ ts }) => ts + 8 * hourMs))
})

test('dropouts: single values, whole sets and minutes are missing', () => {
  const { all, measured } = sent(['dropouts'], 8)
  expect(all.length).toBeLessThan(measured.length)
  expect(all.length).toBeGreaterThan(measured.length * 0.9)
  const values = (sets: readonly Entry[]) => sets.reduce((sum, { signals }) => sum + Object.keys(signals).length, 0)
  expect(values(all) / all.length).toBeLessThan(values(measured) / measured.length)
})

test('counter-reset: counters start again at zero and go on from there, once', () => {
  const hours = sent(['counter-reset'], 6, 60).all.flatMap(({ signals }) => signals.engine_hours_h ?? []) as number[]
  const falls = hours.filter((value, index) => value < (hours[index - 1] ?? 0))
  expect(falls).toEqual([0])
  expect(hours.at(-1)).toBeGreaterThan(0.5)
  expect(hours.at(-1)).toBeLessThan(6)
})

test('night-battery: with the key off nothing is sent and the unit is gone, in the morning it is back', () => {
  const { all, connected } = sent(['night-battery'], 30, 60)
  for (const { mode } of all) expect(mode).not.toBe('off')
  expect(connected).toContain(false)
  expect(connected.at(-1)).toBe(true)
})

test('offline: the backlog comes after the dead zone, newest first, and nothing is missing', () => {
  const { all, measured, connected } = sent(['offline'], 9, 60)
  const outage = connected.filter((on) => !on).length
  expect(outage).toBeGreaterThan(50)
  const backwards = all.filter(({ ts }, index) => ts < (all[index - 1]?.ts ?? 0)).length
  expect(backwards).toBeGreaterThanOrEqual(outage - 3)
  const times = new Set(all.map(({ ts }) => ts))
  expect(times.size).toBe(all.length)
  if (connected.at(-1)) expect(all.length).toBe(measured.length)
})

test('arrays and gateway: several sets in one message on the gateway’s topic, each with its machine', () => {
  const { messages } = sent(['arrays', 'gateway'], 0.2)
  expect(messages.length).toBeGreaterThan(5)
  for (const message of messages) {
    expect(message.topic).toMatch(/^site\/gateways\/gw-[1-3]\/telemetry$/)
    expect(entries(message).length).toBe(message.sets)
    for (const entry of entries(message)) expect(entry.machine).toBe('bp-1')
  }
  expect(messages[0]?.sets).toBe(5)
})
