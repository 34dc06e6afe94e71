import { z } from 'zod'
import { instantSchema, jobPartSchema, machineOfJobSchema, textSchema } from './maintenance-job.ts'

const duePointSchema = z.object({
  n: z
    .int()
    .min(1)
    .describe('Which due point of the task: the one-time points in their order, then the recurring ones'),
  state: z.enum(['upcoming', 'open', 'overdue']).describe('overdue: its window has passed'),
  dueHours: z.number().nullable(),
  dueM3: z.number().nullable(),
  dueAt: instantSchema.nullable().describe('By the calendar'),
  forecastAt: instantSchema.nullable().describe('When the counter will be there, by the mean use; null: not known'),
  windowOpensHours: z.number().nullable(),
  windowClosesHours: z.number().nullable(),
})

/**
 * What travels on the queue as `inspection-reminder`: one visit with every task that falls into its window. A visit is
 * sent once.
 */
export const inspectionReminderSchema = z
  .object({
    version: z.literal(1),
    id: z.string().describe('The inspection'),
    machine: machineOfJobSchema,
    title: textSchema,
    tasks: z
      .array(
        z.object({
          task: z.string().describe('Id in the catalogue'),
          name: textSchema,
          work: textSchema,
          parts: z.array(jobPartSchema),
          labourHours: z.number().nullable(),
          due: z.array(duePointSchema).min(1).describe('More than one when windows passed while nobody looked'),
        }),
      )
      .min(1),
    dueHours: z.number().nullable().describe('The first of all tasks'),
    dueM3: z.number().nullable(),
    dueAt: instantSchema.nullable().describe('The first date of all tasks, by calendar or forecast; null: not known'),
    windowOpensAt: instantSchema.nullable(),
    labourHours: z.number(),
    overdue: z.array(z.string()).describe('Tasks whose window has passed'),
    createdAt: instantSchema,
  })
  .meta({ id: 'inspection-reminder', title: 'Inspection reminder, version 1' })

export type InspectionReminder = z.infer<typeof inspectionReminderSchema>

/** @returns JSON Schema (draft 2020-12) of the payload, for desks that are not written in TypeScript */
export function inspectionReminderJsonSchema(): object {
  return z.toJSONSchema(inspectionReminderSchema, { target: 'draft-2020-12' })
}
