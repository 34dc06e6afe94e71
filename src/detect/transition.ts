import type { Severity } from '../catalogue/schema.ts'

/** A change of one alarm condition of one machine, in event time. */
export interface Transition {
  readonly machine: string
  /** One alarm per machine and key: `<signal>.<high|low>`, `fault.<sa>.<spn>.<fmi>` or `no_data`. */
  readonly key: string
  readonly kind: 'raised' | 'severity' | 'cleared'
  /** Epoch ms, event time: when the on-delay was over, when the level changed, when the off-delay was over. */
  readonly at: number
  /** When the condition began to hold (before its on-delay). */
  readonly since: number
  /** When the reading that decided it was received. */
  readonly receivedAt: number
  /** What it is from then on; of `cleared` the highest that the condition reached. */
  readonly severity: Severity
  /** The rule's id, `<signal>.<key>`; `fault` and `no_data` for those. */
  readonly rule: string
  readonly signal: string | null
  readonly component: string
  /** Code of the catalogue, or `limit.<signal>.<high|low>`, or `fault.<spn>.<fmi>`. */
  readonly failureMode: string
  readonly value: number | null
  readonly limit: number | null
  readonly unit: string | null
}

/** An alarm condition found whole when old readings were judged again: raised, and cleared unless it lasts to the end of what was judged. */
export interface Episode {
  readonly raised: Transition
  /** The highest severity it reached, with the value and limit then. */
  readonly worst: Transition
  readonly cleared: Transition | null
  /** Epoch ms of the newest reading that took part: where it lasts to when it has not cleared. */
  readonly until: number
}
