import type { Catalogue, NamedRule, Profile } from './catalogue.ts'
import type { Rule, Severity } from './schema.ts'

/** What of a rule can be changed at run time. */
export const RULE_PARAMETERS = [
  'warn.limit',
  'warn.onDelaySeconds',
  'critical.limit',
  'critical.onDelaySeconds',
  'deadband',
  'offDelaySeconds',
] as const

/** How far an override reaches, widest first: the narrower one wins. */
export const OVERRIDE_SCOPES = ['type', 'model', 'site', 'machine'] as const

/** One parameter of one rule, changed for all machines of a type, a model or a site, or for one machine. */
export interface RuleOverride {
  readonly scope: (typeof OVERRIDE_SCOPES)[number]
  readonly scopeId: string
  /** `<signal>.<key>` */
  readonly rule: string
  readonly parameter: (typeof RULE_PARAMETERS)[number]
  readonly value: number
  /** Epoch ms; from then on it no longer holds. */
  readonly expiresAt?: number | undefined
  readonly withdrawnAt?: number | undefined
}

/** What decides which overrides concern a machine. */
export interface OverriddenMachine {
  readonly id: string
  readonly type: string
  readonly model?: string | null | undefined
  readonly site?: string | null | undefined
}

/**
 * The rules of a machine with the overrides that hold for it: type, then model, then site, then machine; within a scope
 * the later of the list wins. What no override touches is the catalogue's own object.
 *
 * @param now epoch ms: overrides that have expired or were withdrawn by then are left out
 */
export function effectiveRules(
  profile: Profile,
  overrides: readonly RuleOverride[],
  machine: OverriddenMachine,
  now: number,
): ReadonlyMap<string, NamedRule> {
  const meant = overrides.filter((override) => concerns(override, machine) && holds(override, now))
  if (meant.length === 0) return profile.rules
  const rules = new Map(profile.rules)
  for (const scope of OVERRIDE_SCOPES) {
    for (const override of meant) {
      const rule = override.scope === scope && rules.get(override.rule)
      if (rule) rules.set(rule.id, changed(rule, override))
    }
  }
  return rules
}

function concerns({ scope, scopeId }: RuleOverride, machine: OverriddenMachine): boolean {
  return scopeId === (scope === 'machine' ? machine.id : machine[scope])
}

function holds({ expiresAt, withdrawnAt }: RuleOverride, now: number): boolean {
  return (expiresAt === undefined || now < expiresAt) && (withdrawnAt === undefined || now < withdrawnAt)
}

/** A level that the rule does not have stays without. */
function changed(rule: NamedRule, { parameter, value }: RuleOverride): NamedRule {
  switch (parameter) {
    case 'warn.limit':
      return rule.warn ? { ...rule, warn: { ...rule.warn, limit: value } } : rule
    case 'warn.onDelaySeconds':
      return rule.warn ? { ...rule, warn: { ...rule.warn, onDelaySeconds: value } } : rule
    case 'critical.limit':
      return rule.critical ? { ...rule, critical: { ...rule.critical, limit: value } } : rule
    case 'critical.onDelaySeconds':
      return rule.critical ? { ...rule, critical: { ...rule.critical, onDelaySeconds: value } } : rule
    case 'deadband':
      return { ...rule, deadband: value }
    case 'offDelaySeconds':
      return { ...rule, offDelaySeconds: value }
  }
}

/** How grave a level is: what it says itself, else its failure mode, else warn S2 and critical S3. */
export function ruleSeverity(profile: Pick<Profile, 'failureModes'>, rule: Rule, level: 'warn' | 'critical'): Severity {
  const own = rule[level]?.severity
  if (own) return own
  const mode = rule.failureMode === undefined ? undefined : profile.failureModes.get(rule.failureMode)
  return mode?.severity[level] ?? (level === 'warn' ? 'S2' : 'S3')
}

/** Where an override is meant to hold: `machine` says more where the scope alone does not (a single machine). */
export interface OverridePlace {
  readonly catalogue: Catalogue
  readonly machine?: OverriddenMachine
}

/**
 * Says why an override cannot be made, undefined where it can: no such scope or rule, a level that the rule does not
 * have, a value that cannot be, a warn limit on the wrong side of the critical one.
 *
 * @param others overrides made before; only those that hold at `now` count
 */
export function overrideFault(
  override: RuleOverride,
  {
    catalogue,
    machine,
    others,
    now,
  }: OverridePlace & { readonly others: readonly RuleOverride[]; readonly now: number },
): string | undefined {
  const { scope, scopeId, parameter, value } = override
  const profiles = profilesOf(override, { catalogue, machine })
  if (profiles.length === 0) return `there is no ${scope} '${scopeId}' in the catalogue`
  if (!Number.isFinite(value)) return `${parameter} has to be a finite number`
  if (!parameter.endsWith('.limit') && value < 0) return `${parameter} cannot be negative`
  const having = profiles.filter(({ rules }) => rules.has(override.rule))
  if (having.length === 0) return `${scope} '${scopeId}' has no rule '${override.rule}'`

  for (const profile of having) {
    const meant = {
      id: '',
      ...machine,
      type: profile.type,
      model: profile.model,
      [scope === 'machine' ? 'id' : scope]: scopeId,
    }
    const fault = faultOfResult(profile, override, effectiveRules(profile, [...others, override], meant, now))
    if (fault !== undefined) return fault
  }
  return undefined
}

function faultOfResult(
  profile: Profile,
  override: RuleOverride,
  rules: ReadonlyMap<string, NamedRule>,
): string | undefined {
  const rule = rules.get(override.rule)
  const [level] = override.parameter.split('.')
  if (!rule || ((level === 'warn' || level === 'critical') && !rule[level]))
    return `'${override.rule}' has no ${level} level`
  const { warn, critical, direction } = rule
  const range = rule.measure ? undefined : profile.signals.get(rule.signal)?.plausible
  if (range && override.parameter.endsWith('.limit') && (override.value < range[0] || override.value > range[1])) {
    return `${override.value} lies outside of what '${rule.signal}' can be, ${range[0]} to ${range[1]}`
  }
  if (!warn || !critical) return undefined
  const inside = direction === 'high' ? warn.limit < critical.limit : warn.limit > critical.limit
  if (inside) return undefined
  const side = direction === 'high' ? 'below' : 'above'
  return `the warn limit ${warn.limit} has to stay ${side} the critical one, ${critical.limit}`
}

/**
 * Whether an override changes when an S4 alarm comes or goes, for any machine it reaches: that is for administrators.
 * The clear level and the off-delay belong to every level of a rule.
 */
export function touchesSafety(override: RuleOverride, place: OverridePlace): boolean {
  const [part] = override.parameter.split('.')
  const levels = (['warn', 'critical'] as const).filter((level) => !override.parameter.includes('.') || level === part)
  return profilesOf(override, place).some((profile) => {
    const rule = profile.rules.get(override.rule)
    return rule !== undefined && levels.some((level) => rule[level] && ruleSeverity(profile, rule, level) === 'S4')
  })
}

function profilesOf({ scope, scopeId }: RuleOverride, { catalogue, machine }: OverridePlace): Profile[] {
  const all = [...catalogue.types.values(), ...catalogue.models.values()]
  if (scope === 'site') return all
  if (scope !== 'machine') return all.filter((profile) => profile[scope] === scopeId)
  return machine ? [catalogue.profile(machine.type, machine.model)] : []
}
