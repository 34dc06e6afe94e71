import type { FleetMachine } from '../../simulators/fleet.ts'

/** The fleet: one fault under way, one machine near an inspection, the rest healthy. */
export const fleet: readonly {
  readonly machine: FleetMachine
  readonly facts: Record<string, unknown>
  readonly story: string
}[] = [
  {
    machine: {
      id: 'pump-1',
      type: 'boom_pump',
      seed: 14,
      startHours: 1840,
      ambientC: 28,
      fault: { code: 'CP-05', onsetHours: -19.6, lifeHours: 20 },
    },
    facts: {
      model: 'bp-52',
      serial: 'BP52-0417',
      customer: 'Nordbau',
      site: 'Hafenquartier',
      region: 'north',
      timeZone: 'Europe/Berlin',
      deliveredAt: '2025-09-15T08:00:00Z',
    },
    story: 'its oil cooler is clogging (CP-05)',
  },
  {
    machine: { id: 'pump-2', type: 'boom_pump', seed: 'demo-pump-2', startHours: 229.9 },
    facts: {
      model: 'bp-52',
      serial: 'BP52-0533',
      customer: 'Nordbau',
      site: 'Hafenquartier',
      region: 'north',
      timeZone: 'Europe/Berlin',
      deliveredAt: '2026-08-03T08:00:00Z',
    },
    story: 'comes near its 250 h inspection',
  },
  {
    machine: { id: 'excavator-1', type: 'excavator', seed: 'demo-excavator-1', startHours: 2716 },
    facts: {
      model: 'ex-22',
      serial: 'EX22-1102',
      customer: 'Tiefbau Kern',
      site: 'Umgehung Ost',
      region: 'north',
      timeZone: 'Europe/Berlin',
    },
    story: 'healthy',
  },
  {
    machine: { id: 'crane-1', type: 'mobile_crane', seed: 'demo-crane-1', startHours: 3120 },
    facts: {
      model: 'mc-60',
      serial: 'MC60-0088',
      customer: 'Kranverleih Süd',
      site: 'Messehalle',
      region: 'south',
      timeZone: 'Europe/Berlin',
    },
    story: 'healthy',
  },
  {
    machine: { id: 'crawler-1', type: 'crawler_crane', seed: 'demo-crawler-1', startHours: 1433 },
    facts: {
      model: 'cc-150',
      serial: 'CC150-0021',
      customer: 'Kranverleih Süd',
      site: 'Windpark Heide',
      region: 'south',
      timeZone: 'Europe/Berlin',
    },
    story: 'healthy',
  },
  {
    machine: { id: 'tower-1', type: 'tower_crane', seed: 'demo-tower-1', startHours: 640 },
    facts: {
      model: 'tc-6015',
      serial: 'TC6015-0303',
      customer: '新城建设',
      site: '滨江一号',
      region: 'east',
      timeZone: 'Asia/Shanghai',
      language: 'zh',
    },
    story: 'healthy',
  },
]
