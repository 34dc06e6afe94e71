import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { CatalogueInvalid, loadCatalogue } from '../../src/catalogue/load.ts'
import { projectRoot } from '../../src/root.ts'

/** A whole catalogue in one type: every line has its number, and faults are put in by replacing lines. */
const GENERIC = `type: generic
name: { en: Anything, zh: 未知 }
components:
  engine: { en: Engine, zh: 发动机 }
modes:
  working: { code: 22, name: { en: working, zh: 作业 } }
serviceCounter:
  signals: [engine_hours_h]
  running: [{ signal: engine_speed_rpm, above: 300 }]
parameters:
  rated_speed_rpm: 2100
signals:
  engine_speed_rpm:
    name: { en: Engine speed, zh: 转速 }
    unit: rpm
    plausible: [0, 8000]
    intervalSeconds: 10
    sent: periodic
    component: engine
    rules:
      high:
        direction: high
        warn: { limit: 2300, onDelaySeconds: 5 }
        critical: { limit: 2500, onDelaySeconds: 2 }
        deadband: 50
        failureMode: EN-03
  engine_hours_h:
    name: { en: Engine hours, zh: 小时 }
    unit: h
    plausible: [0, 200000]
    intervalSeconds: 60
    sent: periodic
    component: engine
    counter: true
failureModes:
  EN-03:
    name: { en: Worn, zh: 磨损 }
    component: engine
    severity: { warn: S2, critical: S4 }
    signature: { en: Slow., zh: 慢。 }
    law: { kind: linear, hours: [100, 300] }
    action: { en: Strip., zh: 拆检。 }
    parts: []
tasks:
  DAILY:
    name: { en: Daily, zh: 日检 }
    performer: operator
    every: { hours: 10 }
    work: { en: Look., zh: 看。 }
`

function folderOf(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-catalogue-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

/** The faults of a catalogue, without the name of its folder. */
function faultsOf(files: Record<string, string>): string[] {
  const folder = folderOf(files)
  try {
    loadCatalogue(folder)
  } catch (error) {
    if (!(error instanceof CatalogueInvalid)) throw error
    expect(error.message).toBe(error.faults.join('\n'))
    return error.faults.map((line) => line.replaceAll(`${basename(folder)}/`, ''))
  }
  return []
}

const swapped = (from: string, to: string) => {
  expect(GENERIC).toContain(from)
  return { 'generic.yaml': GENERIC.replace(from, to) }
}
const beside = (file: string, text: string) => ({ 'generic.yaml': GENERIC, [file]: text })

test('a good catalogue loads, with defaults filled in', () => {
  const { types, models, modeCodes, modeNames } = loadCatalogue(folderOf({ 'generic.yaml': GENERIC }))
  expect([...types.keys()]).toEqual(['generic'])
  expect(models.size).toBe(0)
  expect(modeCodes.get('working')).toBe(22)
  expect(modeNames.get(22)).toBe('working')
  const rule = types.get('generic')?.rules.get('engine_speed_rpm.high')
  expect(rule).toMatchObject({
    id: 'engine_speed_rpm.high',
    signal: 'engine_speed_rpm',
    offDelaySeconds: 60,
    inclusive: false,
  })
})

for (const { name, files, faults } of [
  {
    name: 'an unknown key stands at its own line',
    files: swapped('    unit: rpm', '    unit: rpm\n    unti: rpm'),
    faults: ["generic.yaml:16 signals.engine_speed_rpm.unti: expected a key of the catalogue, got 'unti'"],
  },
  {
    name: 'a wrong type of value',
    files: swapped('limit: 2300', 'limit: fast'),
    faults: ['generic.yaml:23 signals.engine_speed_rpm.rules.high.warn.limit: expected number, got "fast"'],
  },
  {
    name: 'a value out of a list',
    files: swapped('sent: periodic', 'sent: sometimes'),
    faults: [
      'generic.yaml:18 signals.engine_speed_rpm.sent: expected periodic or on_change or manual, got "sometimes"',
    ],
  },
  {
    name: 'a missing key stands at what lacks it',
    files: swapped('    intervalSeconds: 10\n', ''),
    faults: ['generic.yaml:13 signals.engine_speed_rpm.intervalSeconds: expected number, got nothing'],
  },
  {
    name: 'a name that is no identifier',
    files: swapped('  rated_speed_rpm', '  ratedSpeed'),
    faults: ["generic.yaml:11 parameters.ratedSpeed: expected lower-case letters, digits and _, got 'ratedSpeed'"],
  },
  {
    name: 'a plausible range upside down',
    files: swapped('[0, 8000]', '[8000, 0]'),
    faults: ['generic.yaml:16 signals.engine_speed_rpm.plausible: expected the lower end comes first, got [8000,0]'],
  },
  {
    name: 'warn beyond critical',
    files: swapped('limit: 2300', 'limit: 2600'),
    faults: [
      'generic.yaml:24 signals.engine_speed_rpm.rules.high.critical.limit: expected a limit above that of warn, 2600, got 2500',
    ],
  },
  {
    name: 'warn beyond critical on the low side',
    files: swapped('direction: high', 'direction: low'),
    faults: [
      'generic.yaml:24 signals.engine_speed_rpm.rules.high.critical.limit: expected a limit below that of warn, 2300, got 2500',
    ],
  },
  {
    name: 'a limit that no plausible value reaches',
    files: swapped('limit: 2500', 'limit: 9000'),
    faults: [
      'generic.yaml:24 signals.engine_speed_rpm.rules.high.critical.limit: expected a limit within the plausible range 0 to 8000, got 9000',
    ],
  },
  {
    name: 'a component that is not there',
    files: swapped('    component: engine\n    rules', '    component: motor\n    rules'),
    faults: ["generic.yaml:19 signals.engine_speed_rpm.component: expected one of components, got 'motor'"],
  },
  {
    name: 'a failure mode that is not there',
    files: swapped('failureMode: EN-03', 'failureMode: EN-99'),
    faults: [
      "generic.yaml:26 signals.engine_speed_rpm.rules.high.failureMode: expected one of failureModes, got 'EN-99'",
    ],
  },
  {
    name: 'a mode, a signal and a parameter that are not there',
    files: swapped(
      '        deadband: 50',
      '        deadband: 50\n        modes: [idling]\n        when: [{ signal: oil, above: 1 }]\n        measure: { ratedFraction: rated }',
    ),
    faults: [
      "generic.yaml:26 signals.engine_speed_rpm.rules.high.modes.0: expected one of modes, got 'idling'",
      "generic.yaml:27 signals.engine_speed_rpm.rules.high.when.0.signal: expected one of signals, got 'oil'",
      "generic.yaml:28 signals.engine_speed_rpm.rules.high.measure.ratedFraction: expected one of parameters, got 'rated'",
    ],
  },
  {
    name: 'a name that objects have anyway is no name of the catalogue',
    files: swapped('failureMode: EN-03\n', 'modes: [constructor]\n'),
    faults: ["generic.yaml:26 signals.engine_speed_rpm.rules.high.modes.0: expected one of modes, got 'constructor'"],
  },
  {
    name: 'a statistic without window, a level without share, two comparisons',
    files: swapped(
      '        deadband: 50',
      '        deadband: 50\n        measure: { stat: mean, level: 3, baselinePercent: true, difference: engine_hours_h }',
    ),
    faults: [
      'generic.yaml:26 signals.engine_speed_rpm.rules.high.measure: expected at most one comparison, got difference and baselinePercent',
      'generic.yaml:26 signals.engine_speed_rpm.rules.high.measure: expected windowSeconds, got nothing',
      'generic.yaml:26 signals.engine_speed_rpm.rules.high.measure: expected level with share_above, and only there, got 3',
    ],
  },
  {
    name: 'a service counter that is none',
    files: swapped('signals: [engine_hours_h]', 'signals: [engine_speed_rpm]'),
    faults: ["generic.yaml:8 serviceCounter.signals.0: expected a signal with counter: true, got 'engine_speed_rpm'"],
  },
  {
    name: 'a task without due point',
    files: swapped('    every: { hours: 10 }\n', ''),
    faults: ['generic.yaml:45 tasks.DAILY: expected points, every or calendar, got none'],
  },
  {
    name: 'an interval that is a date, and a point that is two',
    files: swapped('every: { hours: 10 }', 'every: { days: 10 }\n    points: [{ hours: 1, m3: 2 }]'),
    faults: [
      'generic.yaml:49 tasks.DAILY.points.0: expected hours or m3, or days, weeks, months or years, or one of each, got {"hours":1,"m3":2}',
    ],
  },
  {
    name: 'an interval that is a date',
    files: swapped('every: { hours: 10 }', 'every: { days: 10 }'),
    faults: ['generic.yaml:48 tasks.DAILY.every: expected hours or m3, got {"days":10}'],
  },
  {
    name: 'volume without a volume counter',
    files: swapped('every: { hours: 10 }', 'every: { m3: 10 }'),
    faults: ['generic.yaml:45 tasks.DAILY: expected a type with a volume counter, got m3'],
  },
  {
    name: 'a key that stands twice',
    files: swapped('    unit: rpm', '    unit: rpm\n    unit: rpm'),
    faults: ['generic.yaml:16: expected each key once, got a key that stands there already'],
  },
  {
    name: 'mode is not the name of a signal',
    files: swapped('  engine_speed_rpm:\n', '  mode:\n'),
    faults: [
      "generic.yaml:9 serviceCounter.running.0.signal: expected one of signals, got 'engine_speed_rpm'",
      "generic.yaml:13 signals.mode: expected another name, got 'mode', which has a meaning of its own",
    ],
  },
  {
    name: 'a file that is neither type nor model, and one that is both',
    files: {
      ...beside('a.yaml', 'name: { en: A, zh: A }\n'),
      'b.yaml': 'type: b\nmodel: b-1\nname: { en: B, zh: B }\n',
    },
    faults: [
      'a.yaml:1: expected exactly one of type and model, got neither',
      'b.yaml:2: expected exactly one of type and model, got both',
    ],
  },
  {
    name: 'an id that another file has',
    files: beside('other.yaml', GENERIC),
    faults: ["other.yaml:1 type: expected an id of its own, got 'generic', which is in generic.yaml"],
  },
  {
    name: 'a base that is not there',
    files: beside('pump.yaml', 'type: pump\nextends: [generic, hydraulics]\nname: { en: Pump, zh: 泵 }\n'),
    faults: ["pump.yaml:2 extends: expected the id of a type, got 'hydraulics', which is no type here"],
  },
  {
    name: 'types that extend each other',
    files: {
      ...beside('a.yaml', 'type: a\nextends: b\nname: { en: A, zh: A }\n'),
      'b.yaml': 'type: b\nextends: a\nname: { en: B, zh: B }\n',
    },
    faults: [
      'a.yaml:2 extends: expected no circle, got a → b → a',
      'b.yaml:2 extends: expected no circle, got b → a → b',
    ],
  },
  {
    name: 'a model of nothing, and one of an abstract type',
    files: {
      ...beside('a.yaml', 'type: base\nabstract: true\nname: { en: A, zh: A }\n'),
      'm.yaml': 'model: m-1\nname: { en: M, zh: M }\n',
      'n.yaml': 'model: n-1\nextends: base\nname: { en: N, zh: N }\n',
    },
    faults: [
      'm.yaml:1 extends: expected the type of this model, one that is not abstract, got nothing',
      'n.yaml:2 extends: expected the type of this model, one that is not abstract, got base',
    ],
  },
  {
    name: 'a concrete type that lacks what every machine needs',
    files: beside('a.yaml', 'type: a\nname: { en: A, zh: A }\n'),
    faults: [
      'a.yaml:1 components: expected components, here or inherited, got nothing',
      'a.yaml:1 modes: expected modes, here or inherited, got nothing',
      'a.yaml:1 serviceCounter: expected serviceCounter, here or inherited, got nothing',
      'a.yaml:1 signals: expected signals, here or inherited, got nothing',
    ],
  },
  {
    name: 'modes whose codes disagree between types',
    files: beside(
      'other.yaml',
      'type: a\nextends: generic\nname: { en: A, zh: A }\nmodes:\n  working: { code: 23 }\n  idle: { code: 22, name: { en: i, zh: i } }\n',
    ),
    faults: [
      "other.yaml:5 modes.working.code: expected the code that 'working' has elsewhere, 22, got 23",
      "other.yaml:6 modes.idle.code: expected the mode that '22' has elsewhere, working, got idle",
    ],
  },
  {
    name: 'an inherited rule is blamed on the line that spoiled it',
    files: beside(
      'a.yaml',
      'model: a-1\nextends: generic\nname: { en: A, zh: A }\nsignals:\n  engine_speed_rpm:\n    rules:\n      high:\n        critical: { limit: 2200 }\n',
    ),
    faults: [
      'a.yaml:8 signals.engine_speed_rpm.rules.high.critical.limit: expected a limit above that of warn, 2300, got 2200',
    ],
  },
  {
    name: 'null for something that is not inherited',
    files: beside('a.yaml', 'model: a-1\nextends: generic\nname: { en: A, zh: A }\ntasks:\n  WEEKLY: null\n'),
    faults: ['a.yaml:5 tasks.WEEKLY: expected a value, or something inherited to remove, got null'],
  },
  {
    name: 'no generic type',
    files: { 'a.yaml': GENERIC.replace('type: generic', 'type: a') },
    faults: [`.:1: expected a file with the type generic, got none`],
  },
  {
    name: 'a name that would be overlooked',
    files: beside('a.yml', GENERIC),
    faults: ['a.yml:1: expected a name that ends in .yaml, got a.yml'],
  },
  { name: 'an empty file', files: beside('a.yaml', ''), faults: ['a.yaml:1: expected a map, got nothing'] },
  {
    name: 'a part number with two names',
    files: swapped(
      '    parts: []',
      `    parts:
      - { number: P-1, name: { en: Ring, zh: 环 }, quantity: 1, unit: pc, class: A }
      - { number: P-1, name: { en: Plate, zh: 板 }, quantity: 1, unit: pc, class: A }`,
    ),
    faults: [
      expect.stringMatching(
        /^generic\.yaml:45 failureModes\.EN-03\.parts\.1: expected the same part that 'P-1' has elsewhere/,
      ),
    ],
  },
]) {
  test(`catalogue: ${name}`, () => {
    const found = faultsOf(files).map((line) => line.replace(/^[^/:]*outrigger-catalogue-[^/:]*:/, '.:'))
    expect(found).toEqual(faults)
  })
}

test('faults of several files come all at once', () => {
  const faults = faultsOf({
    'generic.yaml': GENERIC.replace('limit: 2300', 'limit: fast').replace('performer: operator', 'performer: nobody'),
    'a.yaml': 'type: a\nextends: nothing\nname: { en: A, zh: A }\n',
    'b.yaml': 'type: [\n',
  })
  expect(faults.map((line) => line.split(' ')[0])).toEqual([
    'a.yaml:2',
    'b.yaml:2:',
    'generic.yaml:23',
    'generic.yaml:47',
  ])
})

test('a model inherits, changes one number and removes what it does not have', () => {
  const model = `model: a-1
extends: generic
name: { en: A, zh: A }
parameters: { rated_speed_rpm: 1900 }
signals:
  engine_speed_rpm:
    rules:
      high: { warn: { limit: 2000 }, critical: null }
tasks:
  DAILY: null
faults:
  - { spn: 190, treat: ignore }
`
  const generic = `${GENERIC}faults:\n  - { spn: 190, treat: ticket }\n  - { spn: 110, treat: watch }\n`
  const { profile, models } = loadCatalogue(folderOf({ 'generic.yaml': generic, 'a-1.yaml': model }))
  const found = profile('generic', 'a-1')
  expect(found).toBe(models.get('a-1'))
  expect(found).toMatchObject({ type: 'generic', model: 'a-1', name: { en: 'A' } })
  const rule = found.rules.get('engine_speed_rpm.high')
  expect(rule?.warn).toEqual({ limit: 2000, onDelaySeconds: 5 })
  expect(rule?.critical).toBeUndefined()
  expect(found.parameters.get('rated_speed_rpm')).toBe(1900)
  expect(found.tasks.size).toBe(0)
  // the nearest file's entry is found first
  expect(found.faults.map(({ spn, treat }) => [spn, treat])).toEqual([
    [190, 'ignore'],
    [190, 'ticket'],
    [110, 'watch'],
  ])
})

test('of two bases the later one wins, and a base that both share does not undo it', () => {
  const base = (type: string, limit: number) => `type: ${type}
extends: generic
abstract: true
name: { en: x, zh: x }
signals: { engine_speed_rpm: { rules: { high: { warn: { limit: ${limit} } } } } }
`
  const both = (order: string) => `type: both\nextends: [${order}]\nname: { en: x, zh: x }\n`
  const warn = (order: string, files: Record<string, string>) =>
    loadCatalogue(folderOf({ 'generic.yaml': GENERIC, ...files, 'both.yaml': both(order) }))
      .types.get('both')
      ?.rules.get('engine_speed_rpm.high')?.warn?.limit
  const two = { 'a.yaml': base('a', 2100), 'b.yaml': base('b', 2200) }
  expect(warn('a, b', two)).toBe(2200)
  expect(warn('b, a', two)).toBe(2100)
  const plainBase = 'type: b\nextends: generic\nabstract: true\nname: { en: x, zh: x }\n'
  expect(warn('a, b', { ...two, 'b.yaml': plainBase })).toBe(2100)
})

test('an unknown model or one of another type gets the profile of the type, an unknown type the generic one', () => {
  const pump = 'type: pump\nextends: generic\nname: { en: Pump, zh: 泵 }\n'
  const p1 = 'model: p-1\nextends: pump\nname: { en: P, zh: P }\n'
  const { profile, types } = loadCatalogue(folderOf({ 'generic.yaml': GENERIC, 'pump.yaml': pump, 'p1.yaml': p1 }))
  expect(profile('pump', 'p-1').model).toBe('p-1')
  expect(profile('pump', 'p-2')).toBe(types.get('pump'))
  expect(profile('pump', null)).toBe(types.get('pump'))
  expect(profile('generic', 'p-1')).toBe(types.get('generic'))
  expect(profile('boat', 'p-1')).toBe(types.get('generic'))
})

test('the model that the guide shows loads beside the shipped files', () => {
  const guide = readFileSync(join(projectRoot, 'docs/catalogue.md'), 'utf8')
  const example = /```yaml\n(# catalogue\/bp-47\.yaml[\s\S]*?)```/.exec(guide)?.[1]
  const folder = folderOf({})
  cpSync(join(projectRoot, 'catalogue'), folder, { recursive: true })
  writeFileSync(join(folder, 'bp-47.yaml'), example ?? '')
  const found = loadCatalogue(folder).models.get('bp-47')
  expect(found?.rules.get('hyd_oil_temp_c.high')?.warn).toEqual({ limit: 78, onDelaySeconds: 60 })
  expect(found?.signals.has('boom_angle_deg_6')).toBe(false)
  expect(found?.tasks.get('HYD_OIL')).toMatchObject({ every: { hours: 5000 }, calendar: { months: 24 } })
})
