import { expect, test } from 'vitest'
import { jobText, reasonText } from '../../src/advise/job-text.ts'
import type { Evidence } from '../../src/advise/maintenance-job.ts'
import { boomPump } from './story.ts'

for (const { name, component, mode, title, action } of [
  {
    name: 'a failure mode of the catalogue has its own words',
    component: 'hydraulics',
    mode: 'CP-05',
    title: { en: 'Hydraulic oil overheating', zh: '液压油过热' },
    action: { en: 'Clean the oil cooler', zh: '清洗油冷却器' },
  },
  {
    name: 'a limit names its signal and side',
    component: 'engine',
    mode: 'limit.coolant_temp_c.high',
    title: { en: 'Coolant temperature above the limit', zh: '冷却液温度高于限值' },
    action: {
      en: 'Find the cause of the coolant temperature being too high: check the engine and the sensor',
      zh: '查明冷却液温度过高的原因：检查发动机和传感器',
    },
  },
  {
    name: 'a fault code with a name in the list of the model',
    component: 'engine',
    mode: 'fault.110.3',
    title: { en: 'Coolant sensor shorted high (SPN 110 FMI 3)', zh: '冷却液传感器对电源短路（SPN 110 FMI 3）' },
    action: expect.objectContaining({ en: expect.stringContaining('fault code SPN 110 FMI 3') }),
  },
  {
    name: 'a fault code without one',
    component: 'engine',
    mode: 'fault.100.1',
    title: { en: 'Engine: fault code SPN 100 FMI 1', zh: '发动机：故障码 SPN 100 FMI 1' },
    action: expect.objectContaining({ zh: expect.stringContaining('故障码 SPN 100 FMI 1') }),
  },
  {
    name: 'a signal and a component that the catalogue does not know',
    component: 'slew_ring',
    mode: 'limit.slew_torque_nm.low',
    title: { en: 'Slew torque nm below the limit', zh: 'slew_torque_nm低于限值' },
    action: expect.objectContaining({ en: expect.stringContaining('check the slew ring') }),
  },
  {
    name: 'a failure mode of another type',
    component: 'engine',
    mode: 'TC-01',
    title: { en: 'TC-01: Engine', zh: 'TC-01：发动机' },
    action: { en: 'Check the engine', zh: '检查发动机' },
  },
])
  test(name, () => expect(jobText(boomPump, component, mode)).toMatchObject({ title, action }))

const oil: Evidence = {
  alarm: 'A-000001',
  signal: 'hyd_oil_temp_c',
  condition: 'hyd_oil_temp_c.high',
  rule: 'hyd_oil_temp_c.high',
  severity: 'S3',
  value: 97,
  limit: 90,
  unit: '°C',
  since: '2026-07-01T10:02:30.000Z',
}

for (const { name, evidence, en, zh } of [
  {
    name: 'above a limit',
    evidence: [oil],
    en: 'Hydraulic oil 97.0 °C above 90 °C since 2026-07-01 10:02 UTC',
    zh: '液压油温 97.0 °C，自 2026-07-01 10:02 UTC 起高于 90 °C',
  },
  {
    name: 'below a limit, small and without a unit',
    evidence: [{ ...oil, condition: 'hyd_oil_temp_c.low', value: 0.0421, limit: 0.05, unit: '–' }],
    en: 'Hydraulic oil 0.042 below 0.05 since 2026-07-01 10:02 UTC',
    zh: '液压油温 0.042，自 2026-07-01 10:02 UTC 起低于 0.05',
  },
  {
    name: 'what is made of a signal before it is compared',
    evidence: [{ ...oil, rule: 'hyd_oil_temp_c.rise', value: 123.4, unit: '°C/h', limit: 5 }],
    en: 'Hydraulic oil (rise per hour) 123 °C/h above 5 °C/h since 2026-07-01 10:02 UTC',
    zh: '液压油温（每小时变化） 123 °C/h，自 2026-07-01 10:02 UTC 起高于 5 °C/h',
  },
  {
    name: 'a fault code',
    evidence: [
      { ...oil, signal: null, condition: 'fault.0.110.3', rule: 'fault', value: null, limit: null, unit: null },
    ],
    en: 'Fault code SPN 110 FMI 3 active since 2026-07-01 10:02 UTC',
    zh: '故障码 SPN 110 FMI 3，自 2026-07-01 10:02 UTC 起存在',
  },
  {
    name: 'silence',
    evidence: [{ ...oil, signal: null, condition: 'no_data', rule: 'no_data', value: null, limit: null, unit: null }],
    en: 'No data since 2026-07-01 10:02 UTC',
    zh: '自 2026-07-01 10:02 UTC 起无数据',
  },
  {
    name: 'a value and a limit that are not known',
    evidence: [{ ...oil, value: null, limit: null }],
    en: 'Hydraulic oil too high since 2026-07-01 10:02 UTC',
    zh: '液压油温，自 2026-07-01 10:02 UTC 起过高',
  },
])
  test(`reason: ${name}`, () => expect(reasonText(boomPump, evidence)).toEqual({ en, zh }))

test('the reason names all of the evidence', () => {
  const both = reasonText(boomPump, [oil, { ...oil, signal: 'coolant_temp_c', condition: 'coolant_temp_c.high' }])
  expect(both.en.split('; ')).toHaveLength(2)
  expect(both.zh.split('；')).toHaveLength(2)
})
