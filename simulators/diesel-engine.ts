import { approach, clamp, type Group, type Put, type Scene, type Unit } from './machinery.ts'

/** What the machine asks of its engine. */
export interface Demand {
  readonly rpm: number
  readonly powerKw: number
}

export interface DieselRating {
  readonly ratedKw: number
  /** Working point at which the rises below are given. */
  readonly nominalRpm: number
  readonly nominalLoad: number
  readonly tankLitres: number
}

/**
 * A diesel engine with cooling, air intake, lubrication, tank and 24 V system.
 *
 * The thermostat holds the coolant as long as radiator and fan can carry the heat away; with a clogged core the
 * equilibrium rises above it. Oil pressure follows speed, oil temperature and bearing clearance.
 */
export function dieselEngine(unit: Unit, { ratedKw, nominalRpm, nominalLoad, tankLitres }: DieselRating) {
  const { build, noise, damage } = unit
  const thermostatC = 84 + build.between(-1.5, 1.5)
  const radiatorRiseK = 30 * build.factor(0.04) // over ambient, thermostat open, at the nominal load
  const oilPressureFactor = build.factor(0.03)
  const intakeFactor = build.factor(0.06)
  const chargeVolts = 28 + build.between(-0.3, 0.3)
  const levels = { coolant: build.between(88, 97), hydraulic: 0 }

  let coolantC = unit.warm ? thermostatC + 2 : 24
  let oilC = unit.warm ? 98 : 24
  let fuelPct = build.between(60, 95)
  let defPct = build.between(60, 95)
  let sootPct = build.between(22, 60)
  let regenerating = false
  let restVolts = 25.8
  let state = { rpm: 0, load: 0, fuelLh: 0 }

  const heat = (load: number) => 0.06 + 0.94 * load
  const airflow = (rpm: number, load: number) => (rpm / nominalRpm) * (0.45 + 0.55 * load)

  function step(seconds: number, demand: Demand | undefined, { ambientC }: Scene) {
    const hours = seconds / 3600
    if (!demand) {
      state = { rpm: 0, load: 0, fuelLh: 0 }
      coolantC = approach(coolantC, ambientC, seconds, 5400)
      oilC = approach(oilC, ambientC, seconds, 7200)
      restVolts = Math.max(25.6, restVolts - 0.01 * hours)
      // The tanks are filled at night.
      if (fuelPct < 70) fuelPct = 95
      if (defPct < 50) defPct = 95
      return
    }
    const load = clamp(demand.powerKw / ratedKw, 0.08, 0.93)
    const fuelLh = (2.4 + demand.powerKw * 0.205) * (1 + 0.06 * damage('EN-04'))
    state = { rpm: demand.rpm, load, fuelLh }

    const conductance = 1 - 0.66 * damage('EN-01')
    const open = ambientC + (radiatorRiseK * heat(load)) / heat(nominalLoad) / conductance
    // At about 122 °C the cap lets steam out.
    const target = Math.min(122, Math.max(thermostatC + 4 * load, open))
    coolantC = approach(coolantC, target, seconds, 360)
    oilC = approach(oilC, coolantC + 6 + 14 * load + 8 * damage('EN-03'), seconds, 600)

    restVolts = 25.9
    fuelPct = Math.max(20, fuelPct - ((fuelLh * hours) / tankLitres) * 100)
    defPct = Math.max(20, defPct - ((fuelLh * 0.05 * hours) / 45) * 100)
    sootPct += regenerating ? -110 * hours : 2.2 * hours * (0.5 + load)
    if (sootPct > 78) regenerating = true
    if (sootPct < 22) regenerating = false
  }

  const alternator = () => chargeVolts - 4.2 * damage('EN-08') // with the alternator gone the battery carries the machine
  function oilPressureKpa(): number {
    if (state.rpm === 0) return 0
    const hot = 195 + ((state.rpm - 800) / 800) * 205
    const thickness = clamp(1 + 0.008 * (96 - oilC), 0.9, 1.5)
    return clamp(hot * oilPressureFactor * thickness * (1 - 0.58 * damage('EN-03')), 30, 620)
  }

  const groups: Group[] = [
    {
      everySeconds: 10,
      read(put) {
        put('engine_speed_rpm', state.rpm + noise.normal() * 6)
        put('engine_load_pct', clamp(state.load * 100 + noise.normal() * 0.6, 0, 100), 1)
        put('coolant_temp_c', coolantC + noise.normal() * 0.3, 1)
        put('engine_oil_pressure_kpa', oilPressureKpa() + noise.normal() * 4)
        put('fuel_rate_l_h', Math.max(0.5, state.fuelLh * (1 + 0.01 * noise.normal())), 2)
      },
    },
    {
      everySeconds: 30,
      read(put) {
        const boost = 210 * state.load * Math.sqrt(state.rpm / nominalRpm) * (1 - 0.1 * damage('EN-04'))
        put('engine_oil_temp_c', oilC + noise.normal() * 0.4, 1)
        put('boost_pressure_kpa', Math.max(0, boost + noise.normal() * 1.5), 1)
      },
    },
    {
      everySeconds: 60,
      read(put) {
        const restriction =
          (0.3 + (1.7 * airflow(state.rpm, state.load) ** 1.5) / airflow(nominalRpm, nominalLoad) ** 1.5) * intakeFactor
        put('air_filter_dp_kpa', clamp(restriction * (1 + 2.8 * damage('EN-04')) + noise.normal() * 0.05, 0, 12), 2)
        put('coolant_level_pct', levels.coolant + noise.normal() * 0.3, 1)
        put('fuel_level_pct', fuelPct + noise.normal() * 0.3, 1)
        put('def_level_pct', defPct + noise.normal() * 0.3, 1)
        put('battery_voltage_v', Math.max(22.5, alternator()) + noise.normal() * 0.05, 2)
        put('dpf_soot_pct', sootPct, 0)
      },
    },
  ]

  return {
    step,
    groups,
    speedRpm: () => state.rpm,
    heartbeat(put: Put) {
      put('engine_speed_rpm', 0)
      put('battery_voltage_v', restVolts - 2.2 * damage('EN-08') + noise.normal() * 0.02, 2)
      put('fuel_level_pct', fuelPct, 1)
    },
  }
}
