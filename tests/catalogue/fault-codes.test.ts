import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Profile } from '../../src/catalogue/catalogue.ts'
import { faultTreatment, fmiMeaning, isElectrical } from '../../src/catalogue/fault-codes.ts'
import { loadCatalogue } from '../../src/catalogue/load.ts'
import { projectRoot } from '../../src/root.ts'

const catalogue = loadCatalogue(join(projectRoot, 'catalogue'))
const excavator = catalogue.profile('excavator')

test('default severities of the failure mode identifiers', () => {
  const severities = Array.from({ length: 22 }, (_, fmi) => fmiMeaning(fmi).severity)
  const bySeverity = (wanted: string) => severities.flatMap((severity, fmi) => (severity === wanted ? [fmi] : []))
  expect(bySeverity('S4')).toEqual([0, 1])
  expect(bySeverity('S3')).toEqual([7, 12, 16, 18])
  expect(bySeverity('S2')).toEqual([2, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 17, 19, 20, 21])
  expect(fmiMeaning(31).severity).toBe('S2')
  for (let reserved = 22; reserved <= 30; reserved++) expect(fmiMeaning(reserved).severity).toBe('S1')
})

test('electrical identifiers are 2 to 5, 8 to 10 and 19', () => {
  expect(Array.from({ length: 32 }, (_, fmi) => fmi).filter(isElectrical)).toEqual([2, 3, 4, 5, 8, 9, 10, 19])
})

for (const { name, spn, fmi, found } of [
  {
    name: 'coolant too hot, most severe',
    spn: 110,
    fmi: 0,
    found: {
      treat: 'ticket',
      component: 'cooling',
      failureMode: 'EN-01',
      severity: 'S4',
      name: { en: 'Coolant temperature' },
    },
  },
  { name: 'coolant too hot, least severe', spn: 110, fmi: 15, found: { failureMode: 'EN-01', severity: 'S2' } },
  {
    name: 'an open coolant sensor is a sensor fault of the cooling',
    spn: 110,
    fmi: 5,
    found: { treat: 'ticket', component: 'cooling', failureMode: 'EN-09', severity: 'S2' },
  },
  {
    name: 'a watched code is no more than S1',
    spn: 98,
    fmi: 1,
    found: { treat: 'watch', component: 'engine', severity: 'S1' },
  },
  { name: 'an ignored code', spn: 247, fmi: 19, found: { treat: 'ignore', severity: 'S1' } },
  {
    name: 'an entry without signal names its component and itself',
    spn: 1713,
    fmi: 31,
    found: { component: 'hyd_tank_filters_cooler', name: { en: 'Hydraulic filter restricted' } },
  },
  {
    name: 'a signal without entry gives its component and name',
    spn: 513,
    fmi: 16,
    found: {
      treat: 'ticket',
      component: 'engine',
      severity: 'S3',
      failureMode: undefined,
      name: { en: 'Engine torque' },
    },
  },
  {
    name: 'a code of the maker in no list, mild',
    spn: 520_200,
    fmi: 13,
    found: { treat: 'watch', component: 'electrical', severity: 'S1', name: { en: 'SPN 520200', zh: 'SPN 520200' } },
  },
  { name: 'a code of the maker in no list, grave', spn: 520_200, fmi: 0, found: { treat: 'ticket', severity: 'S4' } },
]) {
  test(`fault code: ${name}`, () => expect(faultTreatment(excavator, spn, fmi)).toMatchObject(found))
}

test('an entry for exactly this code goes before one for the SPN, the nearest file before an inherited one', () => {
  const profile: Profile = {
    ...excavator,
    faults: [
      { spn: 110, treat: 'watch' },
      { spn: 110, fmi: 3, treat: 'ticket', failureMode: 'EN-01', severity: 'S3', component: 'engine' },
      ...excavator.faults,
    ],
  }
  expect(faultTreatment(profile, 110, 3)).toMatchObject({
    treat: 'ticket',
    failureMode: 'EN-01',
    severity: 'S3',
    component: 'engine',
  })
  expect(faultTreatment(profile, 110, 0)).toMatchObject({ treat: 'watch', severity: 'S1', failureMode: undefined })
})
