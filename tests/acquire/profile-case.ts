import type { Profile } from '../../src/catalogue/catalogue.ts'
import { type Signal, signalSchema } from '../../src/catalogue/schema.ts'

function signal(plausible: [number, number], j1939?: Signal['j1939']): Signal {
  return signalSchema.parse({
    name: { en: 'signal', zh: '信号' },
    unit: '–',
    plausible,
    intervalSeconds: 1,
    sent: 'periodic',
    component: 'engine',
    j1939,
  })
}

/** A machine with round numbers, one signal of each width on the bus. */
export const profile: Profile = {
  type: 'test',
  model: undefined,
  name: { en: 'test', zh: '试' },
  components: new Map(),
  modes: new Map(),
  modeFrom: [],
  serviceCounter: { signals: ['engine_hours_h'], running: [] },
  parameters: new Map(),
  signals: new Map([
    ['coolant_temp_c', signal([-50, 180], { spn: 110, resolution: 1, offset: -40, bytes: 1 })],
    ['engine_oil_pressure_kpa', signal([0, 1_100], { spn: 100, resolution: 4, offset: 0, bytes: 1 })],
    ['engine_speed_rpm', signal([0, 4_000], { spn: 190, resolution: 0.125, offset: 0, bytes: 2 })],
    ['engine_hours_h', signal([0, 200_000], { spn: 247, resolution: 0.05, offset: 0, bytes: 4 })],
    ['main_pressure_bar', signal([0, 600])],
    ['stroke_count', signal([0, 1e9])],
  ]),
  rules: new Map(),
  failureModes: new Map(),
  faults: [],
  tasks: new Map(),
}

export const modeCodes = new Map([
  ['idle', 1],
  ['pumping', 4],
])
export const modeNames = new Map([
  [1, 'idle'],
  [4, 'pumping'],
])
