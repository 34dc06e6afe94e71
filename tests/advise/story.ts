import type { Catalogue, Profile } from '../../src/catalogue/catalogue.ts'
import type { Severity } from '../../src/catalogue/schema.ts'
import type { Records } from '../../src/records/records.ts'
import type { AlarmState, AlarmsTable } from '../../src/records/tables.ts'

/** Wall clock of the stories: 2026-07-01 10:30 UTC. */
export const now = Date.UTC(2026, 6, 1, 10, 30)
export const minuteMs = 60_000
export const dayMs = 86_400_000

const temperature = {
  unit: '°C',
  plausible: [-40, 150] as [number, number],
  intervalSeconds: 10,
  sent: 'periodic' as const,
  component: 'hydraulics',
  counter: false,
}

/** A pump truck with one failure mode, a limit without one, and a named fault code. */
export const boomPump: Profile = {
  type: 'boom_pump',
  model: undefined,
  name: { en: 'Boom pump', zh: '泵车' },
  components: new Map([
    ['hydraulics', { en: 'Hydraulic system', zh: '液压系统' }],
    ['engine', { en: 'Engine', zh: '发动机' }],
  ]),
  modes: new Map(),
  modeFrom: [],
  serviceCounter: { signals: ['engine_hours_h'], running: [{ signal: 'engine_speed_rpm', above: 400 }] },
  parameters: new Map(),
  signals: new Map([
    ['hyd_oil_temp_c', { ...temperature, name: { en: 'Hydraulic oil', zh: '液压油温' } }],
    ['coolant_temp_c', { ...temperature, component: 'engine', name: { en: 'Coolant temperature', zh: '冷却液温度' } }],
  ]),
  rules: new Map([
    [
      'hyd_oil_temp_c.rise',
      {
        id: 'hyd_oil_temp_c.rise',
        signal: 'hyd_oil_temp_c',
        direction: 'high' as const,
        inclusive: false,
        measure: { stat: 'slope_per_h' as const, windowSeconds: 3600 },
        warn: { limit: 5, onDelaySeconds: 0 },
        deadband: 1,
        offDelaySeconds: 60,
      },
    ],
  ]),
  failureModes: new Map([
    [
      'CP-05',
      {
        name: { en: 'Hydraulic oil overheating', zh: '液压油过热' },
        component: 'hydraulics',
        severity: { warn: 'S2' as const, critical: 'S3' as const },
        signature: { en: 'Oil runs hot', zh: '油温偏高' },
        effects: [],
        law: { kind: 'linear' as const },
        action: { en: 'Clean the oil cooler', zh: '清洗油冷却器' },
        parts: [
          {
            number: 'HF-100',
            name: { en: 'Return filter', zh: '回油滤芯' },
            quantity: 1,
            unit: 'pc',
            class: 'A' as const,
          },
        ],
      },
    ],
  ]),
  faults: [
    {
      spn: 110,
      fmi: 3,
      treat: 'ticket' as const,
      name: { en: 'Coolant sensor shorted high', zh: '冷却液传感器对电源短路' },
    },
  ],
  tasks: new Map(),
}

export const catalogue: Catalogue = {
  types: new Map([['boom_pump', boomPump]]),
  models: new Map(),
  modeCodes: new Map(),
  modeNames: new Map(),
  profile: () => boomPump,
}

export async function machine(db: Records['db'], id: string, delivered_at: Date | null = null): Promise<string> {
  await db.insertInto('machines').values({ id, type: 'boom_pump', state: 'in_service', delivered_at }).execute()
  return id
}

type AlarmFields = Partial<
  Pick<
    AlarmsTable,
    'key' | 'rule' | 'component' | 'failure_mode' | 'signal' | 'value' | 'limit_value' | 'unit' | 'suppressed_by'
  >
> & {
  severity: Severity
  state?: AlarmState
  historical?: boolean
  raisedAt?: number
  clearedAt?: number
  receivedAt?: number
}

/** An alarm as detection records it, hot hydraulic oil where nothing else is said. @returns its id */
export async function raise(db: Records['db'], machine: string, fields: AlarmFields): Promise<string> {
  const { severity, state = 'unacknowledged', historical = false, ...rest } = fields
  const { raisedAt = now - minuteMs, clearedAt, receivedAt = raisedAt, ...named } = rest
  const alarm = await db
    .insertInto('alarms')
    .values({
      machine,
      key: 'hyd_oil_temp_c.high',
      rule: 'hyd_oil_temp_c.high',
      component: 'hydraulics',
      failure_mode: 'CP-05',
      signal: 'hyd_oil_temp_c',
      severity,
      state,
      historical,
      value: 97,
      limit_value: 90,
      unit: '°C',
      since: new Date(raisedAt - minuteMs),
      raised_at: new Date(raisedAt),
      received_at: new Date(receivedAt),
      cleared_at: clearedAt === undefined ? null : new Date(clearedAt),
      ...named,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await event(db, alarm.id, 'raised', severity, 97, raisedAt)
  if (clearedAt !== undefined) await event(db, alarm.id, 'cleared', severity)
  return alarm.id
}

export async function event(
  db: Records['db'],
  alarm: string,
  kind: 'raised' | 'severity' | 'cleared' | 'unsuppressed' | 'suppressed',
  severity: Severity,
  value = 97,
  at = now,
): Promise<void> {
  await db
    .insertInto('alarm_events')
    .values({ alarm, kind, at: new Date(at), severity, value, limit_value: 90 })
    .execute()
}
