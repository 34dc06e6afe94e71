import type { FaultCode } from '../acquire/message.ts'
import type { Profile } from '../catalogue/catalogue.ts'
import { faultTreatment, isElectrical } from '../catalogue/fault-codes.ts'
import { type Severity, severityRank } from '../catalogue/schema.ts'
import { assembleEpisodes } from './episodes.ts'
import type { Episode, Transition } from './transition.ts'

/** Whose fault codes are watched, and by which list. */
export interface FaultContext {
  readonly machine: string
  readonly profile: Profile
}

/** One fault code as it was last reported. */
interface FaultRun {
  readonly spn: number
  readonly fmi: number
  /** Epoch ms of the first message of this spell. */
  readonly firstSeen: number
  /** Messages that listed it. */
  messages: number
  /** Since when messages leave it out, null while they list it. */
  absentSince: number | null
  raised: boolean
  severity: Severity
  worst: Severity
  /** Highest occurrence count. */
  count: number | null
}

/** JSON of the watch. */
export interface FaultState {
  readonly newest: number | null
  readonly codes: Record<string, FaultRun>
  /** The last messages, to judge them again with one that comes late. */
  readonly messages: readonly FaultMessage[]
}

interface FaultMessage {
  readonly at: number
  readonly codes: readonly FaultCode[]
}

export interface FaultWatch {
  newest(): number | undefined
  /** Whether any code is known that has not ended. */
  hasCodes(): boolean
  /** Whether something is only waiting for its time. */
  waits(): boolean
  message(at: number, receivedAt: number, codes: readonly FaultCode[]): Transition[]
  messageAgain(at: number, receivedAt: number, codes: readonly FaultCode[]): Episode[]
  /** The machine's time has got to `at` without another message: the last list still holds. */
  pass(at: number, receivedAt: number): Transition[]
  state(): FaultState
}

/** A code that is left out for less is still there. */
const ABSENT_MS = 60_000
/** An electrical fault has to last: plugs and harnesses flicker. */
const PERSISTS_MS = 60_000
const KEPT_MESSAGES = 32
const RED_LAMP = /red|stop|rsl/i

/** Turns the lists of active J1939 fault codes of one machine into alarms. */
export function faultWatch({ machine, profile }: FaultContext, state?: FaultState): FaultWatch {
  const codes = new Map(Object.entries(structuredClone(state?.codes ?? {})))
  let messages = [...(state?.messages ?? [])]
  let newest = state?.newest ?? null

  return {
    newest: () => newest ?? undefined,
    hasCodes: () => codes.size > 0,
    waits() {
      for (const { absentSince } of codes.values()) if (absentSince !== null) return true
      return false
    },

    message(at, receivedAt, listed) {
      newest = at
      // the same list again, as DM1 repeats it every second, adds nothing to what may be judged again
      const before = messages.at(-2)
      const last = messages.at(-1)
      const repeats = before && last && sameCodes(before.codes, last.codes) && sameCodes(last.codes, listed)
      messages = [...(repeats ? messages.slice(0, -1) : messages), { at, codes: listed }].slice(-KEPT_MESSAGES)
      return judge(at, receivedAt, listed)
    },

    messageAgain(at, receivedAt, listed) {
      const late = { at, codes: listed }
      messages = [...messages.filter((message) => message.at !== at), late]
        .sort((a, b) => a.at - b.at)
        .slice(-KEPT_MESSAGES)
      const watch = faultWatch({ machine, profile })
      const found = messages.flatMap((message) => watch.message(message.at, receivedAt, message.codes))
      return assembleEpisodes(found, { from: at, to: at, until: newest ?? at })
    },

    pass: (at, receivedAt) => endAbsent(at, receivedAt),
    state: () => ({ newest, codes: structuredClone(Object.fromEntries(codes)), messages: [...messages] }),
  }

  function judge(at: number, receivedAt: number, listed: readonly FaultCode[]): Transition[] {
    const out: Transition[] = []
    const seen = new Set<string>()
    for (const code of listed) {
      const treatment = faultTreatment(profile, code.spn, code.fmi)
      if (treatment.treat === 'ignore') continue
      const key = faultKey(code)
      seen.add(key)
      const usual: Severity = treatment.treat === 'watch' ? 'S1' : treatment.severity
      out.push(...see(key, code, RED_LAMP.test(code.lamp ?? '') ? 'S4' : usual, at, receivedAt))
    }
    for (const [key, run] of codes) if (!seen.has(key)) run.absentSince ??= at
    out.push(...endAbsent(at, receivedAt))
    return out
  }

  function see(key: string, code: FaultCode, severity: Severity, at: number, receivedAt: number): Transition[] {
    const ended = endAbsent(at, receivedAt, key)
    const run = codes.get(key) ?? begin(code, severity, at)
    codes.set(key, run)
    run.messages++
    run.absentSince = null
    if (code.oc !== undefined) run.count = Math.max(run.count ?? 0, code.oc)
    const before = run.severity
    run.severity = severity
    if (severityRank[severity] > severityRank[run.worst]) run.worst = severity
    if (run.raised) return before === severity ? ended : [...ended, transition(key, run, 'severity', at, receivedAt)]
    const persists = isElectrical(code.fmi)
    if (persists && (run.messages < 2 || at - run.firstSeen < PERSISTS_MS)) return ended
    run.raised = true
    return [...ended, transition(key, run, 'raised', run.firstSeen + (persists ? PERSISTS_MS : 0), receivedAt)]
  }

  function begin({ spn, fmi }: FaultCode, severity: Severity, at: number): FaultRun {
    const quiet = { messages: 0, absentSince: null, raised: false, count: null }
    return { spn, fmi, firstSeen: at, severity, worst: severity, ...quiet }
  }

  function endAbsent(at: number, receivedAt: number, only?: string): Transition[] {
    const out: Transition[] = []
    for (const [key, run] of codes) {
      const { absentSince } = run
      if (absentSince === null || at - absentSince < ABSENT_MS || (only !== undefined && key !== only)) continue
      codes.delete(key)
      if (run.raised) out.push(transition(key, run, 'cleared', absentSince + ABSENT_MS, receivedAt))
    }
    return out
  }

  function transition(
    key: string,
    run: FaultRun,
    kind: Transition['kind'],
    at: number,
    receivedAt: number,
  ): Transition {
    const { spn, fmi } = run
    const { component, failureMode } = faultTreatment(profile, spn, fmi)
    return {
      machine,
      key,
      kind,
      at,
      since: run.firstSeen,
      receivedAt,
      severity: kind === 'cleared' ? run.worst : run.severity,
      rule: 'fault',
      signal: null,
      component,
      failureMode: failureMode ?? `fault.${spn}.${fmi}`,
      value: run.count,
      limit: null,
      unit: null,
    }
  }
}

/** Source address, number and kind make a fault; a machine that gives no address is taken as its engine's, 0. */
function faultKey({ spn, fmi, sa = 0 }: FaultCode): string {
  return `fault.${sa}.${spn}.${fmi}`
}

function sameCodes(a: readonly FaultCode[], b: readonly FaultCode[]): boolean {
  const keys = (codes: readonly FaultCode[]) =>
    codes
      .map((code) => `${faultKey(code)} ${code.lamp ?? ''}`)
      .sort()
      .join()
  return keys(a) === keys(b)
}
