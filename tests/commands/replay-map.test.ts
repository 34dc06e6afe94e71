import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { findColumns, MapInvalid, parseReplayMap } from '../../src/commands/replay-map.ts'

const EXAMPLES = resolve(import.meta.dirname, '../../examples')

test('a map names all its faults at once, each with its line', () => {
  const yaml = `separator: ';;'
time:
  column: t
  zone: Mars/Olympus
signals:
  a: { name: x, skale: 2 }
  b: 7
colour: red
`
  expect(() => parseReplayMap(yaml, 'm.yaml')).toThrow(MapInvalid)
  const faults = messageOf(() => parseReplayMap(yaml, 'm.yaml')).split('\n')
  expect(faults.map((fault) => fault.split(': ')[0])).toEqual(
    expect.arrayContaining(['m.yaml:1', 'm.yaml:4', 'm.yaml:6', 'm.yaml:7']),
  )
  expect(faults.join()).toContain('colour')
  expect(faults.join()).toContain('is no IANA time zone')
})

test.each([
  { is: 'no YAML', yaml: 'time: [', fault: /^m.yaml:\d+: / },
  { is: 'nothing', yaml: '', fault: /^m.yaml:1: the map: / },
  { is: 'no time', yaml: 'ignore: []', fault: /m.yaml:1: time: has a column .*, or start and stepSeconds/ },
  {
    is: 'a column and a start',
    yaml: 'time: { column: t, start: 2026-01-01, stepSeconds: 1 }',
    fault: /m.yaml:1: time/,
  },
  {
    is: 'a step of less than a millisecond',
    yaml: 'time: { start: 2026-01-01, stepSeconds: 0 }',
    fault: /m.yaml:1: time/,
  },
  {
    is: 'a start that is none',
    yaml: 'time: { start: soon, stepSeconds: 1 }',
    fault: /time: 'soon' is no time of the expected form/,
  },
  {
    is: 'a format without a date',
    yaml: 'time: { column: t, format: hh:mm }',
    fault: /time: the time format 'hh:mm' needs YYYY, MM and DD/,
  },
])('a map with $is is refused', ({ yaml, fault }) => {
  expect(messageOf(() => parseReplayMap(yaml, 'm.yaml'))).toMatch(fault)
})

test('a header that does not fit its map names all faults at once', () => {
  const map = parseReplayMap(
    `time: { column: when }
filter: { run: 1 }
ignore: [label]
signals: { a: x, b: x, c: y }`,
    'm.yaml',
  )
  const faults = messageOf(() => findColumns(['time', 'a', 'b', 'd'], map)).split('\n')
  expect(faults).toEqual([
    "time: the file has no column 'when', only 'time', 'a', 'b', 'd'",
    "filter: the file has no column 'run', only 'time', 'a', 'b', 'd'",
    "ignore: the file has no column 'label', only 'time', 'a', 'b', 'd'",
    "signals: the file has no column 'c', only 'time', 'a', 'b', 'd'",
    "the map neither uses nor ignores the column 'time', 'd'",
    "signals: more than one column becomes 'x'",
  ])
})

test.each(['ts', 'Time', 'TIMESTAMP', 'datetime', 'measuredAt', '时间'])(
  'without a map the column %s is the time',
  (name) => {
    const { time, signals } = findColumns(['a', name, 'b'])
    expect(time).toMatchObject({ index: 1 })
    expect(signals.map((signal) => signal.name)).toEqual(['a', 'b'])
  },
)

test.each([
  {
    file: 'skab.map.yaml',
    header:
      'datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;Volume Flow RateRMS;anomaly;changepoint',
    separator: ';',
    signals: 8,
  },
  {
    file: 'actuator.map.yaml',
    header:
      'run,Time,Accel_1,Accel_2,Accel_3,Angle,Temp_1,Temp_2,Temp_3,PG_1,PG_2,PG_3,Lim_1,Lim_2,Lim_3,Internal_Temp',
    separator: ',',
    signals: 14,
  },
])('the example $file fits the recording that it is for', ({ file, header, separator, signals }) => {
  const map = parseReplayMap(readFileSync(join(EXAMPLES, file), 'utf8'), file)
  expect(map.separator).toBe(separator)
  expect(findColumns(header.split(separator), map).signals).toHaveLength(signals)
})

test('every example is a map', () => {
  const maps = readdirSync(EXAMPLES).filter((file) => file.endsWith('.map.yaml'))
  expect(maps.length).toBeGreaterThan(0)
  for (const file of maps) parseReplayMap(readFileSync(join(EXAMPLES, file), 'utf8'), file)
})

function messageOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}
