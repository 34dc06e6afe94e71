import type { Profile } from './catalogue.ts'
import type { FaultEntry, Severity, Text } from './schema.ts'

/** What a machine's fault code means for it. */
export interface FaultTreatment {
  readonly treat: FaultEntry['treat']
  readonly component: string
  /** Code of the catalogue; undefined: the fault speaks for itself (`fault.<spn>.<fmi>`). */
  readonly failureMode: string | undefined
  /** S1 unless it is to become a ticket. */
  readonly severity: Severity
  /** What is concerned; `fmiMeanings` says what is wrong with it. */
  readonly name: Text
}

interface Fmi {
  readonly severity: Severity
  readonly meaning: Text
}

/** SAE J1939-73, failure mode identifiers 0 to 31 with the severity they have where no list says otherwise. */
const FMIS: readonly Fmi[] = [
  { severity: 'S4', meaning: { en: 'above normal, most severe', zh: '高于正常值，最严重' } },
  { severity: 'S4', meaning: { en: 'below normal, most severe', zh: '低于正常值，最严重' } },
  { severity: 'S2', meaning: { en: 'erratic, intermittent or wrong data', zh: '数据不稳定、间断或错误' } },
  { severity: 'S2', meaning: { en: 'voltage high or shorted high', zh: '电压高或对高短路' } },
  { severity: 'S2', meaning: { en: 'voltage low or shorted low', zh: '电压低或对低短路' } },
  { severity: 'S2', meaning: { en: 'current low or open circuit', zh: '电流低或断路' } },
  { severity: 'S2', meaning: { en: 'current high or grounded circuit', zh: '电流高或接地' } },
  { severity: 'S3', meaning: { en: 'mechanical system not responding', zh: '机械系统无响应' } },
  { severity: 'S2', meaning: { en: 'abnormal frequency', zh: '频率异常' } },
  { severity: 'S2', meaning: { en: 'abnormal update rate', zh: '更新率异常' } },
  { severity: 'S2', meaning: { en: 'abnormal rate of change', zh: '变化率异常' } },
  { severity: 'S2', meaning: { en: 'root cause not known', zh: '原因不明' } },
  { severity: 'S3', meaning: { en: 'device or component bad', zh: '装置或部件损坏' } },
  { severity: 'S2', meaning: { en: 'out of calibration', zh: '超出标定' } },
  { severity: 'S2', meaning: { en: 'special instructions', zh: '特殊说明' } },
  { severity: 'S2', meaning: { en: 'above normal, least severe', zh: '高于正常值，轻微' } },
  { severity: 'S3', meaning: { en: 'above normal, moderately severe', zh: '高于正常值，中等' } },
  { severity: 'S2', meaning: { en: 'below normal, least severe', zh: '低于正常值，轻微' } },
  { severity: 'S3', meaning: { en: 'below normal, moderately severe', zh: '低于正常值，中等' } },
  { severity: 'S2', meaning: { en: 'received network data in error', zh: '接收的网络数据错误' } },
  { severity: 'S2', meaning: { en: 'drifted high', zh: '数据偏高漂移' } },
  { severity: 'S2', meaning: { en: 'drifted low', zh: '数据偏低漂移' } },
]
const CONDITION_EXISTS: Fmi = { severity: 'S2', meaning: { en: 'condition exists', zh: '状况存在' } }
const RESERVED: Fmi = { severity: 'S1', meaning: { en: 'reserved code', zh: '保留代码' } }

/** A loose plug comes and goes: these become an alarm only when they persist. */
const ELECTRICAL_FMIS = new Set([2, 3, 4, 5, 8, 9, 10, 19])

/** These accuse the sensor or its harness, not what it measures. */
const SENSOR_FMIS = new Set([...ELECTRICAL_FMIS, 6, 12, 13, 20, 21])
const SENSOR_FAULT = 'EN-09'

/** What a failure mode identifier (0–31) says, and how grave it is where no list says otherwise. */
export function fmiMeaning(fmi: number): Fmi {
  return fmi === 31 ? CONDITION_EXISTS : (FMIS[fmi] ?? RESERVED)
}

/** Whether a fault with this identifier counts only after it has persisted. */
export function isElectrical(fmi: number): boolean {
  return ELECTRICAL_FMIS.has(fmi)
}

/**
 * What becomes of a fault code on machines of a type or model.
 *
 * The list's entry for exactly this code goes before one for the whole SPN, the nearest file's before an inherited one.
 * A code in no list is a ticket where its identifier alone is S3 or S4, otherwise watched. The component is that of the
 * entry, else of the signal with that SPN, else of the failure mode.
 */
export function faultTreatment(profile: Profile, spn: number, fmi: number): FaultTreatment {
  const entries = profile.faults.filter((entry) => entry.spn === spn)
  const exact = entries.find((entry) => entry.fmi === fmi)
  const entry = exact ?? entries.find((one) => one.fmi === undefined)
  const signal = [...profile.signals.values()].find(({ j1939 }) => j1939?.spn === spn)
  const failureMode = failureModeOf(profile, fmi, entry, exact)
  const { severity } = fmiMeaning(fmi)
  const treat = entry?.treat ?? (severity >= 'S3' ? 'ticket' : 'watch')
  return {
    treat,
    component:
      entry?.component ?? signal?.component ?? profile.failureModes.get(failureMode ?? '')?.component ?? 'electrical',
    failureMode,
    severity: treat === 'ticket' ? (entry?.severity ?? severity) : 'S1',
    name: entry?.name ?? signal?.name ?? { en: `SPN ${spn}`, zh: `SPN ${spn}` },
  }
}

/** An entry for the whole SPN means what is measured: a broken wire to the coolant sensor is no clogged radiator. */
function failureModeOf(profile: Profile, fmi: number, entry?: FaultEntry, exact?: FaultEntry): string | undefined {
  if (exact) return exact.failureMode
  if (entry && SENSOR_FMIS.has(fmi) && profile.failureModes.has(SENSOR_FAULT)) return SENSOR_FAULT
  return entry?.failureMode
}
