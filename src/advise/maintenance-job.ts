import { z } from 'zod'
import { partClass } from '../catalogue/schema.ts'

export const textSchema = z.object({ en: z.string(), zh: z.string() })
export const instantSchema = z.iso.datetime().describe('RFC 3339, UTC')

export const prioritySchema = z.enum(['P1', 'P2', 'P3', 'P4'])
export const warrantySchema = z.enum(['in_warranty', 'expired', 'unknown'])

/** What is known of the machine at the moment a message is written: also the head of an inspection reminder. */
export const machineOfJobSchema = z.object({
  id: z.string(),
  type: z.string(),
  model: z.string().nullable(),
  serial: z.string().nullable().describe('Serial number or PIN'),
  hours: z.number().nullable().describe('Service hours; null: not known'),
  hoursAt: instantSchema.nullable(),
  customer: z.string().nullable(),
  site: z.string().nullable(),
  region: z.string().nullable(),
  timeZone: z.string(),
  language: z.enum(['en', 'zh']),
  contact: z
    .object({
      name: z.string(),
      role: z.string().optional(),
      phone: z.string().optional(),
      email: z.string().optional(),
    })
    .nullable()
    .describe('The first contact of the machine'),
  position: z
    .object({
      latitude: z.number(),
      longitude: z.number(),
      at: instantSchema,
      ageSeconds: z.int().min(0).describe('Age when the message was written'),
    })
    .nullable()
    .describe('The last known one'),
})

export const evidenceSchema = z.object({
  alarm: z.string().describe('Id of the alarm; the newest where one came back'),
  signal: z.string().nullable().describe('null: a fault code, or no data at all'),
  condition: z
    .string()
    .describe('<signal>.<high|low>, fault.<source address>.<spn>.<fmi> or no_data: one entry for each'),
  rule: z.string().describe('Id of the rule in the catalogue; fault or no_data for those'),
  severity: z.enum(['S1', 'S2', 'S3', 'S4']),
  value: z.number().nullable(),
  limit: z.number().nullable(),
  unit: z.string().nullable(),
  since: instantSchema.describe('When the condition began to hold for the first time'),
})

export const jobPartSchema = z.object({
  number: z.string(),
  name: textSchema,
  quantity: z.number().positive(),
  unit: z.string(),
  class: partClass,
})

/**
 * What travels on the queue as `proactive-maintenance`. One cause is one key; a message with a higher `revision`
 * replaces what was said before under the same `id`.
 */
export const maintenanceJobSchema = z
  .object({
    version: z.literal(1),
    id: z.string().describe('The job; a key whose job was done gets a new one when the failure comes back'),
    key: z.string().describe('<machine>/<component>/<failure mode>: at most one job is open per key'),
    revision: z.int().min(1).describe('Rises with every message of this job'),
    machine: machineOfJobSchema,
    component: z.object({ id: z.string(), name: textSchema }),
    failureMode: z.string().describe('Code of the catalogue, limit.<signal>.<high|low>, or fault.<spn>.<fmi>'),
    severity: z.enum(['S2', 'S3', 'S4']),
    priority: prioritySchema,
    title: textSchema,
    action: textSchema,
    reason: textSchema,
    evidence: z.array(evidenceSchema).min(1),
    parts: z.array(jobPartSchema),
    warranty: z.object({
      state: warrantySchema,
      until: instantSchema.nullable().describe('One year after delivery; null: delivery not known'),
      untilHours: z.number(),
    }),
    dueAt: instantSchema,
    alarmIds: z.array(z.string()).min(1),
    accepted: z
      .object({ by: z.string(), at: instantSchema })
      .nullable()
      .describe('A person wants it done: it is a ticket now, whatever its priority'),
    createdAt: instantSchema,
  })
  .meta({ title: 'Maintenance job, version 1' })

export type Priority = z.infer<typeof prioritySchema>
export type WarrantyState = z.infer<typeof warrantySchema>
export type MachineOfJob = z.infer<typeof machineOfJobSchema>
export type Evidence = z.infer<typeof evidenceSchema>
export type JobPart = z.infer<typeof jobPartSchema>
export type MaintenanceJob = z.infer<typeof maintenanceJobSchema>

/** The key under which one cause is one job and one ticket. None of its parts can hold a slash. */
export function jobKey(machine: string, component: string, failureMode: string): string {
  return `${machine}/${component}/${failureMode}`
}

/** @returns JSON Schema (draft 2020-12) of the payload, for desks that are not written in TypeScript */
export function maintenanceJobJsonSchema(): object {
  // as input, so that a validator made today takes a message that has a field more tomorrow
  return z.toJSONSchema(maintenanceJobSchema, { target: 'draft-2020-12', io: 'input' })
}
