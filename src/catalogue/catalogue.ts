import type { Condition, FailureMode, FaultEntry, Rule, ServiceCounter, Signal, Task, Text } from './schema.ts'

/** A rule of the catalogue under its id, `<signal>.<key>` (`hyd_oil_temp_c.high`). */
export interface NamedRule extends Rule {
  readonly id: string
  readonly signal: string
}

/** Everything that holds for machines of one type or model, inheritance resolved. */
export interface Profile {
  readonly type: string
  /** undefined: the type alone. */
  readonly model: string | undefined
  readonly name: Text
  readonly components: ReadonlyMap<string, Text>
  readonly modes: ReadonlyMap<string, { readonly code: number; readonly name: Text }>
  readonly modeFrom: readonly { readonly mode: string; readonly when: readonly Condition[] }[]
  readonly serviceCounter: ServiceCounter
  readonly parameters: ReadonlyMap<string, number>
  readonly signals: ReadonlyMap<string, Signal>
  readonly rules: ReadonlyMap<string, NamedRule>
  readonly failureModes: ReadonlyMap<string, FailureMode>
  readonly faults: readonly FaultEntry[]
  readonly tasks: ReadonlyMap<string, Task>
}

/** The type of machines that nobody has named yet, and of anything that no other type fits. */
export const GENERIC_TYPE = 'generic'

/** The machine catalogue: one product, one plan. */
export interface Catalogue {
  /** Concrete types by id, without the abstract ones. */
  readonly types: ReadonlyMap<string, Profile>
  /** Models by id. */
  readonly models: ReadonlyMap<string, Profile>
  /** Mode id → code and back, over all types. */
  readonly modeCodes: ReadonlyMap<string, number>
  readonly modeNames: ReadonlyMap<number, string>
  /** The model's profile where it is known and belongs to the type, else the type's, else the generic one. */
  profile(type: string, model?: string | null): Profile
}
