import { expect, test } from 'vitest'
import { seededRandom } from '../../simulators/random.ts'
import { readFleetRow } from '../../src/machines/fleet-row.ts'
import { FleetTableUnreadable, readFleetTable } from '../../src/machines/fleet-table.ts'
import { isTimeZone } from '../../src/time-zone.ts'

const read = (text: string | Buffer) => readFleetTable(Buffer.from(text))
const now = Date.UTC(2026, 6, 1)

for (const { name, text } of [
  { name: 'comma', text: 'device,machine,hours\ngw-1,pump-1,12.5\n' },
  { name: 'semicolon', text: 'device;machine;hours\ngw-1;pump-1;12.5\n' },
  { name: 'tab', text: 'device\tmachine\thours\ngw-1\tpump-1\t12.5' },
  { name: 'CRLF and quotes', text: '"device","machine","hours"\r\n"gw-1","pump-1","12.5"\r\n' },
  { name: 'byte order mark', text: '\uFEFFdevice,machine,hours\ngw-1,pump-1,12.5' },
  { name: 'spaces and empty lines', text: 'device , machine, hours \n\n gw-1, pump-1 ,12.5\n , ,\n\n' },
  { name: 'UTF-16', text: Buffer.from('\uFEFFdevice,machine,hours\r\ngw-1,pump-1,12.5', 'utf16le') },
  { name: 'other spellings', text: 'Device-ID,Machine_id,"Operating hours"\ngw-1,pump-1,12.5' },
]) {
  test(`a table is read with ${name}`, () => {
    const { rows, faults, ignored } = read(text)
    expect(rows.map(({ cells }) => cells)).toEqual([{ device: 'gw-1', machine: 'pump-1', hours: '12.5' }])
    expect([faults, ignored]).toEqual([[], []])
  })
}

test('lines are those of the file, also behind cells with line breaks', () => {
  const { rows, faults } = read('id,site\r\na,"one\r\ntwo"\r\n\r\nb,three\r\nc,x,y\r\nd,four\r\n')
  expect(rows.map(({ line, cells }) => [line, cells.machine])).toEqual([
    [2, 'a'],
    [5, 'b'],
    [7, 'd'],
  ])
  expect(rows[0]?.cells.site).toBe('one\ntwo')
  expect(faults).toMatchObject([{ line: 6, detail: expect.stringContaining('3 cells under a header of 2') }])
})

test('columns that mean nothing to us are left out, and named', () => {
  const { rows, ignored } = read('id,colour,constructor,site\na,red,x,here\n')
  expect(rows[0]?.cells).toEqual({ machine: 'a', site: 'here' })
  expect(ignored).toEqual(['colour', 'constructor'])
})

for (const { name, bytes, says } of [
  { name: 'nothing', bytes: '', says: 'does not begin with a header' },
  { name: 'no column that we know', bytes: 'a,b\n1,2', says: "no column is named 'device' or 'machine'" },
  { name: 'a column twice', bytes: 'id,serial,Serial No.\na,1,2', says: "'serial' and 'Serial No.' both mean" },
  { name: 'Windows-1252', bytes: Buffer.from('id,customer\na,Z\xfcblin', 'latin1'), says: 'not UTF-8' },
  { name: 'a quote without end', bytes: 'id,site\na,"x\nb,y\n', says: 'no CSV at line' },
  { name: 'no text', bytes: Buffer.from([0x69, 0x64, 0x0a, 0]), says: 'no text' },
]) {
  test(`a table is refused for ${name}`, () => {
    expect(() => read(bytes as string)).toThrow(FleetTableUnreadable)
    expect(() => read(bytes as string)).toThrow(says)
  })
}

const row = (cells: object, decimalComma = false) => readFleetRow({ line: 2, cells }, { decimalComma, isTimeZone, now })

for (const { cells, becomes, decimalComma } of [
  { cells: { machine: 'a' }, becomes: { device: 'a', machine: 'a', hours: undefined } },
  { cells: { device: 'a' }, becomes: { device: 'a', machine: 'a' } },
  { cells: { device: 'd', machine: 'm' }, becomes: { device: 'd', machine: 'm' } },
  { cells: { machine: 'a', hours: '4321' }, becomes: { hours: 4321 } },
  { cells: { machine: 'a', hours: '4321.5' }, becomes: { hours: 4321.5 } },
  { cells: { machine: 'a', hours: '4321,5' }, becomes: { hours: 4321.5 }, decimalComma: true },
  { cells: { machine: 'a', hours: '1', hoursAt: '2026-06-30' }, becomes: { hoursAt: Date.UTC(2026, 5, 30) } },
  ...['2025-03-01', '01.03.2025', '1.3.2025', '2025-03-01T00:00:00Z', '2025-03-01T01:00:00+01:00'].map((date) => ({
    cells: { machine: 'a', deliveredAt: date },
    becomes: { facts: { deliveredAt: new Date(Date.UTC(2025, 2, 1)) } },
    decimalComma: false,
  })),
]) {
  test(`the cells ${JSON.stringify(cells)} are understood`, () =>
    expect(row(cells, decimalComma)).toMatchObject(becomes))
}

for (const { cells, columns } of [
  { cells: {}, columns: [undefined] },
  { cells: { machine: 'a b' }, columns: ['machine'] },
  { cells: { device: 'x'.repeat(65), machine: 'a/b' }, columns: ['device', 'machine'] },
  { cells: { machine: 'a', zone: 'Mars/Base', language: 'de' }, columns: ['zone', 'language'] },
  { cells: { machine: 'a', site: 'x'.repeat(201) }, columns: ['site'] },
  { cells: { machine: 'a', hours: '-1' }, columns: ['hours'] },
  { cells: { machine: 'a', hours: '1.234,5' }, columns: ['hours'] },
  { cells: { machine: 'a', hours: '12 h' }, columns: ['hours'] },
  { cells: { machine: 'a', hours: '200001' }, columns: ['hours'] },
  { cells: { machine: 'a', hoursAt: '2026-07-02' }, columns: ['hoursAt'] },
  ...['3/1/2025', '2025-02-30', '30.02.2025', 'soon', '1', '1900-01-01', '2025-03-01T08:00:00'].map((date) => ({
    cells: { machine: 'a', deliveredAt: date },
    columns: ['deliveredAt'],
  })),
]) {
  test(`the cells ${JSON.stringify(cells).slice(0, 60)} are refused`, () => {
    const faults = row(cells)
    if ('line' in faults) throw new Error('it was understood')
    expect(faults.map(({ line, column }) => [line, column])).toEqual(columns.map((column) => [2, column]))
  })
}

test('no bytes end in anything but rows, faults or a sentence', () => {
  const { next: random } = seededRandom(4_711)
  const pieces = [
    'id',
    'device',
    'hours',
    ',',
    ';',
    '\n',
    '\r\n',
    '"',
    '\t',
    'a',
    '\uFEFF',
    'é',
    '日',
    '\0',
    ' ',
    '1',
    '.',
    '2025-03-01',
  ]
  let tables = 0
  for (let n = 0; n < 3_000; n++) {
    const text = Array.from({ length: random() * 40 }, () => pieces[Math.floor(random() * pieces.length)]).join('')
    const bytes = Buffer.from(random() < 0.5 ? `machine,hours\n${text}` : text)
    if (random() < 0.2 && bytes.length > 0) bytes[Math.floor(random() * bytes.length)] = random() * 256
    try {
      const { rows, faults } = readFleetTable(bytes)
      tables++
      for (const each of rows) {
        const entry = readFleetRow(each, { decimalComma: false, isTimeZone, now })
        if ('line' in entry) expect(entry.machine, `table ${n}`).toMatch(/^[A-Za-z0-9._-]{1,64}$/)
      }
      expect(faults.every(({ line }) => line > 1)).toBe(true)
    } catch (error) {
      expect(error, `table ${n}: ${JSON.stringify(bytes.toString())}`).toBeInstanceOf(FleetTableUnreadable)
    }
  }
  expect(tables).toBeGreaterThan(300) // or it would prove nothing
})
