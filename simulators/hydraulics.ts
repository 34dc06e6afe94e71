import { approach, clamp, type Group, type Put, type Scene, type Unit } from './machinery.ts'

export interface HydraulicRating {
  /** Of tank, oil and steel, kJ/K. */
  readonly capacityKjK: number
  /** Of the cooler at full fan speed, kW/K. */
  readonly coolerKwK: number
  /** Of the tank and lines, kW/K. */
  readonly passiveKwK: number
  readonly pumps: number
  /** Of one pump, L/min. */
  readonly pumpMaxFlowLMin: number
}

/** What flows at the moment: pressure and flow of one pump, and the power that becomes heat in the circuit. */
export interface HydraulicLoad {
  readonly pressureBar: number
  readonly flowLMin: number
  readonly lossKw: number
}

/** Damage that acts on the circuit, each 0 to 1. */
export interface HydraulicDamage {
  pumpWear(): number
  cooler(): number
  filter(): number
}

/** Kinematic viscosity of ISO VG 46 oil, mm²/s. */
function viscosity(oilC: number): number {
  return clamp(46 * Math.exp(-0.035 * (oilC - 40)), 6, 400)
}

const referenceViscosity = viscosity(50)

/**
 * Oil, pumps, filter and cooler: `C·dT/dt = P_loss − UA·(T − T_amb)` with a fan that comes in between 50 and 60 °C.
 * The leakage of a pump is `k·p/ν(T)·(1+w)³`: it grows with wear and with hot oil, becomes heat, and heats the oil further.
 */
export function hydraulics(unit: Unit, rating: HydraulicRating, damaged: HydraulicDamage) {
  const { build, noise } = unit
  const coolerKwK = rating.coolerKwK * build.factor(0.04)
  const leakFactor = build.factor(0.08)
  const filterFactor = build.factor(0.08)
  const vibrationFactor = build.factor(0.07)
  const levelPct = build.between(72, 84)
  const water = build.between(15, 30)
  const particles = [18, 16, 13] as const

  let oilC = unit.warm ? 54 : 24
  let flowing: HydraulicLoad | undefined
  let fan = 0
  /** ISO 4406 codes above those of clean oil: what went round the filter stays for hours. */
  let dirtCodes = 0
  /** Effort of the pumps when vibration was last measured: in bursts, while they worked steadily. */
  let burst = unit.warm ? 1 : undefined
  let ambient = 24

  /** L/min of one pump; 1.2 % of its largest flow when new at 200 bar and 50 °C. */
  function leak(wear: number): number {
    if (!flowing) return 0
    // Pumps are built so that thin oil costs less than the law of the narrow gap says.
    const thin = Math.sqrt(referenceViscosity / viscosity(oilC))
    return 0.012 * rating.pumpMaxFlowLMin * leakFactor * (flowing.pressureBar / 200) * thin * (1 + 1.15 * wear) ** 3
  }

  /** Pumps do not wear alike: the first one leads. */
  const wearOf = (pump: number) => (pump === 1 ? 1 : 0.6) * damaged.pumpWear()
  /** What all pumps lose because of wear alone, L/min. */
  function extraLeak(): number {
    let sum = 0
    for (let pump = 1; pump <= rating.pumps; pump++) sum += leak(wearOf(pump)) - leak(0)
    return sum
  }
  const coolerHealth = () => 1 - 0.94 * damaged.cooler()
  const clog = () => 1 + 4.6 * damaged.filter()

  function step(seconds: number, load: HydraulicLoad | undefined, { ambientC }: Scene) {
    flowing = load
    const bypass = filterDp() > 3
    dirtCodes = approach(dirtCodes, bypass ? 3 : 0, seconds, bypass ? 900 : 36_000)
    if (load && load.pressureBar > 80) burst = clamp(load.pressureBar / 180, 0.6, 1.2)
    ambient = ambientC
    fan = load ? clamp((oilC - 50) / 10, 0, 1) : 0
    const conductance = rating.passiveKwK + fan * (coolerKwK - rating.passiveKwK) * coolerHealth()
    const leakKw = load ? (extraLeak() * load.pressureBar) / 600 : 0
    // Above 95 °C the controller takes power back.
    const derating = clamp(1 - (oilC - 95) / 30, 0.3, 1)
    const lossKw = derating * ((load?.lossKw ?? 0) + 0.4 * leakKw) // the rest leaves with the drain oil through the case cooler
    oilC = approach(oilC, ambientC + lossKw / conductance, seconds, rating.capacityKjK / conductance)
  }

  function filterDp(): number {
    if (!flowing) return 0
    const share = flowing.flowLMin / rating.pumpMaxFlowLMin
    const thick = Math.sqrt(viscosity(oilC) / referenceViscosity)
    // Above 3.4 bar the bypass valve opens.
    return Math.min(3.4, (0.08 + 0.95 * share) * thick * filterFactor * clog())
  }

  const groups: Group[] = [
    {
      everySeconds: 10,
      read: (put) => put('hyd_oil_temp_c', oilC + noise.normal() * 0.3, 1),
    },
    {
      everySeconds: 60,
      read(put) {
        put('hyd_oil_level_pct', levelPct + 0.05 * (oilC - 50) + noise.normal() * 0.3, 1)
        put('drain_temp_c', oilC + 5 + 15 * damaged.pumpWear() + noise.normal() * 0.3, 1)
        put('return_filter_dp_bar', Math.max(0, filterDp() + noise.normal() * 0.02), 2)
        for (let pump = 1; pump <= rating.pumps; pump++) {
          const drain = leak(wearOf(pump)) * (1 + 0.03 * noise.normal()) + 0.4
          put(pump === 1 ? 'case_drain_flow_l_min' : `case_drain_flow_l_min_${pump}`, drain, 2)
        }
      },
    },
    {
      everySeconds: 600,
      read(put) {
        const wear = damaged.pumpWear()
        const dirt = Math.round(dirtCodes)
        if (burst !== undefined) {
          const work = 0.5 + 0.5 * burst
          put('pump_vib_rms_mm_s', 2.5 * work * vibrationFactor * (1 + 1.2 * wear) + 0.05 * noise.normal(), 2)
          put('pump_vib_kurtosis', 3.1 + 2.6 * wear + 0.05 * noise.normal(), 2)
          put('pump_vib_env_g', (0.3 + 0.6 * work) * vibrationFactor * (1 + 3.4 * wear), 2)
        }
        put('oil_particles_iso4406_4um', particles[0] + dirt)
        put('oil_particles_iso4406_6um', particles[1] + dirt)
        put('oil_particles_iso4406_14um', particles[2] + dirt)
        put('oil_water_saturation_pct', water + 0.5 * noise.normal(), 1)
      },
    },
  ]

  return {
    step,
    groups,
    oilC: () => oilC,
    fan: () => fan,
    extraLeak,
    /** Between cooler inlet and outlet: falls when less oil or air goes through the core. */
    coolerDt: () => Math.max(0, ((oilC - ambient) / 35) * 9 * (0.2 + 0.8 * fan) * coolerHealth() ** 1.2),
    heartbeat: (put: Put) => put('hyd_oil_temp_c', oilC, 1),
  }
}
