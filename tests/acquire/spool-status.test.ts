import { expect, test } from 'vitest'
import { describeSpool } from '../../src/acquire/spool-status.ts'

const MIB = 2 ** 20
const well = {
  waitingBytes: 10 * MIB,
  historyBytes: 32 * MIB,
  budgetBytes: 1_000 * MIB,
  freeBytes: 50_000 * MIB,
  held: undefined,
  failure: undefined,
  silentMs: 0,
}

for (const { name, state, acknowledging, note } of [
  { name: 'all is well', state: {}, acknowledging: true, note: undefined },
  { name: 'just below 80 %', state: { waitingBytes: 799 * MIB }, acknowledging: true, note: undefined },
  {
    name: '80 %',
    state: { waitingBytes: 800 * MIB },
    acknowledging: true,
    note: /^80 % full: 800 MiB of .*\(1000 MiB\)/,
  },
  {
    name: 'full',
    state: { waitingBytes: 999 * MIB, held: 'budget' as const },
    acknowledging: false,
    note: /^full: 999 MiB/,
  },
  {
    name: 'what is left of the disk is for others',
    state: { freeBytes: 90 * MIB, held: 'disk' as const },
    acknowledging: false,
    note: /^the disk has 90 MiB left, .* work off 10 MiB/,
  },
  { name: 'the disk fails', state: { failure: new Error('EIO: i/o error') }, acknowledging: false, note: /EIO/ },
  { name: 'the disk hangs', state: { silentMs: 4_100 }, acknowledging: false, note: /not answered for 4 s/ },
  { name: 'a slow disk', state: { silentMs: 900 }, acknowledging: true, note: undefined },
  { name: 'hardly any disk left', state: { freeBytes: 50 * MIB }, acknowledging: true, note: /disk has 50 MiB left/ },
  {
    name: 'a disk that will not hold the budget, and is mostly used',
    state: { waitingBytes: 700 * MIB, freeBytes: 130 * MIB },
    acknowledging: true,
    note: /disk has 130 MiB left/,
  },
  { name: 'history could make way', state: { freeBytes: 100 * MIB }, acknowledging: true, note: undefined },
])
  test(`the spool says how it stands: ${name}`, () => {
    const status = describeSpool({ ...well, ...state })
    expect(status.acknowledging).toBe(acknowledging)
    if (note) expect(status.note).toMatch(note)
    else expect(status.note).toBeUndefined()
  })
