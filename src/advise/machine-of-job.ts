import type { Kysely } from 'kysely'
import type { Database } from '../records/tables.ts'
import type { MachineOfJob } from './maintenance-job.ts'

/** What a message about a machine needs to know of it. */
export interface MachineRecord extends Omit<MachineOfJob, 'position' | 'hoursAt'> {
  readonly hoursAt: Date | null
  readonly position: { readonly latitude: number; readonly longitude: number; readonly at: Date } | null
  readonly deliveredAt: Date | null
}

/** @throws when the machine is not in the records, which alarms and inspections refer to */
export async function machineRecord(db: Kysely<Database>, id: string): Promise<MachineRecord> {
  const row = await db
    .selectFrom('machines')
    .leftJoin('machine_status', 'machine_status.machine', 'machines.id')
    .select([
      'machines.id',
      'type',
      'model',
      'serial',
      'customer',
      'site',
      'region',
      'time_zone',
      'language',
      'contacts',
      'delivered_at',
      'service_hours',
      'service_hours_at',
      'latitude',
      'longitude',
      'position_at',
    ])
    .where('machines.id', '=', id)
    .executeTakeFirstOrThrow()
  const { latitude, longitude, position_at: at } = row
  return {
    id: row.id,
    type: row.type,
    model: row.model,
    serial: row.serial,
    hours: row.service_hours,
    hoursAt: row.service_hours_at,
    customer: row.customer,
    site: row.site,
    region: row.region,
    timeZone: row.time_zone,
    language: row.language,
    contact: row.contacts[0] ?? null,
    position: latitude === null || longitude === null || at === null ? null : { latitude, longitude, at },
    deliveredAt: row.delivered_at,
  }
}

/** The machine as a message shows it, written at `now`. */
export function machineOfJob(
  { deliveredAt: _, hoursAt, position, ...machine }: MachineRecord,
  now: number,
): MachineOfJob {
  return {
    ...machine,
    hoursAt: hoursAt?.toISOString() ?? null,
    position: position && {
      latitude: position.latitude,
      longitude: position.longitude,
      at: position.at.toISOString(),
      ageSeconds: Math.max(0, Math.round((now - position.at.getTime()) / 1000)),
    },
  }
}
