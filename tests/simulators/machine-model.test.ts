import { expect, test } from 'vitest'
import { damage, type FaultPlan, type Law, machineTypes } from '../../simulators/faults.ts'
import { hydraulics } from '../../simulators/hydraulics.ts'
import { type MachineOptions, machineModel, type SimulatedSet } from '../../simulators/machine-model.ts'
import type { Scene, Unit } from '../../simulators/machinery.ts'
import { seededRandom } from '../../simulators/random.ts'
import { highest, level } from '../../src/reading.ts'

const startAt = Date.UTC(2026, 2, 2, 1)
const hourMs = 3_600_000

function live(options: Omit<MachineOptions, 'startAt'>, hours: number): SimulatedSet[] {
  return [...machineModel({ startAt, ...options }).advance(startAt + hours * hourMs)]
}

for (const type of machineTypes) {
  test(`${type}: the same seed gives the same payloads, another seed another machine`, () => {
    const payloads = (seed: number) => JSON.stringify(live({ type, seed }, 0.3))
    expect(payloads(7)).toBe(payloads(7))
    expect(payloads(7)).not.toBe(payloads(8))
  })

  test(`${type}: how a span is cut into calls changes nothing`, () => {
    const whole = live({ type, seed: 3, reportEverySeconds: 20 }, 30)
    const machine = machineModel({ type, seed: 3, startAt, reportEverySeconds: 20 })
    const pieces: SimulatedSet[] = []
    for (let minute = 0; minute <= 30 * 60; minute += 7) pieces.push(...machine.advance(startAt + minute * 60_000))
    pieces.push(...machine.advance(startAt + 30 * hourMs))
    expect(pieces).toEqual(whole)
  })

  test(`${type}: time and seq rise, counters never fall nor run faster than the clock`, () => {
    const sets = live({ type, seed: 2, startHours: 224.9, reportEverySeconds: 30 }, 60)
    const before = new Map<string, { value: number; ts: number }>()
    let last: SimulatedSet | undefined
    for (const set of sets) {
      if (last) expect(set.seq).toBe(last.seq + 1)
      if (last) expect(set.ts).toBeGreaterThan(last.ts)
      last = set
      for (const [name, value] of Object.entries(set.signals)) {
        if (!/_h$|_count$|_m3$|_cycles$/.test(name) || /l_h$|cycles_h$|reversals_h$/.test(name)) continue
        const now = level(value)
        const earlier = before.get(name)
        before.set(name, { value: now, ts: set.ts })
        if (!earlier) continue
        expect(now, name).toBeGreaterThanOrEqual(earlier.value)
        if (name.endsWith('_h')) expect(now - earlier.value, name).toBeLessThan((set.ts - earlier.ts) / hourMs + 0.1)
      }
    }
    expect(before.size).toBeGreaterThan(2)
  })
}

for (const { type, counter } of [
  { type: 'boom_pump', counter: 'pto_hours_h' },
  { type: 'mobile_crane', counter: 'engine_hours_h' },
  { type: 'tower_crane', counter: 'hoist_hours_h' },
  { type: 'excavator', counter: 'engine_hours_h' },
] as const)
  test(`${type}: ${counter} begins at the hours asked for and runs while the machine works`, () => {
    const hours = live({ type, seed: 4, startHours: 229.7 }, 2).flatMap((set) => set.signals[counter] ?? [])
    expect(level(hours[0] ?? 0)).toBeCloseTo(229.7, 1)
    expect(level(hours.at(-1) ?? 0)).toBeGreaterThan(229.9)
  })

test('a day has work, pauses and a night in which only a heartbeat is sent', () => {
  const sets = live({ type: 'boom_pump', seed: 1, startPhase: 'clock', reportEverySeconds: 10 }, 24)
  const modes = new Set(sets.map((set) => set.mode))
  for (const mode of ['transit', 'setup', 'pumping', 'standby', 'cleaning', 'folding', 'off'])
    expect(modes).toContain(mode)
  const night = sets.filter((set) => set.mode === 'off')
  expect(night.length).toBeGreaterThan(6)
  expect(night.length).toBeLessThan(24 * 6 + 2)
  for (const set of night) expect(set.signals.engine_speed_rpm).toBe(0)
})

test('load drives pressure: the excavator digs at a higher pressure than it swings back', () => {
  const mean = (mode: string) => {
    const values = sets.filter((set) => set.mode === mode).map((set) => level(set.signals.pump1_pressure_bar ?? 0))
    return values.reduce((sum, value) => sum + value, 0) / values.length
  }
  const sets = live({ type: 'excavator', seed: 1 }, 1)
  expect(mean('digging')).toBeGreaterThan(1.5 * mean('return_swing'))
  expect(mean('return_swing')).toBeGreaterThan(2 * mean('idle'))
})

test('oil follows its load with the time constant of tank and cooler, in steps of any length', () => {
  const unit = (): Unit => ({
    build: { ...seededRandom(1), factor: () => 1 },
    noise: seededRandom(2),
    damage: () => 0,
    startHours: 0,
    warm: false,
  })
  const activity = { kind: 'pumping', startMs: 0, endMs: 1, effort: 1, from: 0, to: 0 }
  const scene: Scene = { atMs: 0, activity, share: 0, ambientC: 24 }
  const rating = { capacityKjK: 1000, coolerKwK: 1, passiveKwK: 1, pumps: 1, pumpMaxFlowLMin: 400 }
  const healthy = { pumpWear: () => 0, cooler: () => 0, filter: () => 0 }
  for (const stepSeconds of [1, 10, 50]) {
    const oil = hydraulics(unit(), rating, healthy)
    const load = { pressureBar: 200, flowLMin: 300, lossKw: 30 }
    for (let second = 0; second < 1000; second += stepSeconds) oil.step(stepSeconds, load, scene)
    expect(oil.oilC()).toBeCloseTo(24 + 30 * (1 - Math.exp(-1)), 5)
    for (let second = 0; second < 20_000; second += stepSeconds) oil.step(stepSeconds, load, scene)
    expect(oil.oilC()).toBeCloseTo(54, 3)
  }
})

test('a fault changes nothing before its onset, and afterwards only what it acts upon', () => {
  const healthy = live({ type: 'boom_pump', seed: 6, reportEverySeconds: 10 }, 8)
  const options = { type: 'boom_pump', seed: 6, reportEverySeconds: 10 } as const
  const clogged = live({ ...options, fault: { code: 'CP-06', onsetHours: 3, lifeHours: 4 } }, 8)
  const onset = startAt + 3 * hourMs
  expect(clogged.filter((set) => set.ts < onset)).toEqual(healthy.filter((set) => set.ts < onset))
  expect(clogged.length).toBe(healthy.length)
  const touched = new Set<string>()
  clogged.forEach((set, index) => {
    for (const [name, value] of Object.entries(set.signals))
      if (JSON.stringify(value) !== JSON.stringify(healthy[index]?.signals[name])) touched.add(name)
  })
  expect([...touched].sort()).toEqual([
    'oil_particles_iso4406_14um',
    'oil_particles_iso4406_4um',
    'oil_particles_iso4406_6um',
    'return_filter_dp_bar',
  ])
})

test('a worn plate needs more strokes for a cubic metre', () => {
  const strokesPerM3 = (fault?: FaultPlan) => {
    const sets = live({ type: 'boom_pump', seed: 6, reportEverySeconds: 60, fault }, 8)
    const rise = (name: string) => {
      const values = sets.flatMap((set) => set.signals[name] ?? []).map(level)
      return Math.max(...values) - Math.min(...values)
    }
    return rise('stroke_count') / rise('pumped_volume_m3')
  }
  const worn = strokesPerM3({ code: 'CP-03', onsetHours: -100, lifeHours: 100 })
  expect(worn / strokesPerM3()).toBeGreaterThan(1.1)
})

test('a stopped fan overheats the oil of a pumping boom pump through warn to critical within the hour', () => {
  const fault = { code: 'CP-05', onsetHours: -19.6, lifeHours: 20 } as const
  const temperatures = live({ type: 'boom_pump', seed: 4, fault, ambientC: 28, reportEverySeconds: 3 }, 1).flatMap(
    (set) => set.signals.hyd_oil_temp_c ?? [],
  )
  expect(level(temperatures[0] ?? 0)).toBeLessThan(75)
  expect(Math.max(...temperatures.map(highest))).toBeGreaterThan(90)
})

/** Damage at a quarter, half and three quarters of the way, and at its end. */
for (const { law, levels } of [
  { law: 'linear', levels: [0.25, 0.5, 0.75, 1] },
  { law: 'power', levels: [0.0625, 0.25, 0.5625, 1] },
  { law: 'exponential', levels: [0.032, 0.119, 0.356, 1] },
  { law: 'step', levels: [1, 1, 1, 1] },
] as const)
  test(`law of damage: ${law}`, () => {
    const fault = damage({ code: 'EX-05', law, lifeHours: 100 }, seededRandom(1))
    const seen = [1, 2, 3, 4].map(() => {
      fault.wear(25, 1)
      return fault.level()
    })
    levels.forEach((level, index) => {
      expect(seen[index]).toBeCloseTo(level, 2)
    })
  })

for (const law of ['shock', 'intermittent'] satisfies Law[])
  test(`law of damage: ${law} comes by chance, and grows`, () => {
    const fault = damage({ code: 'EX-05', law, lifeHours: 100 }, seededRandom(3))
    const seen: number[] = []
    for (let step = 0; step < 1000; step++) {
      fault.wear(0.1, 1)
      seen.push(fault.level())
    }
    const mean = (from: number, to: number) => seen.slice(from, to).reduce((sum, d) => sum + d, 0) / (to - from)
    expect(mean(700, 1000)).toBeGreaterThan(mean(0, 300) + 0.3)
    const steps = seen.map((d, index) => d - (seen[index - 1] ?? 0)).filter((rise) => rise !== 0)
    if (law === 'shock') for (const rise of steps.slice(0, -1)) expect(rise).toBeGreaterThanOrEqual(0.05)
    if (law === 'intermittent') expect(steps.some((rise) => rise === -1)).toBe(true)
  })

test('labels say when the fault began, how far it is and when it is over', () => {
  const fault = { code: 'CP-05', onsetHours: 1, lifeHours: 2 } as const
  const machine = machineModel({ type: 'boom_pump', seed: 4, startAt, fault, reportEverySeconds: 10 })
  const at = (hours: number) => {
    for (const _ of machine.advance(startAt + hours * hourMs));
    return machine.label()
  }
  expect(at(0.5)).toMatchObject({ failureMode: 'CP-05', onsetAt: null, failureAt: null, d: 0 })
  expect(at(0.5).rulH).toBeCloseTo(2.5, 1)
  expect(at(2)).toMatchObject({ onsetAt: expect.stringMatching(/^2026-03-02T02:00/), failureAt: null })
  expect(at(2).d).toBeCloseTo(0.5, 1)
  expect(at(3.2)).toMatchObject({ failureAt: expect.stringMatching(/^2026-03-02T04:00/), d: 1, rulH: 0 })
})

test('a failure mode of another machine is refused', () => {
  expect(() => machineModel({ type: 'excavator', seed: 1, startAt, fault: { code: 'TC-04' } })).toThrow(RangeError)
})
