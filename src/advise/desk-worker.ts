import { UnrecoverableError } from 'bullmq'
import { z } from 'zod'
import type { Log } from '../log.ts'
import type { RecordsConnection } from '../records/data-folder.ts'
import { type DeskAnswer, DeskRefused, type TicketDesk } from './desk.ts'
import { inspectionReminderSchema } from './inspection-reminder.ts'
import { type MaintenanceJob, maintenanceJobSchema } from './maintenance-job.ts'
import { type QueueJob, workQueue } from './queue.ts'

export interface DeskWorkerParts {
  readonly connection: RecordsConnection | string
  readonly desk: TicketDesk
  readonly log: Log
  /** Told of every job that the desk took. */
  readonly onTaken?: (job: MaintenanceJob, answer: DeskAnswer) => void
}

export interface DeskWorker {
  /** Ends after the job under way. */
  stop(): Promise<void>
}

/** Carries jobs from the queue to a service desk. */
export async function startDeskWorker({ connection, desk, log, onTaken }: DeskWorkerParts): Promise<DeskWorker> {
  const worker = await workQueue(connection, log, async (job) => {
    try {
      return await carry(job)
    } catch (error) {
      if (error instanceof DeskRefused || error instanceof z.ZodError) throw new UnrecoverableError(error.message)
      throw error
    }
  })
  worker.on('failed', (job, error) => {
    if (!job || job.finishedOn === undefined) {
      log.warn({ err: error, id: job?.id }, 'the desk did not take a job, it will be tried again')
      return
    }
    log.error({ err: error, id: job.id }, 'the desk did not take a job: see `npm run queue -- retry`')
  })

  async function carry({ name, data }: QueueJob): Promise<unknown> {
    if (name === 'inspection-reminder') {
      const reminder = inspectionReminderSchema.parse(data)
      await desk.remind(reminder)
      log.info({ inspection: reminder.id, machine: reminder.machine.id }, 'reminder taken by the desk')
      return { outcome: 'reminded' }
    }
    if (name !== 'proactive-maintenance') throw new DeskRefused(`the desk knows no job of the name '${name}'`)
    const message = maintenanceJobSchema.parse(data)
    const answer = await desk.take(message)
    log.info({ key: message.key, revision: message.revision, ...answer }, 'job taken by the desk')
    onTaken?.(message, answer)
    return answer
  }

  return { stop: () => worker.close() }
}
