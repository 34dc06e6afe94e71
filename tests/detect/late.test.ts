import { describe, expect, test } from 'vitest'
import { judgeAgain, lateLead, lateSignals } from '../../src/detect/late.ts'
import { machineDetector } from '../../src/detect/machine-detector.ts'
import type { Episode, Transition } from '../../src/detect/transition.ts'
import type { ReadingSet } from '../../src/reading.ts'
import type { StoredReading } from '../../src/store/telemetry-store.ts'
import { context, every, hour, minute, minuteSummaries, oil, second, set, start } from './story.ts'

const readings = (sets: readonly ReadingSet[]): StoredReading[] =>
  sets.flatMap(({ machine, measuredAt, values }) =>
    [...values].map(([signal, value]) => ({ machine, signal, measuredAt, value })),
  )

/** What an alarm was, without when it was received. */
const short = ({ raised, worst, cleared }: Episode) => [raised.key, raised.at, worst.severity, cleared?.at ?? null]

function episodesOf(transitions: readonly Transition[]) {
  const open = new Map<string, { at: number; worst: string }>()
  const found: unknown[][] = []
  for (const { key, kind, at, severity } of transitions) {
    const episode = open.get(key)
    if (kind === 'raised') open.set(key, { at, worst: severity })
    if (episode && kind === 'severity' && severity > episode.worst) episode.worst = severity
    if (!episode || kind !== 'cleared') continue
    found.push([key, episode.at, episode.worst, at])
    open.delete(key)
  }
  for (const [key, { at, worst }] of open) found.push([key, at, worst, null])
  return found.sort((a, b) => Number(a[1]) - Number(b[1]) || String(a[0]).localeCompare(String(b[0])))
}

/** Repeatable numbers in [0, 1). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const shuffled = <T>(items: readonly T[], seed: number): T[] => {
  const next = random(seed)
  return items
    .map((item) => [next(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item)
}

const machine = context({ signals: oil })
const dead = { from: start, to: start + hour, receivedAt: start + hour + second }
/** 97 °C from minute 10 to 20. */
const hot = (at: number) => ({ oil_c: at >= start + 10 * minute && at < start + 20 * minute ? 97 : 80 })
const sent = (everyMs: number) => every(everyMs, start - 10 * minute, start + 70 * minute, hot)
const alarm = ['oil_c.high', start + 10.5 * minute, 'S3', start + 21 * minute]

describe('a dead zone judged afterwards holds the same alarm', () => {
  for (const { name, sets, expected = alarm } of [
    { name: 'sent every second', sets: sent(second) },
    { name: 'sent every minute', sets: sent(minute) },
    { name: 'newest first', sets: sent(10 * second).reverse() },
    { name: 'in any order', sets: shuffled(sent(10 * second), 7) },
    {
      name: 'as summaries',
      sets: minuteSummaries(start - 10 * minute, start + 70 * minute, hot),
      expected: [...alarm.slice(0, 3), start + 22 * minute],
    },
  ]) {
    test(name, () => {
      expect(judgeAgain(machine, readings(sets), dead).map(short)).toEqual([expected])
    })
  }
})

test('it says when it was received, and how far it looked', () => {
  const [episode] = judgeAgain(machine, readings(sent(minute)), dead)
  expect(episode?.raised.receivedAt).toBe(dead.receivedAt)
  expect(episode?.until).toBe(start + 70 * minute)
})

test('what lasts to the end has not cleared', () => {
  const sets = every(minute, start - hour, start + 15 * minute, hot)
  expect(judgeAgain(machine, readings(sets), dead).map(short)).toEqual([
    ['oil_c.high', start + 10.5 * minute, 'S3', null],
  ])
})

test('what lies outside of the span is left out', () => {
  expect(judgeAgain(machine, readings(sent(minute)), { ...dead, from: start + 30 * minute })).toEqual([])
})

test('no readings, no episodes', () => expect(judgeAgain(machine, [], dead)).toEqual([]))

test('what is normal for the machine is known from its detector, and is not learned from the past', () => {
  const own = context({
    signals: {
      bar: {
        rules: { rise: { direction: 'high', measure: { baselineFactor: true }, warn: { limit: 1.5 }, deadband: 0.1 } },
      },
    },
  })
  const detector = machineDetector(own)
  const normal = every(minute, start - 60 * hour, start, () => ({ bar: 100, mode: 2 }))
  detector.observe(normal)
  const late = every(minute, start, start + hour, () => ({ bar: 170, mode: 2 }))
  expect(judgeAgain(own, readings(late), dead)).toEqual([])
  expect(judgeAgain({ ...own, state: detector.state() }, readings(late), dead)).toMatchObject([
    { raised: { value: 1.7 } },
  ])
})

test('the lead is as long as the longest window and its delays, within bounds', () => {
  const window = (seconds: number) =>
    lateLead(
      context({
        signals: {
          x: {
            rules: {
              r: {
                direction: 'high',
                measure: { stat: 'mean', windowSeconds: seconds },
                warn: { limit: 1, onDelaySeconds: 60 },
                deadband: 0,
              },
            },
          },
        },
      }),
    )
  expect([window(60), window(3600), window(86_400)]).toEqual([15 * minute, 62 * minute, 2 * hour])
})

test('only signals that some rule needs have to be read', () => {
  const own = context({
    signals: {
      rpm: {},
      load: {},
      idle_h: {},
      air: {},
      x: {
        rules: {
          r: {
            direction: 'high',
            measure: { difference: 'air' },
            warn: { limit: 1 },
            deadband: 0,
            when: [{ signal: 'load', above: 5 }],
          },
        },
      },
    },
    modeFrom: [{ mode: 'idle', when: [{ signal: 'rpm', above: 1 }] }],
  })
  expect(lateSignals(own).sort()).toEqual(['air', 'load', 'mode', 'rpm', 'x'])
})

describe('random stories, live in order and judged again in any order, are the same alarms', () => {
  const own = context({
    signals: {
      ...oil,
      rpm: {},
      kpa: {
        rules: {
          low: {
            direction: 'low',
            warn: { limit: 200, onDelaySeconds: 20 },
            deadband: 30,
            when: [{ signal: 'rpm', above: 1400 }],
          },
        },
      },
      bar: {
        rules: {
          mean: {
            direction: 'high',
            measure: { stat: 'mean', windowSeconds: 120 },
            warn: { limit: 250 },
            deadband: 10,
            modes: ['working'],
          },
        },
      },
    },
  })
  for (let seed = 1; seed <= 12; seed++) {
    test(`seed ${seed}`, () => {
      const next = random(seed)
      const everyMs = ([5, 10, 30, 60][seed % 4] as number) * second
      let oilC = 80
      let rpm = 1500
      let bar = 200
      let mode = 2
      const sets: ReadingSet[] = []
      for (let at = start - hour; at < start + 3 * hour; at += everyMs) {
        oilC = Math.min(110, Math.max(60, oilC + (next() - 0.5) * 8))
        bar = Math.min(350, Math.max(100, bar + (next() - 0.5) * 60))
        if (next() < 0.05) rpm = next() < 0.3 ? 800 : 1700
        if (next() < 0.02) mode = next() < 0.3 ? 1 : 2
        if (next() < 0.01) at += Math.floor(next() * 20) * minute
        sets.push(set(at, { oil_c: oilC, rpm, kpa: 150 + next() * 120, bar, mode }))
      }
      const live = episodesOf(machineDetector(own).observe(sets))
      const again = judgeAgain(own, readings(shuffled(sets, seed)), {
        from: 0,
        to: start + 24 * hour,
        receivedAt: start + 24 * hour,
      })
      expect(live.length).toBeGreaterThan(0)
      expect(again.map(short)).toEqual(live)
    })
  }
})
