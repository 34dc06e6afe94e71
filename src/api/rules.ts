import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Catalogue } from '../catalogue/catalogue.ts'
import { effectiveRules, OVERRIDE_SCOPES, RULE_PARAMETERS, ruleSeverity } from '../catalogue/rules.ts'
import { severity } from '../catalogue/schema.ts'
import { type Machine, machineById } from '../machines/machines.ts'
import { createOverride, listOverrides, type RecordedOverride, withdrawOverride } from '../machines/overrides.ts'
import type { Database } from '../records/tables.ts'
import { cutPage, numberCursor, page, pageQuery } from './page.ts'
import { neededReason, user } from './person.ts'
import { idInPath, numberInPath, text } from './text.ts'
import { instant, instantMs, rfcTime } from './time.ts'

export interface RuleParts {
  readonly db: Kysely<Database>
  readonly catalogue: Catalogue
  /** Resolves when what is received from now on is judged by what was changed. */
  readonly refresh: () => Promise<void>
  readonly now: () => number
}

const overrideSchema = z.object({
  id: z.int(),
  scope: z.enum(OVERRIDE_SCOPES),
  scopeId: z.string(),
  rule: z.string(),
  parameter: z.enum(RULE_PARAMETERS),
  value: z.number(),
  reason: z.string(),
  changedBy: z.string(),
  createdAt: z.string(),
  expiresAt: z.string().nullable(),
  withdrawnAt: z.string().nullable(),
  withdrawnBy: z.string().nullable(),
  withdrawnBecause: z.string().nullable(),
})
const levelSchema = z.object({ limit: z.number(), onDelaySeconds: z.number(), severity }).nullable()
const ruleSchema = z.object({
  rule: z.string(),
  signal: z.string(),
  direction: z.enum(['high', 'low', 'both']),
  unit: z.string().nullable(),
  warn: levelSchema,
  critical: levelSchema,
  deadband: z.number(),
  offDelaySeconds: z.number(),
  modes: z.array(z.string()).nullable(),
  failureMode: z.string().nullable(),
  overridden: z.boolean(),
})

/** The rules of a machine, and what people changed of them. */
export function ruleRoutes({ db, catalogue, refresh, now }: RuleParts): FastifyPluginAsyncZod {
  /** The overrides that may concern a machine. */
  async function holdingFor({ id, type, model, site }: Machine): Promise<RecordedOverride[]> {
    const scopes = [
      { scope: 'type' as const, scopeId: type },
      { scope: 'model' as const, scopeId: model },
      { scope: 'site' as const, scopeId: site },
      { scope: 'machine' as const, scopeId: id },
    ]
    const found = await Promise.all(
      scopes.map(({ scope, scopeId }) =>
        scopeId === null ? [] : listOverrides(db, { scope, scopeId, holdingAt: now(), limit: 1000 }),
      ),
    )
    return found.flat()
  }

  return async (app) => {
    app.get(
      '/machines/:id/rules',
      {
        schema: {
          summary: 'The rules that hold for a machine, overrides included',
          params: idInPath,
          response: { 200: z.object({ items: z.array(ruleSchema), next: z.null() }) },
        },
      },
      async ({ params: { id } }) => {
        const machine = await machineById(db, id)
        const profile = catalogue.profile(machine.type, machine.model)
        const rules = effectiveRules(profile, await holdingFor(machine), machine, now())
        const items = [...rules.values()].map((rule) => {
          const level = (name: 'warn' | 'critical') => {
            const found = rule[name]
            return found
              ? {
                  limit: found.limit,
                  onDelaySeconds: found.onDelaySeconds,
                  severity: ruleSeverity(profile, rule, name),
                }
              : null
          }
          return {
            rule: rule.id,
            signal: rule.signal,
            direction: rule.direction,
            unit: profile.signals.get(rule.signal)?.unit ?? null,
            warn: level('warn'),
            critical: level('critical'),
            deadband: rule.deadband,
            offDelaySeconds: rule.offDelaySeconds,
            modes: rule.modes ?? null,
            failureMode: rule.failureMode ?? null,
            overridden: rule !== profile.rules.get(rule.id),
          }
        })
        return { items, next: null }
      },
    )
    app.get(
      '/rules/overrides',
      {
        schema: {
          summary: 'What was changed of rules, newest first',
          querystring: pageQuery.extend({
            scope: z.enum(OVERRIDE_SCOPES).optional(),
            scopeId: text.optional(),
            rule: text.optional(),
            holding: z.stringbool().optional().describe('Only those that hold now'),
          }),
          response: { 200: page(overrideSchema) },
        },
      },
      async ({ query: { cursor, limit, holding, ...filter } }) => {
        const holdingAt = holding ? now() : undefined
        const found = await listOverrides(db, { ...filter, holdingAt, before: numberCursor(cursor), limit: limit + 1 })
        return cutPage(found.map(shown), limit, ({ id }) => id)
      },
    )
    app.post(
      '/rules/overrides',
      {
        schema: {
          summary: 'Change one parameter of a rule for a type, a model, a site or a machine',
          body: z.strictObject({
            scope: z.enum(OVERRIDE_SCOPES),
            scopeId: text.min(1).max(200),
            rule: text.max(200),
            parameter: z.enum(RULE_PARAMETERS),
            value: z.number(),
            expiresAt: instant.optional(),
            user,
            reason: neededReason,
          }),
          response: { 201: overrideSchema },
        },
      },
      async ({ body: { user: by, reason, expiresAt, ...draft }, role }, reply) => {
        const until = expiresAt === undefined ? undefined : instantMs(expiresAt)
        const decision = { user: by, reason, role, now: now() }
        const override = await createOverride(db, catalogue, { ...draft, expiresAt: until }, decision)
        await refresh()
        return reply.code(201).send(shown(override))
      },
    )
    app.post(
      '/rules/overrides/:id/withdraw',
      {
        schema: {
          summary: 'End an override',
          params: numberInPath,
          body: z.strictObject({ user, reason: neededReason }),
          response: { 200: overrideSchema },
        },
      },
      async ({ params: { id }, body: { user: by, reason }, role }) => {
        const override = await withdrawOverride(db, catalogue, id, { user: by, reason, role, now: now() })
        await refresh()
        return shown(override)
      },
    )
  }
}

function shown(override: RecordedOverride): z.infer<typeof overrideSchema> {
  return {
    ...override,
    createdAt: rfcTime(override.createdAt),
    expiresAt: rfcTime(override.expiresAt),
    withdrawnAt: rfcTime(override.withdrawnAt),
    withdrawnBy: override.withdrawnBy ?? null,
    withdrawnBecause: override.withdrawnBecause ?? null,
  }
}
