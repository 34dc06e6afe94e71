import { expect, test } from 'vitest'
import { openNewness } from '../../src/acquire/newness.ts'
import type { ReadingSet, SignalValue } from '../../src/reading.ts'
import type { ReadingIdentity, StoredReading, StoredSet } from '../../src/store/telemetry-store.ts'
import { seeded } from './seeded.ts'

function set(measuredAt: number, values: Record<string, SignalValue>, more: Partial<ReadingSet> = {}): ReadingSet {
  return {
    device: 'm',
    machine: 'm',
    measuredAt,
    receivedAt: 0,
    seq: undefined,
    values: new Map(Object.entries(values)),
    ...more,
  }
}

/** The two questions of newness to a store, answered by what was appended; counts how many identities were looked up. */
function shelf() {
  const stored = new Map<string, StoredReading>()
  const keyOf = ({ machine, signal, measuredAt }: ReadingIdentity) => JSON.stringify([machine, signal, measuredAt])
  return {
    asked: 0,
    finds: 0,
    failing: false,
    async find(identities: readonly ReadingIdentity[]) {
      if (this.failing) throw new Error('the store is away')
      this.asked += identities.length
      this.finds++
      return identities.flatMap((identity) => stored.get(keyOf(identity)) ?? [])
    },
    async highWaterMarks() {
      const newest = new Map<string, StoredReading>()
      for (const reading of stored.values()) {
        const key = JSON.stringify([reading.machine, reading.signal])
        if (reading.measuredAt > (newest.get(key)?.measuredAt ?? -1)) newest.set(key, reading)
      }
      return [...newest.values()]
    },
    put({ append, replacing }: { append: readonly StoredSet[]; replacing: readonly StoredReading[] }) {
      for (const reading of append.flatMap(readingsOf)) {
        if (stored.has(keyOf(reading))) throw new Error('an identity was appended twice')
        stored.set(keyOf(reading), reading)
      }
      for (const reading of replacing) {
        if (!stored.has(keyOf(reading))) throw new Error('what is replaced is not there')
        stored.set(keyOf(reading), reading)
      }
    },
    values: () =>
      [...stored.values()]
        .map(({ signal, measuredAt, value }) => `${signal}@${measuredAt}=${JSON.stringify(value)}`)
        .sort(),
  }
}

function readingsOf({ machine, measuredAt, values }: StoredSet): StoredReading[] {
  return [...values].map(([signal, value]) => ({ machine, measuredAt, signal, value }))
}

async function opened() {
  const store = shelf()
  const newness = await openNewness(store)
  const take = async (...sets: ReadingSet[]) => {
    const batch = await newness.judge(sets)
    store.put(batch)
    batch.commit()
    return { outcomes: batch.sets.map(({ outcome }) => outcome), conflicts: batch.conflicts, batch }
  }
  return { store, newness, take }
}

test('what is newer than anything known is new without a look into the store', async () => {
  const { store, take } = await opened()
  expect((await take(set(1, { a: 1, b: 2 }), set(2, { a: 1 }), set(2, { b: 1 }))).outcomes).toEqual([
    'stored',
    'stored',
    'stored',
  ])
  expect((await take(set(3, { a: 1 }))).outcomes).toEqual(['stored'])
  expect(store.finds).toBe(0)
})

test('a redelivery is a duplicate, in the same batch, in a later one and after a restart', async () => {
  const { store, take } = await opened()
  expect((await take(set(1, { a: 1 }), set(1, { a: 1 }))).outcomes).toEqual(['stored', 'duplicate'])
  expect((await take(set(1, { a: 1 }))).outcomes).toEqual(['duplicate'])
  const again = await openNewness(store)
  const batch = await again.judge([set(1, { a: 1 }), set(2, { a: 1 })])
  expect(batch.sets.map(({ outcome }) => outcome)).toEqual(['duplicate', 'stored'])
  expect(batch.append.flatMap(readingsOf)).toEqual([{ machine: 'm', signal: 'a', measuredAt: 2, value: 1 }])
})

test('a set is stored when any of its values is new, and only that one goes on', async () => {
  const { take } = await opened()
  await take(set(5, { a: 1 }))
  const { batch } = await take(set(5, { a: 1, b: 2 }))
  expect(batch.sets[0]?.outcome).toBe('stored')
  expect([...(batch.sets[0]?.newValues ?? [])]).toEqual([['b', 2]])
})

test('what is late but unknown is stored', async () => {
  const { store, take } = await opened()
  await take(set(1, { b: 1 }), set(10, { a: 1 }))
  expect((await take(set(4, { a: 2 }), set(3, { a: 3 }), set(4, { a: 2 }))).outcomes).toEqual([
    'stored',
    'stored',
    'duplicate',
  ])
  expect(store.values()).toEqual(['a@10=1', 'a@3=3', 'a@4=2', 'b@1=1'])
  expect(store.finds).toBe(1)
})

test('a backlog newest first, beyond what is known, needs no look into the store', async () => {
  const { store, take } = await opened()
  await take(set(1, { a: 0 }))
  const backlog = Array.from({ length: 100 }, (_, i) => set(200 - i, { a: i }))
  const { outcomes, batch } = await take(...backlog)
  expect(new Set(outcomes)).toEqual(new Set(['stored']))
  expect(batch.sets.map((item) => item.set)).toEqual(backlog)
  expect(store.asked).toBe(0)
})

for (const { name, before, batch, values, outcomes, conflicts } of [
  { name: 'against the store', before: [1], batch: [2], values: ['a@5=2'], outcomes: ['stored'], conflicts: 1 },
  {
    name: 'within the batch',
    before: [],
    batch: [1, 2],
    values: ['a@5=2'],
    outcomes: ['stored', 'stored'],
    conflicts: 1,
  },
  {
    name: 'twice against the store',
    before: [1],
    batch: [2, 3],
    values: ['a@5=3'],
    outcomes: ['stored', 'stored'],
    conflicts: 2,
  },
  {
    name: 'there and back',
    before: [1],
    batch: [2, 1],
    values: ['a@5=1'],
    outcomes: ['stored', 'stored'],
    conflicts: 2,
  },
  {
    name: 'the same again after it',
    before: [1],
    batch: [2, 2],
    values: ['a@5=2'],
    outcomes: ['stored', 'duplicate'],
    conflicts: 1,
  },
]) {
  test(`two values under one identity, the later wins: ${name}`, async () => {
    const { store, take } = await opened()
    for (const value of before) await take(set(5, { a: value }))
    const result = await take(...batch.map((value) => set(5, { a: value })))
    expect(result.outcomes).toEqual(outcomes)
    expect(result.conflicts).toBe(conflicts)
    expect(store.values()).toEqual(values)
  })
}

test('sets of one time keep the order in which they were received, however the batch is sorted', async () => {
  const { store, take } = await opened()
  await take(set(1, { a: 0 }), set(50, { a: 0 }))
  const machines = ['m', 'n', 'o']
  const mixed = Array.from({ length: 300 }, (_, i) =>
    set(i % 7 === 0 ? 60 + i : ([10, 20, 50][i % 3] as number), { a: i }, { machine: machines[(i % 5) % 3] as string }),
  )
  const { batch } = await take(...mixed)
  expect(batch.sets.map((item) => item.set)).toEqual(mixed)
  const last = new Map(mixed.map(({ machine, measuredAt, values }) => [`${machine}@${measuredAt}`, values.get('a')]))
  const stored = await store.find(mixed.map(({ machine, measuredAt }) => ({ machine, signal: 'a', measuredAt })))
  for (const { machine, measuredAt, value } of stored) expect(value).toBe(last.get(`${machine}@${measuredAt}`))
})

test('a summary is the same only with all of its four numbers', async () => {
  const { take } = await opened()
  const value = { min: 1, mean: 2, max: 3, n: 4 }
  await take(set(1, { a: value }))
  expect((await take(set(1, { a: { ...value } }))).outcomes).toEqual(['duplicate'])
  expect((await take(set(1, { a: { ...value, n: 5 } }))).outcomes).toEqual(['stored'])
  expect((await take(set(1, { a: 2 }))).outcomes).toEqual(['stored'])
})

test('machines and signals do not get mixed up, whatever their names', async () => {
  const { take } = await opened()
  await take(set(1, { '1/a': 1 }, { machine: 'm' }))
  expect(
    (await take(set(1, { a: 1 }, { machine: 'm.1' }), set(1, { __proto__x: 1, constructor: 1 }))).outcomes,
  ).toEqual(['stored', 'stored'])
})

test('a batch that the store did not take is new when it comes again', async () => {
  const { newness } = await opened()
  const first = await newness.judge([set(1, { a: 1 })])
  await expect(newness.judge([])).rejects.toThrow('batch before')
  first.rollback()
  const second = await newness.judge([set(1, { a: 1 })])
  expect(second.sets[0]?.outcome).toBe('stored')
})

test('a store that cannot be asked changes nothing', async () => {
  const { store, newness, take } = await opened()
  await take(set(1, { a: 1 }), set(5, { a: 1 }))
  store.failing = true
  await expect(newness.judge([set(4, { a: 1 })])).rejects.toThrow('away')
  store.failing = false
  expect((await take(set(4, { a: 1 }))).outcomes).toEqual(['stored'])
})

const second = 1_000
const hour = 3_600_000

test('backlog of a dead zone needs no look into the store, newest first and between what is live', async () => {
  const { store, take } = await opened()
  await take(set(0, { a: 1, b: 1 }))
  await take(set(2 * hour, { a: 1, b: 1 }))
  for (let at = 2 * hour - 10 * second, live = 2 * hour; at > 0; at -= 10 * second) {
    live += 10 * second
    const { outcomes } = await take(set(at, { a: at, b: 1 }), set(live, { a: 1 }))
    expect(outcomes).toEqual(['stored', 'stored'])
  }
  expect(store.asked).toBeLessThan(12) // the last minute of it, where the gap has become as short as any
  const asked = store.asked
  expect((await take(set(hour, { a: hour, b: 1 }))).outcomes).toEqual(['duplicate'])
  expect(store.asked).toBe(asked + 2)
})

test('what came into the store by another way is looked for where a gap was known', async () => {
  const { store, newness, take } = await opened()
  await take(set(0, { a: 1 }), set(2 * hour, { a: 1 }))
  store.put({ append: [{ machine: 'm', measuredAt: hour, values: new Map([['a', 1]]) }], replacing: [] })
  newness.raise([{ machine: 'm', signal: 'a', measuredAt: 2 * hour }])
  expect((await take(set(hour, { a: 1 }))).outcomes).toEqual(['duplicate'])
})

test('whatever comes in whatever order, again, over restarts and failures: newness is what a plain list says', async () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const random = seeded(seed)
    const upTo = (most: number) => Math.floor(random() * most)
    const store = shelf()
    const model = new Map<string, SignalValue>()
    let newness = await openNewness(store)
    let clock = 100 * hour
    for (let round = 0; round < 150; round++) {
      clock += [0, 10 * second, 10 * second, hour][upTo(4)] as number
      const sets = Array.from({ length: 1 + upTo(8) }, () => {
        const age = [0, upTo(5) * 10 * second, upTo(400) * 10 * second, upTo(100) * hour][upTo(4)] as number
        const values = Object.fromEntries(['a', 'b', 'c'].slice(0, 1 + upTo(3)).map((signal) => [signal, upTo(3)]))
        return set(clock - age, values, { machine: ['m', 'n'][upTo(2)] as string })
      })
      const batch = await newness.judge(sets)
      const chance = random()
      if (chance < 0.1) {
        batch.rollback()
        if (chance < 0.05) {
          store.put(batch) // it was stored, and nobody was told
          takeInto(model, sets)
        }
        newness.raise(await store.highWaterMarks())
        continue
      }
      expect(
        batch.sets.map(({ outcome }) => outcome),
        `seed ${seed}, round ${round}`,
      ).toEqual(takeInto(model, sets))
      store.put(batch)
      batch.commit()
      if (chance > 0.97) newness = await openNewness(store)
    }
    expect(store.values().length).toBe(model.size)
    expect(store.values()).toEqual(
      [...model].map(([key, value]) => `${key.split('/')[1]}=${JSON.stringify(value)}`).sort(),
    )
  }
})

/** A plain list of everything: a set is new when it changes it. */
function takeInto(model: Map<string, SignalValue>, sets: readonly ReadingSet[]): string[] {
  const inOrder = [...sets].sort((a, b) => a.measuredAt - b.measuredAt)
  const outcomes = new Map(
    inOrder.map((item) => {
      let isNew = false
      for (const [signal, value] of item.values) {
        const key = `${item.machine}/${signal}@${item.measuredAt}`
        if (model.get(key) !== value) isNew = true
        model.set(key, value)
      }
      return [item, isNew ? 'stored' : 'duplicate']
    }),
  )
  return sets.map((item) => outcomes.get(item) as string)
}

test('marks that came by another way are taken over', async () => {
  const { store, newness, take } = await opened()
  store.put({ append: [{ machine: 'm', measuredAt: 9, values: new Map([['a', 1]]) }], replacing: [] })
  newness.raise([{ machine: 'm', signal: 'a', measuredAt: 9 }])
  expect((await take(set(9, { a: 1 }))).outcomes).toEqual(['duplicate'])
})

test('gaps, late numbers, repeats and a device that starts again', async () => {
  const { newness, take } = await opened()
  let at = 0
  const seq = (...numbers: number[]) => numbers.map((number) => set(++at, { a: 1 }, { seq: number }))
  await take(...seq(7, 8, 12))
  expect(newness.sequence()).toEqual({ skipped: 3, filled: 0, repeated: 0 })
  await take(set(0, { b: 1 }, { seq: 10 }), set(2, { a: 1 }, { seq: 8 }))
  expect(newness.sequence()).toEqual({ skipped: 3, filled: 1, repeated: 1 })
  await take(...seq(0, 1, 2))
  expect(newness.sequence()).toEqual({ skipped: 3, filled: 1, repeated: 1 })
})

test('300,000 signals of 10,000 machines are told apart', async () => {
  const marks = function* () {
    for (let m = 0; m < 10_000; m++)
      for (let s = 0; s < 30; s++) yield { machine: `m-${m}`, signal: `s-${s}`, measuredAt: m }
  }
  const newness = await openNewness({ find: async () => [], highWaterMarks: async () => [...marks()] })
  const values = { 's-29': 1 }
  const batch = await newness.judge([
    set(9_999, values, { machine: 'm-9999' }),
    set(9_999, values, { machine: 'm-9998' }),
  ])
  expect(batch.append.flatMap(readingsOf)).toHaveLength(2) // the store says that it has neither
  batch.rollback()
})
