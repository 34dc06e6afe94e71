import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openLedger } from '../../../src/commands/bench/ledger.ts'
import { STEP_MS } from '../../../src/commands/bench/payload.ts'
import { countStored } from '../../../src/commands/bench/stored-count.ts'
import { openDuckdbStore } from '../../../src/store/duckdb-store.ts'

const startMs = Date.UTC(2026, 0, 1)
const signals = ['a', 'b']

/** @param numbers which messages of each machine are in the store */
async function storeOf(numbers: Record<string, number[]>, leftOut?: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-count-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'telemetry.duckdb')
  const store = await openDuckdbStore({ file })
  const values = new Map(signals.filter((name) => name !== leftOut).map((name) => [name, 1]))
  for (const [machine, of] of Object.entries(numbers))
    for (const number of of) await store.append([{ machine, measuredAt: startMs + number * STEP_MS, values }])
  await store.close()
  return file
}

/** @param loads what each load brought of each machine */
function ledgerOf(...loads: { sent: number[]; acknowledged: number[] }[]) {
  const ledger = openLedger()
  const rest = { seconds: 1, acknowledgedWithin: 0, latencies: new Uint32Array(), cpuSeconds: 0, lostConnections: [] }
  for (const load of loads) ledger.note(['m-1', 'm-2'], { ...rest, ...load })
  return ledger
}

for (const { name, stored, leftOut, loads, count } of [
  {
    name: 'everything is there once',
    stored: { 'm-1': [0, 1, 2], 'm-2': [0, 1] },
    loads: [{ sent: [3, 2], acknowledged: [3, 2] }],
    count: { messages: 5, lost: 0, duplicated: 0 },
  },
  {
    name: 'a message that was acknowledged and is not there is lost',
    stored: { 'm-1': [0, 2], 'm-2': [0, 1] },
    loads: [{ sent: [3, 2], acknowledged: [3, 2] }],
    count: { messages: 4, lost: 1, duplicated: 0 },
  },
  {
    name: 'one that was not acknowledged may be there, and stands for no other',
    stored: { 'm-1': [0, 2], 'm-2': [0, 1, 3] },
    loads: [
      { sent: [3, 2], acknowledged: [2, 2] },
      { sent: [0, 2], acknowledged: [0, 1] },
    ],
    count: { messages: 5, lost: 2, duplicated: 0 },
  },
  {
    name: 'a row too many is counted',
    stored: { 'm-1': [0, 1, 1], 'm-2': [] },
    loads: [{ sent: [2, 0], acknowledged: [2, 0] }],
    count: { messages: 2, lost: 0, duplicated: 2 },
  },
  {
    name: 'a message of which a signal is missing is lost',
    stored: { 'm-1': [0, 1], 'm-2': [] },
    leftOut: 'b',
    loads: [{ sent: [2, 0], acknowledged: [2, 0] }],
    count: { messages: 0, lost: 2, duplicated: 0 },
  },
])
  test(`the store counted: ${name}`, async () => {
    const acknowledged = ledgerOf(...loads).acknowledged()
    expect(await countStored(await storeOf(stored, leftOut), { acknowledged, signals, startMs })).toEqual(count)
  })

test('numbers go on where the machine stopped, whatever was acknowledged of them', () => {
  const ledger = ledgerOf({ sent: [3, 2], acknowledged: [2, 2] }, { sent: [4, 1], acknowledged: [4, 1] })
  expect([ledger.next('m-1'), ledger.next('m-2'), ledger.next('m-3')]).toEqual([7, 3, 0])
  expect(ledger.acknowledged()).toEqual([
    { machine: 'm-1', from: 0, to: 2 },
    { machine: 'm-1', from: 3, to: 7 },
    { machine: 'm-2', from: 0, to: 3 },
  ])
})
