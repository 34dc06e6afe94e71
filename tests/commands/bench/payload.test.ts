import { expect, test } from 'vitest'
import {
  LOAD_SIGNALS,
  loadPayload,
  type Payload,
  payloadWriter,
  STEP_MS,
  wholePumpPayload,
} from '../../../src/commands/bench/payload.ts'

const startMs = Date.UTC(2026, 0, 1)

function written(payload: Payload, number: number) {
  const packet = Buffer.from(`head${payload.text}tail`)
  payloadWriter(payload, startMs)(packet, 4, number)
  expect(packet.toString('latin1', 0, 4) + packet.toString('latin1', packet.length - 4)).toBe('headtail')
  return JSON.parse(packet.toString('utf8', 4, packet.length - 4))
}

for (const [name, payload] of [
  ['the load', loadPayload()],
  ['a whole pump', wholePumpPayload()],
] as const)
  test(`${name}: time, number and hour counter go up with the number of the message`, () => {
    for (const number of [0, 1, 9, 4_095, 4_096, 1_234_567]) {
      const set = written(payload, number)
      expect(set).toMatchObject({ ts: startMs + number * STEP_MS, seq: 10_000_000 + number })
      expect(set.signals.engine_hours_h).toBeCloseTo(1300 + (number * STEP_MS) / 3_600_000, 3)
      expect(Object.keys(set.signals)).toEqual(expect.arrayContaining([...LOAD_SIGNALS]))
    }
  })

test('the load has six signals in about 190 bytes, and other values with each message', () => {
  const payload = loadPayload()
  expect(payload.text.length).toBeGreaterThan(180)
  expect(payload.text.length).toBeLessThan(200)
  const [first, second] = [written(payload, 0), written(payload, 1)]
  expect(Object.keys(first.signals)).toEqual([...LOAD_SIGNALS])
  for (const signal of LOAD_SIGNALS.slice(0, 3)) expect(second.signals[signal]).not.toBe(first.signals[signal])
})
