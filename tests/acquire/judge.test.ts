import { expect, test } from 'vitest'
import { describeRejections, isSignalName, judge } from '../../src/acquire/judge.ts'
import type { RawSet } from '../../src/acquire/message.ts'
import { modeCodes, modeNames, profile } from './profile-case.ts'

const context = { machine: 'pump-1', profile, modeCodes, modeNames, measuredAt: 10, isArrival: false, receivedAt: 20 }

function judged(signals: Record<string, unknown>, more: Partial<RawSet> = {}) {
  return judge(
    {
      device: 'd-1',
      measuredAt: 10,
      zoneless: false,
      seq: 7,
      mode: undefined,
      signals,
      repeated: 0,
      bytes: () => Buffer.alloc(0),
      ...more,
    },
    context,
  )
}

const summary = (min: unknown, mean: unknown, max: unknown, n: unknown) => ({ min, mean, max, n })

for (const { signal, value, reason } of [
  { signal: 'main_pressure_bar', value: 600, reason: 'good' },
  { signal: 'main_pressure_bar', value: 600.1, reason: 'implausible' },
  { signal: 'main_pressure_bar', value: -0.1, reason: 'implausible' },
  { signal: 'main_pressure_bar', value: true, reason: 'good' },
  { signal: 'main_pressure_bar', value: null, reason: 'not_available' },
  { signal: 'main_pressure_bar', value: 'NaN', reason: 'not_finite' },
  { signal: 'main_pressure_bar', value: '-Infinity', reason: 'not_finite' },
  { signal: 'main_pressure_bar', value: Number.POSITIVE_INFINITY, reason: 'not_finite' },
  { signal: 'main_pressure_bar', value: '200', reason: 'wrong_type' },
  { signal: 'main_pressure_bar', value: [200], reason: 'wrong_type' },
  { signal: 'main_pressure_bar', value: {}, reason: 'wrong_type' },
  // raw codes outside the range, of a signal whose width nobody named
  { signal: 'main_pressure_bar', value: 65_535, reason: 'not_available' },
  { signal: 'main_pressure_bar', value: 65_024, reason: 'error_code' },
  { signal: 'main_pressure_bar', value: 4_294_967_295, reason: 'not_available' },
  { signal: 'main_pressure_bar', value: 65_536, reason: 'implausible' },
  // and inside it, where they are ordinary numbers
  { signal: 'main_pressure_bar', value: 255, reason: 'good' },
  { signal: 'stroke_count', value: 65_535, reason: 'good' },
  // scaled, one byte: −40 offset
  { signal: 'coolant_temp_c', value: 214, reason: 'error_code' },
  { signal: 'coolant_temp_c', value: 215, reason: 'not_available' },
  { signal: 'coolant_temp_c', value: 216, reason: 'implausible' },
  { signal: 'coolant_temp_c', value: 213, reason: 'implausible' },
  { signal: 'coolant_temp_c', value: 254, reason: 'error_code' },
  { signal: 'coolant_temp_c', value: 255, reason: 'not_available' },
  { signal: 'coolant_temp_c', value: 97, reason: 'good' },
  // scaled always, also inside the plausible range; raw only outside of it
  { signal: 'engine_oil_pressure_kpa', value: 1_016, reason: 'error_code' },
  { signal: 'engine_oil_pressure_kpa', value: 1_020, reason: 'not_available' },
  { signal: 'engine_oil_pressure_kpa', value: 1_018, reason: 'good' },
  { signal: 'engine_oil_pressure_kpa', value: 255, reason: 'good' },
  { signal: 'engine_speed_rpm', value: 8_191.875, reason: 'not_available' },
  { signal: 'engine_speed_rpm', value: 8_128, reason: 'error_code' },
  { signal: 'engine_speed_rpm', value: 65_535, reason: 'not_available' },
  { signal: 'engine_speed_rpm', value: 5_000, reason: 'implausible' },
  { signal: 'engine_hours_h', value: 214_748_364, reason: 'not_available' },
  { signal: 'engine_hours_h', value: 214_748_364.75, reason: 'not_available' },
  { signal: 'engine_hours_h', value: 4_294_967_295, reason: 'not_available' },
  { signal: 'engine_hours_h', value: 6_300.05, reason: 'good' },
  // summaries
  { signal: 'main_pressure_bar', value: summary(35, 182.1, 212.4, 5), reason: 'good' },
  { signal: 'main_pressure_bar', value: summary(35, 35, 35, 1), reason: 'good' },
  { signal: 'main_pressure_bar', value: summary(35, 182.1, 700, 5), reason: 'implausible' },
  { signal: 'main_pressure_bar', value: summary(35, 34, 200, 5), reason: 'implausible' },
  { signal: 'main_pressure_bar', value: summary(200, 100, 35, 5), reason: 'implausible' },
  { signal: 'main_pressure_bar', value: summary(35, 182.1, 212.4, 0), reason: 'wrong_type' },
  { signal: 'main_pressure_bar', value: summary(35, 182.1, 212.4, 1.5), reason: 'wrong_type' },
  { signal: 'main_pressure_bar', value: summary(35, 182.1, 212.4, undefined), reason: 'wrong_type' },
  { signal: 'main_pressure_bar', value: summary(35, null, 212.4, 5), reason: 'wrong_type' },
  { signal: 'main_pressure_bar', value: summary(35, 'NaN', 212.4, 5), reason: 'not_finite' },
  { signal: 'coolant_temp_c', value: summary(80, 95, 215, 60), reason: 'not_available' },
  // signals that the catalogue does not know
  { signal: 'my_own', value: 1e300, reason: 'good' },
  { signal: 'my_own', value: 'NaN', reason: 'not_finite' },
  { signal: '__proto__', value: 1, reason: 'good' },
  { signal: 'Öl Temperatur 1', value: 1, reason: 'good' },
  { signal: '', value: 1, reason: 'bad_name' },
  { signal: 'a\0b', value: 1, reason: 'bad_name' },
  { signal: 'x'.repeat(65), value: 1, reason: 'bad_name' },
]) {
  test(`${signal.slice(0, 30)} = ${JSON.stringify(value)} is ${reason}`, () => {
    const { set, rejected } = judged(
      Object.fromEntries([
        [signal, value],
        ['sound', 1],
      ]),
    )
    expect(rejected.map((rejection) => rejection.reason).join() || 'good').toBe(reason)
    expect([...(set?.values.keys() ?? [])]).toEqual(reason === 'good' ? [signal, 'sound'] : ['sound'])
  })
}

test('the judged set carries what the stages need, booleans as 1 and 0', () => {
  const { set, unknownSignals } = judged({ main_pressure_bar: 5, lamp: true, door: false }, { mode: 'pumping' })
  expect(set).toEqual({
    device: 'd-1',
    machine: 'pump-1',
    measuredAt: 10,
    receivedAt: 20,
    seq: 7,
    values: new Map<string, number>([
      ['main_pressure_bar', 5],
      ['lamp', 1],
      ['door', 0],
      ['mode', 4],
    ]),
  })
  expect(unknownSignals).toBe(2)
})

for (const { name, mode, signals, code, reasons } of [
  { name: 'a mode of the catalogue', mode: 'idle', signals: {}, code: 1, reasons: [] },
  { name: 'an unknown mode', mode: 'flying', signals: { a: 1 }, code: undefined, reasons: ['mode'] },
  { name: 'a mode that is no text', mode: '', signals: { a: 1 }, code: undefined, reasons: ['mode'] },
  { name: 'a mode among the signals, as text', mode: undefined, signals: { mode: 'idle' }, code: 1, reasons: [] },
  { name: 'a mode among the signals, as its code', mode: undefined, signals: { mode: 4 }, code: 4, reasons: [] },
  { name: 'a code that is none', mode: undefined, signals: { mode: 5, a: 1 }, code: undefined, reasons: ['mode'] },
]) {
  test(`mode: ${name}`, () => {
    const { set, rejected } = judged(signals, { mode })
    expect(set?.values.get('mode')).toBe(code)
    expect(rejected.map(({ reason }) => reason)).toEqual(reasons)
  })
}

test('a set without a usable value is none, and says why', () => {
  const { set, rejected } = judged({ coolant_temp_c: 215, main_pressure_bar: 'high' }, { repeated: 1 })
  expect(set).toBeUndefined()
  expect(describeRejections(rejected)).toBe(
    'coolant_temp_c: not_available, main_pressure_bar: wrong_type, duplicate_key',
  )
  expect(describeRejections(judged({}).rejected)).toBe('no values')
})

test('a mean that rounding put beside equal samples is put back', () => {
  const { set } = judged({ main_pressure_bar: summary(100.1, 100.09999999999998, 100.1, 3) })
  expect(set?.values.get('main_pressure_bar')).toEqual({ min: 100.1, mean: 100.1, max: 100.1, n: 3 })
})

for (const { name, good } of [
  { name: 'a', good: true },
  { name: '油温', good: true },
  { name: 'pressure/1 [bar]', good: true },
  { name: ' a', good: false },
  { name: 'a\n', good: false },
  { name: 'a\u200bb', good: false },
  { name: 'a\u00a0b', good: false },
]) {
  test(`${JSON.stringify(name)} is ${good ? 'a' : 'no'} name for a signal`, () => expect(isSignalName(name)).toBe(good))
}
