import { setTimeout as delay } from 'node:timers/promises'
import { get } from './demo-api.ts'

const LOOK_MS = 1_000

interface Seen {
  readonly id: string
  readonly state: string
  readonly machine: string
  readonly severity?: string
}
interface Alarm extends Seen {
  readonly failureMode: string
  readonly signal: string | null
  readonly value: number | null
  readonly limit: number | null
  readonly unit: string | null
  readonly since: string
  readonly clearedAt: string | null
}
interface Work extends Seen {
  readonly key: string
  readonly priority: string
  readonly title: { readonly en: string }
  readonly reason: { readonly en: string }
  readonly job?: string
}
interface Inspection extends Seen {
  readonly tasks: readonly string[]
  readonly remindedAt: string | null
  readonly dueHours: number | null
  readonly dueM3: number | null
  readonly dueAt: string | null
}

/** Looks at the API and tells what is new, until it is stopped. */
export async function tellStory(api: string, clock: { now: number }, signal: AbortSignal): Promise<void> {
  const told = new Set<string>()
  const tell = (key: string, line: string) => {
    if (told.has(key)) return
    told.add(key)
    console.log(`${new Date(clock.now).toISOString().slice(11, 19)}  ${line}`)
  }
  let toldTimeAt = 0
  while (!signal.aborted) {
    const [alarms, jobs, tickets, inspections] = await Promise.all([
      get<{ items: Alarm[] }>(api, 'alarms'),
      get<{ items: Work[] }>(api, 'jobs'),
      get<{ items: Work[] }>(api, 'tickets'),
      get<{ items: Inspection[] }>(api, 'inspections?performer=service'),
    ])
    for (const alarm of alarms.items.reverse()) {
      if (alarm.clearedAt !== null) {
        tell(
          `${alarm.id} ${alarm.clearedAt}`,
          `CLEARED     ${alarm.machine}  ${alarm.failureMode} since ${alarm.clearedAt.slice(11, 16)}   ${api}/api/v1/alarms/${alarm.id}`,
        )
        continue
      }
      const value =
        alarm.signal === null
          ? ''
          : `: ${alarm.signal} ${shown(alarm.value)} against a limit of ${shown(alarm.limit)} ${alarm.unit ?? ''}`
      tell(
        `${alarm.id} ${alarm.severity} ${alarm.since}`,
        `ALARM       ${alarm.machine}  ${alarm.severity} ${alarm.failureMode}${value}   ${api}/api/v1/alarms/${alarm.id}`,
      )
    }
    for (const job of jobs.items.reverse())
      tell(
        `${job.id} ${job.priority}`,
        `JOB         ${job.machine}  ${job.priority} "${job.title.en}" goes onto the queue`,
      )
    for (const ticket of tickets.items.reverse())
      tell(
        `${ticket.id} ${ticket.priority}`,
        `TICKET      ${ticket.machine}  ${ticket.id} ${ticket.priority} is open at the service desk: ${ticket.reason.en}   ${api}/api/v1/tickets/${ticket.id}`,
      )
    for (const inspection of inspections.items.reverse()) {
      if (!inspection.remindedAt) continue
      tell(
        inspection.id,
        `INSPECTION  ${inspection.machine}  ${inspection.tasks.join(', ')} due ${dueText(inspection)}: reminder on the queue   ${api}/api/v1/inspections`,
      )
    }
    if (Date.now() - toldTimeAt > 30_000) {
      toldTimeAt = Date.now()
      await tellTime(api, clock)
    }
    await delay(LOOK_MS, undefined, { signal }).catch(() => {})
  }
}

async function tellTime(api: string, clock: { now: number }): Promise<void> {
  const text = await (await fetch(`${api}/metrics`)).text()
  const count = (name: string) => new RegExp(`^outrigger_${name} (\\S+)`, 'm').exec(text)?.[1] ?? '?'
  const stored = count('reading_sets_total\\{outcome="stored"\\}')
  console.log(
    `${new Date(clock.now).toISOString().slice(11, 19)}  ${count('reading_sets_received_total')} reading sets received, ${stored} stored`,
  )
}

function dueText({ dueHours, dueM3, dueAt }: Inspection): string {
  if (dueHours !== null) return `at ${shown(dueHours)} h`
  if (dueM3 !== null) return `at ${shown(dueM3)} m³`
  return `on ${dueAt?.slice(0, 10)}`
}

function shown(value: number | null): string {
  return value === null ? '–' : String(Math.round(value * 10) / 10)
}
