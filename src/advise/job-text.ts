import type { Profile } from '../catalogue/catalogue.ts'
import type { Measure, Text } from '../catalogue/schema.ts'
import type { Evidence, JobPart } from './maintenance-job.ts'

/** What a job says to people, and the parts it needs. */
export interface JobText {
  readonly component: Text
  readonly title: Text
  readonly action: Text
  readonly parts: readonly JobPart[]
}

/**
 * Words of a job from the catalogue; a limit without a failure mode and a fault code get words of their own.
 *
 * @param failureMode code of the catalogue, `limit.<signal>.<high|low>` or `fault.<spn>.<fmi>`; one that the profile
 * does not know (the machine has another type since) is named by its code
 */
export function jobText(profile: Profile, component: string, failureMode: string): JobText {
  const part = profile.components.get(component) ?? { en: sentence(component), zh: component }
  const mode = profile.failureModes.get(failureMode)
  if (mode) return { component: part, title: mode.name, action: mode.action, parts: mode.parts }

  const [kind, first = '', second = ''] = failureMode.split('.')
  if (kind === 'limit') return { component: part, ...limitText(profile, part, first, second), parts: [] }
  if (kind === 'fault')
    return { component: part, ...faultText(profile, part, Number(first), Number(second)), parts: [] }
  return {
    component: part,
    title: { en: `${failureMode}: ${part.en}`, zh: `${failureMode}：${part.zh}` },
    action: inspect(part),
    parts: [],
  }
}

function limitText(profile: Profile, part: Text, signal: string, direction: string): { title: Text; action: Text } {
  const name = signalName(profile, signal)
  const low = direction === 'low'
  return {
    title: {
      en: `${name.en} ${low ? 'below' : 'above'} the limit`,
      zh: `${name.zh}${low ? '低于' : '高于'}限值`,
    },
    action: {
      en: `Find the cause of the ${inSentence(name.en)} being too ${low ? 'low' : 'high'}: check the ${inSentence(part.en)} and the sensor`,
      zh: `查明${name.zh}过${low ? '低' : '高'}的原因：检查${part.zh}和传感器`,
    },
  }
}

function faultText(profile: Profile, part: Text, spn: number, fmi: number): { title: Text; action: Text } {
  const entry =
    profile.faults.find((fault) => fault.spn === spn && fault.fmi === fmi) ??
    profile.faults.find((fault) => fault.spn === spn && fault.fmi === undefined)
  const code: Text = { en: `fault code SPN ${spn} FMI ${fmi}`, zh: `故障码 SPN ${spn} FMI ${fmi}` }
  return {
    title: entry?.name
      ? { en: `${entry.name.en} (SPN ${spn} FMI ${fmi})`, zh: `${entry.name.zh}（SPN ${spn} FMI ${fmi}）` }
      : { en: `${part.en}: ${code.en}`, zh: `${part.zh}：${code.zh}` },
    action: {
      en: `Read out the controller and follow its manual for ${code.en}; check wiring and connectors`,
      zh: `读取控制器，按其手册处理${code.zh}；检查线束和插接件`,
    },
  }
}

function inspect(part: Text): Text {
  return { en: `Check the ${inSentence(part.en)}`, zh: `检查${part.zh}` }
}

/** What the evidence says, one clause for each: `Hydraulic oil temperature 97.0 °C above 90 °C since 2026-07-01 10:02 UTC`. */
export function reasonText(profile: Profile, evidence: readonly Evidence[]): Text {
  const clauses = evidence.map((item) => clause(profile, item))
  return { en: clauses.map(({ en }) => en).join('; '), zh: clauses.map(({ zh }) => zh).join('；') }
}

function clause(profile: Profile, { signal, condition, rule, value, limit, unit, since }: Evidence): Text {
  const when = `${since.slice(0, 10)} ${since.slice(11, 16)} UTC`
  if (signal === null) return wordsOf(condition, when)

  const name = measuredName(profile, signal, profile.rules.get(rule)?.measure)
  const low = condition.endsWith('.low')
  const measured = value === null ? '' : ` ${quantity(value, unit)}`
  const than: Text =
    limit === null
      ? { en: low ? 'too low' : 'too high', zh: low ? '过低' : '过高' }
      : {
          en: `${low ? 'below' : 'above'} ${quantity(limit, unit, 'short')}`,
          zh: `${low ? '低于' : '高于'} ${quantity(limit, unit, 'short')}`,
        }
  return { en: `${name.en}${measured} ${than.en} since ${when}`, zh: `${name.zh}${measured}，自 ${when} 起${than.zh}` }
}

function wordsOf(condition: string, when: string): Text {
  const [kind, , spn, fmi] = condition.split('.')
  if (kind !== 'fault') return { en: `No data since ${when}`, zh: `自 ${when} 起无数据` }
  return {
    en: `Fault code SPN ${spn} FMI ${fmi} active since ${when}`,
    zh: `故障码 SPN ${spn} FMI ${fmi}，自 ${when} 起存在`,
  }
}

/** The signal with what is made of it before it is compared: `Boom pressure (rise per hour)`. */
function measuredName(profile: Profile, signal: string, measure: Measure | undefined): Text {
  const name = signalName(profile, signal)
  const steps = measure ? [...statistic(measure), ...comparison(profile, measure)] : []
  if (steps.length === 0) return name
  return {
    en: `${name.en} (${steps.map(({ en }) => en).join(', ')})`,
    zh: `${name.zh}（${steps.map(({ zh }) => zh).join('，')}）`,
  }
}

const statistics: Readonly<Record<NonNullable<Measure['stat']>, Text>> = {
  mean: { en: 'mean', zh: '平均值' },
  max: { en: 'highest', zh: '最大值' },
  min: { en: 'lowest', zh: '最小值' },
  range: { en: 'range', zh: '波动幅度' },
  increase: { en: 'increase', zh: '增量' },
  slope_per_h: { en: 'rise per hour', zh: '每小时变化' },
  share_above: { en: 'share of time above its level', zh: '超标时间占比' },
}

function statistic({ stat }: Measure): Text[] {
  return stat ? [statistics[stat]] : []
}

function comparison(profile: Profile, measure: Measure): Text[] {
  const other = measure.difference ?? measure.signalPercent ?? measure.gapPercent
  if (other) {
    const name = signalName(profile, other)
    return [{ en: `against ${inSentence(name.en)}`, zh: `与${name.zh}相比` }]
  }
  if (measure.baselinePercent || measure.baselineFactor || measure.baselineDifference)
    return [{ en: 'against its own baseline', zh: '与自身基线相比' }]
  if (measure.ratedFraction) return [{ en: 'as part of its rating', zh: '与额定值之比' }]
  if (measure.startPercent) return [{ en: 'against the start of the window', zh: '与时段开始时相比' }]
  return []
}

function signalName(profile: Profile, signal: string): Text {
  return profile.signals.get(signal)?.name ?? { en: sentence(signal), zh: signal }
}

/** Three significant digits or so; `–` is the unit of a number without one. */
function quantity(value: number, unit: string | null, form: 'even' | 'short' = 'even'): string {
  const size = Math.abs(value)
  const decimals = size >= 100 ? 0 : size >= 1 || size === 0 ? 1 : 3
  const digits = form === 'even' ? value.toFixed(decimals) : String(Number(value.toFixed(3)))
  return unit === null || unit === '' || unit === '–' ? digits : `${digits} ${unit}`
}

function sentence(identifier: string): string {
  const words = identifier.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** A name in the middle of a sentence; what begins with two capitals (an abbreviation) stays. */
function inSentence(name: string): string {
  return /^[A-Z][a-z]/.test(name) ? name.charAt(0).toLowerCase() + name.slice(1) : name
}
