import { expect, test } from 'vitest'
import { type Contender, fillComparison, judgeGenerator } from '../../../src/commands/bench/comparison.ts'
import { emptyFigures } from '../../../src/commands/bench/figures.ts'
import type { Slice } from '../../../src/commands/bench/run.ts'

function figuresOf(turns: Record<string, Partial<Slice>[]>, sustained?: number) {
  const run = { seconds: 1, window: 20, quick: false, stored: null, took_s: 0 }
  const figures = emptyFigures(run, 100, 1_000)
  const slice: Slice = {
    ...{ seconds: 1, acknowledgedWithin: 0, sent: [], acknowledged: [], latencies: new Uint32Array() },
    ...{ cpuSeconds: 0, lostConnections: [], messagesPerSecond: 0, generatorShare: 0.3, busiestThreadShare: 0.8 },
  }
  const slices = Object.entries(turns).map(
    ([key, of]) => [key as Contender['key'], of.map((one) => ({ ...slice, ...one }))] as const,
  )
  fillComparison(figures, new Map(slices), sustained)
  judgeGenerator(figures)
  return figures
}

const rates = (...messagesPerSecond: number[]) => messagesPerSecond.map((rate) => ({ messagesPerSecond: rate }))

test('ratios are those of the medians: one slow turn decides nothing', () => {
  const figures = figuresOf({ service: rates(50, 5, 60), aedes: rates(100, 100, 1), mosquitto: rates(80, 200, 70) })
  expect(figures).toMatchObject({ ratio_to_bare_broker: 0.5, ratio_to_mosquitto: 0.625, void: false })
})

test('turns that were faster than the service can sustain do not count as such', () =>
  expect(figuresOf({ service: rates(90), aedes: rates(100) }, 40)).toMatchObject({ ratio_to_bare_broker: 0.4 }))

test('a broker that is not there leaves its ratio open', () =>
  expect(figuresOf({ service: rates(90), aedes: rates(100) })).toMatchObject({
    ratio_to_bare_broker: 0.9,
    ratio_to_mosquitto: null,
  }))

for (const { name, generatorShare, busiestThreadShare, isVoid } of [
  {
    name: 'a generator that works all the time while the other side has time left',
    generatorShare: 0.96,
    busiestThreadShare: 0.7,
    isVoid: true,
  },
  {
    name: 'a generator that works all the time, as the other side does',
    generatorShare: 0.96,
    busiestThreadShare: 0.97,
    isVoid: false,
  },
  { name: 'a generator that waits', generatorShare: 0.6, busiestThreadShare: 0.7, isVoid: false },
])
  test(`void ratios: ${name}`, () => {
    const turn = { messagesPerSecond: 100, generatorShare, busiestThreadShare }
    const figures = figuresOf({ service: rates(90), mosquitto: [turn] })
    expect(figures.void).toBe(isVoid)
    expect(figures.void_reasons.join()).toContain(isVoid ? 'mosquitto: the generator was busy 96 %' : '')
  })
