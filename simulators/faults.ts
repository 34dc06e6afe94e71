import type { Random } from './random.ts'

/** The machine types that can be simulated. */
export const machineTypes = ['boom_pump', 'mobile_crane', 'crawler_crane', 'tower_crane', 'excavator'] as const
export type MachineType = (typeof machineTypes)[number]

/**
 * How damage grows with `x`, the share of the time from onset to failure that has passed:
 * linear `x`, power `x^p`, exponential `(e^{kx} − 1)/(e^k − 1)`, step (at once), shock (jumps of 0.05 to 0.2 at
 * random moments), intermittent (comes and goes, present for the share `x` of the time).
 */
export type Law = 'linear' | 'power' | 'exponential' | 'step' | 'shock' | 'intermittent'
export const laws: readonly Law[] = ['linear', 'power', 'exponential', 'step', 'shock', 'intermittent']

export interface Fault {
  readonly name: string
  readonly types: readonly MachineType[]
  readonly law: Law
  /** `p` of the power law, `k` of the exponential one. */
  readonly exponent?: number
  /** Machine hours from the first sign to the functional failure, shortest and longest. */
  readonly lifeHours: readonly [number, number]
  /** Wears with the concrete that is pumped instead of with time; `lifeHours` hold at the usual output. */
  readonly wearsByVolume?: true
}

const engineDriven: readonly MachineType[] = ['boom_pump', 'mobile_crane', 'crawler_crane', 'excavator']
const hydraulicCranes: readonly MachineType[] = ['mobile_crane', 'crawler_crane']

/** The failure modes that can be injected, under the codes of the catalogue. */
export const faults = {
  'EN-01': { name: 'Cooler or radiator clogging', types: engineDriven, law: 'linear', lifeHours: [100, 300] },
  'EN-03': { name: 'Low oil pressure', types: engineDriven, law: 'power', exponent: 2, lifeHours: [100, 400] },
  'EN-04': { name: 'Air filter blocked', types: engineDriven, law: 'exponential', exponent: 4, lifeHours: [50, 200] },
  'EN-08': { name: 'Alternator or battery', types: engineDriven, law: 'linear', lifeHours: [30, 200] },
  'CP-01': { name: 'Main pump wear', types: ['boom_pump'], law: 'power', exponent: 2, lifeHours: [300, 800] },
  'CP-02': { name: 'Accumulator nitrogen loss', types: ['boom_pump'], law: 'linear', lifeHours: [100, 400] },
  'CP-03': {
    name: 'Spectacle plate and cutting ring wear',
    types: ['boom_pump'],
    law: 'linear',
    lifeHours: [150, 250],
    wearsByVolume: true,
  },
  'CP-05': { name: 'Hydraulic overheating', types: ['boom_pump'], law: 'linear', lifeHours: [60, 200] },
  'CP-06': {
    name: 'Return filter clogging',
    types: ['boom_pump'],
    law: 'exponential',
    exponent: 4,
    lifeHours: [50, 150],
  },
  'CP-12': {
    name: 'Agitator jam or bearing',
    types: ['boom_pump'],
    law: 'exponential',
    exponent: 4,
    lifeHours: [30, 200],
  },
  'MC-01': {
    name: 'Hoist gearbox bearing or gear',
    types: hydraulicCranes,
    law: 'exponential',
    exponent: 4,
    lifeHours: [300, 1000],
  },
  'MC-02': { name: 'Hoist brake slip', types: hydraulicCranes, law: 'power', exponent: 2, lifeHours: [50, 300] },
  'TC-01': {
    name: 'Hoist motor bearing',
    types: ['tower_crane'],
    law: 'exponential',
    exponent: 4,
    lifeHours: [300, 1000],
  },
  'TC-02': { name: 'Hoist motor overheating', types: ['tower_crane'], law: 'power', exponent: 2, lifeHours: [50, 300] },
  'TC-03': { name: 'Drive or contactor ageing', types: ['tower_crane'], law: 'shock', lifeHours: [50, 400] },
  'TC-04': { name: 'Hoist brake lining', types: ['tower_crane'], law: 'linear', lifeHours: [200, 600] },
  'TC-10': { name: 'Supply voltage sag', types: ['tower_crane'], law: 'intermittent', lifeHours: [20, 200] },
  'EX-01': { name: 'Main pump wear', types: ['excavator'], law: 'power', exponent: 2, lifeHours: [300, 900] },
  'EX-02': { name: 'Swing motor or gearbox', types: ['excavator'], law: 'power', exponent: 2, lifeHours: [300, 1000] },
  'EX-05': { name: 'Hydraulic oil overheating', types: ['excavator'], law: 'linear', lifeHours: [60, 250] },
} satisfies Record<string, Fault>

export type FaultCode = keyof typeof faults

export function isFaultCode(code: string): code is FaultCode {
  return Object.hasOwn(faults, code)
}

/** A failure mode to inject into one machine. */
export interface FaultPlan {
  readonly code: FaultCode
  /** Machine hours from the start of the simulation to the first sign; negative: it has been under way so long. Default 0. */
  readonly onsetHours?: number
  /** Machine hours from the first sign to failure; default: drawn from the range of the failure mode. */
  readonly lifeHours?: number
  /** Another way to grow than the usual one: a fan motor that stops is CP-05 as a `step`. */
  readonly law?: Law
}

/** How far one failure mode has come. */
export interface Damage {
  readonly code: FaultCode
  readonly law: Law
  readonly lifeHours: number
  /** 0 healthy to 1 failed. */
  level(): number
  /** Share of the way from onset to failure, below 0 before the onset. */
  progress(): number
  /** Machine hours to failure at the usual pace of wear; 0 when failed. */
  remainingHours(): number
  /**
   * Wears the machine.
   * @param hours machine hours that passed
   * @param pace output, 1 at the usual one: what wears by volume wears with it
   */
  wear(hours: number, pace: number): void
}

const intermittentBlockHours = 1 / 60 // an intermittent fault stays or is gone for about a minute

/** @throws {RangeError} the life is not positive */
export function damage(plan: FaultPlan, random: Random): Damage {
  const fault: Fault = faults[plan.code]
  const law = plan.law ?? fault.law
  const drawn = random.between(...fault.lifeHours) // drawn always, so that a given life changes nothing else
  const lifeHours = plan.lifeHours ?? drawn
  if (!(lifeHours > 0)) throw new RangeError(`the life of ${plan.code} has to be more than 0 h, not ${lifeHours}`)

  let x = -(plan.onsetHours ?? 0) / lifeHours
  let shocks = 0
  let nextShockAt = law === 'shock' ? random.between(0, 0.2) : Number.POSITIVE_INFINITY
  let present = false
  let blockEndsIn = 0
  strike()

  function strike() {
    for (; x >= nextShockAt; nextShockAt += random.between(0.05, 0.2)) shocks += random.between(0.05, 0.2)
  }

  function grown(): number {
    if (law === 'linear') return x
    if (law === 'power') return x ** (fault.law === 'power' ? (fault.exponent ?? 2) : 2)
    if (law === 'step') return 1
    if (law === 'shock') return shocks
    if (law === 'intermittent') return present ? 1 : 0
    const k = fault.law === 'exponential' ? (fault.exponent ?? 4) : 4
    return Math.expm1(k * x) / Math.expm1(k)
  }

  return {
    code: plan.code,
    law,
    lifeHours,
    level: () => (x < 0 ? 0 : Math.min(1, grown())),
    progress: () => x,
    remainingHours: () =>
      x >= 0 && Math.min(1, grown()) >= 1 && law !== 'intermittent' ? 0 : Math.max(0, (1 - x) * lifeHours),
    wear(hours, pace) {
      // Before the onset nothing wears faster or slower: the onset is a moment that the caller named.
      const byVolume = fault.wearsByVolume && x >= 0
      // A gap beyond 0.7 mm lets concrete through, which wears it twice as fast.
      const worn = byVolume ? hours * pace * (x > 0.6 ? 2 : 1) : hours
      x += worn / lifeHours
      strike()
      blockEndsIn -= hours
      if (law !== 'intermittent' || x < 0 || blockEndsIn > 0) return
      present = random.chance(Math.min(1, x))
      blockEndsIn = intermittentBlockHours
    },
  }
}
