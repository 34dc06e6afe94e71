import type { MachineType } from './faults.ts'
import type { Random } from './random.ts'

/** What a machine does for a while. */
export interface Activity {
  /** The mode, or for an excavator what its work cycle consists of; `off`: key off. */
  readonly kind: string
  readonly startMs: number
  readonly endMs: number
  /** How hard it works, 0 to 1; for cranes the load on the hook as a share of the rated one. */
  readonly effort: number
  /** Where a motion begins and ends, 0 to 1 of its travel. */
  readonly from: number
  readonly to: number
}

/** A day at the site: activities in order, in milliseconds since local midnight. */
type DayPlan = readonly Activity[]

const dayMs = 86_400_000

/** Collects the activities of one day one after the other. */
function day(startMinute: number) {
  const activities: Activity[] = []
  let at = Math.round(startMinute * 60) * 1000
  let position = 0.3
  return {
    activities,
    minute: () => at / 60_000,
    add(kind: string, minutes: number, effort = 0, to = position) {
      const endMs = at + Math.round(minutes * 60) * 1000
      activities.push({ kind, startMs: at, endMs, effort, from: position, to })
      position = to
      at = endMs
    },
    pause(minutes: number) {
      at += Math.round(minutes * 60) * 1000
    },
  }
}

/** Two sites a day; the mixers decide about bursts and waiting. */
function boomPumpDay(random: Random): DayPlan {
  const plan = day(random.between(375, 420))
  for (let site = 0; site < 2; site++) {
    plan.add('transit', random.between(25, 45), random.between(0.3, 0.5))
    plan.add('setup', random.between(15, 25), random.between(0.3, 0.5), random.next())
    const mixers = Math.round(random.between(8, 12))
    for (let mixer = 0; mixer < mixers; mixer++) {
      plan.add('pumping', random.between(6, 10), random.between(0.25, 0.8), random.next())
      if (random.chance(0.15)) plan.add('reverse', random.between(0.2, 0.6), 0.3)
      plan.add('standby', random.between(5, random.chance(0.2) ? 20 : 9))
    }
    plan.add('cleaning', random.between(30, 40), 0.2)
    plan.add('folding', random.between(8, 12), 0.3, 0.3)
  }
  plan.add('transit', random.between(25, 45), random.between(0.3, 0.5))
  return plan.activities
}

function excavatorDay(random: Random): DayPlan {
  const plan = day(random.between(405, 435))
  const breakerDay = random.chance(0.15)
  for (const untilMinute of [720, random.between(1050, 1100)]) {
    plan.add('idle', random.between(6, 12))
    while (plan.minute() < untilMinute) {
      if (random.chance(0.4)) plan.add('travelling', random.between(1, 3), random.between(0.5, 0.8))
      plan.add('digging', random.between(10, 25), random.between(0.55, 0.85), random.next())
      if (random.chance(0.25)) plan.add('levelling', random.between(4, 9), random.between(0.4, 0.6))
      if (breakerDay && random.chance(0.3)) plan.add('breaking', random.between(5, 12), random.between(0.6, 0.8))
      if (random.chance(0.1)) plan.add('lifting', random.between(2, 4), random.between(0.3, 0.5))
      plan.add('idle', random.between(3, 10))
    }
    plan.pause(random.between(50, 70))
  }
  return plan.activities
}

/** One load from the ground to its place and the hook back; times in minutes. */
function lift(plan: ReturnType<typeof day>, random: Random, pace: number) {
  const load = random.between(0.2, 0.8)
  plan.add('lifting', random.between(0.6, 1.2) * pace, load, random.between(0.6, 0.95))
  plan.add('slewing', random.between(0.4, 0.8) * pace, load, random.next())
  if (random.chance(0.5)) plan.add('luffing', random.between(0.3, 0.6) * pace, load, random.next())
  plan.add('holding', random.between(0.5, 1.5), load)
  plan.add('lifting', random.between(0.5, 0.9) * pace, load, random.between(0.1, 0.3))
  plan.add('slewing', random.between(0.4, 0.8) * pace, 0, random.next())
}

function craneDay(random: Random, hours: readonly [number, number]): DayPlan {
  const plan = day(random.between(400, 430))
  plan.add('transit', random.between(20, 40), 0.35)
  plan.add('rigging', random.between(25, 40), 0.2)
  const end = plan.minute() + random.between(...hours) * 60
  while (plan.minute() < end) {
    lift(plan, random, 1)
    plan.add('idle', random.between(1, random.chance(0.25) ? 12 : 4))
  }
  plan.add('rigging', random.between(20, 30), 0.2)
  plan.add('transit', random.between(20, 40), 0.35)
  return plan.activities
}

/** At night the jib swings freely in the wind. */
function towerCraneDay(random: Random): DayPlan {
  const plan = day(0)
  plan.add('weathervane', random.between(390, 420))
  const end = plan.minute() + random.between(9, 12) * 60
  while (plan.minute() < end) {
    lift(plan, random, 0.7)
    plan.add('idle', random.between(2, random.chance(0.2) ? 15 : 5))
  }
  plan.add('weathervane', 1440 - plan.minute())
  return plan.activities
}

const dayPlans: Record<MachineType, (random: Random) => DayPlan> = {
  boom_pump: boomPumpDay,
  mobile_crane: (random) => craneDay(random, [4, 7]),
  crawler_crane: (random) => craneDay(random, [7, 9]),
  tower_crane: towerCraneDay,
  excavator: excavatorDay,
}

const restDays: Record<MachineType, DayPlan> = {
  boom_pump: [],
  mobile_crane: [],
  crawler_crane: [],
  tower_crane: [{ kind: 'weathervane', startMs: 0, endMs: dayMs, effort: 0, from: 0.3, to: 0.3 }],
  excavator: [],
}

/** The first activity of a day in which the machine does what it was bought for. */
const core: Record<MachineType, string> = {
  boom_pump: 'pumping',
  mobile_crane: 'lifting',
  crawler_crane: 'lifting',
  tower_crane: 'lifting',
  excavator: 'digging',
}

export interface Duty {
  /** What the machine does at that moment; times must not go back from call to call. */
  at(ms: number): Activity
  /** Local time of the site: UTC plus this. */
  readonly siteOffsetMs: number
}

/**
 * The days of one machine: site days, one day of rest in seven, nights.
 *
 * @param phase `clock`: the site's clock is UTC plus `zoneHours`; `working`: the site's clock is set so that the
 *   simulation begins in the middle of the morning's work, whatever the time
 */
export function duty(
  type: MachineType,
  random: Random,
  { startMs, phase, zoneHours }: { startMs: number; phase: 'clock' | 'working'; zoneHours: number },
): Duty {
  const restDay = 1 + Math.floor(random.next() * 6) // never the first day
  const planOf = (index: number): DayPlan =>
    ((index % 7) + 7) % 7 === restDay ? restDays[type] : dayPlans[type](random.stream(`day ${index}`))

  let siteOffsetMs = zoneHours * 3_600_000
  if (phase === 'working') {
    const begin = planOf(0).find((activity) => activity.kind === core[type])?.startMs ?? 0
    siteOffsetMs = Math.floor(startMs / dayMs) * dayMs + begin - startMs
  }
  const firstDay = Math.floor((startMs + siteOffsetMs) / dayMs)

  let index = -1
  let plan: DayPlan = []
  let cursor = 0
  let midnightMs = 0
  let current: Activity = { kind: 'off', startMs: startMs, endMs: startMs, effort: 0, from: 0, to: 0 }

  return {
    siteOffsetMs,
    at(ms) {
      if (ms < current.endMs) return current
      const wanted = Math.floor((ms + siteOffsetMs) / dayMs) - firstDay
      if (wanted !== index) {
        index = wanted
        plan = planOf(index)
        midnightMs = (firstDay + index) * dayMs - siteOffsetMs
        cursor = 0
      }
      const sinceMidnight = ms - midnightMs
      while (cursor < plan.length && (plan[cursor] as Activity).endMs <= sinceMidnight) cursor++
      const next = plan[cursor]
      const off = { kind: 'off', startMs: ms, effort: 0, from: 0, to: 0 }
      if (!next) current = { ...off, endMs: midnightMs + dayMs }
      if (next && next.startMs > sinceMidnight) current = { ...off, endMs: midnightMs + next.startMs }
      if (next && next.startMs <= sinceMidnight)
        current = { ...next, startMs: midnightMs + next.startMs, endMs: midnightMs + next.endMs }
      return current
    },
  }
}
