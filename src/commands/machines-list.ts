import { everyPage, type FleetApi } from './fleet-api.ts'
import { age, printTable } from './table.ts'

interface ListedMachine {
  readonly id: string
  readonly type: string
  readonly state: string
  readonly lastSeenAt: string | null
}

interface ListedCredential {
  readonly kind: string
  readonly id: string
  readonly proof: string
  readonly machines: readonly string[]
  readonly revokedAt: string | null
  readonly lastUsedAt: string | null
}

interface ListedBinding {
  readonly device: string
  readonly machine: string
  readonly from: string | null
  readonly to: string | null
}

/** A machine with the credentials of its name; or credentials of a device, a gateway, a bridge. */
interface ListedRow {
  readonly id: string
  readonly kind: string
  readonly type: string | null
  readonly state: string | null
  readonly credentials: string
  readonly speaksFor: readonly string[]
  readonly lastLoginAt: string | null
  readonly lastSeenAt: string | null
}

/** Prints every machine and everybody who may log in, in order of their ids. */
export async function listFleet(api: FleetApi, json: boolean): Promise<void> {
  const machines = await everyPage<ListedMachine>(api, '/machines')
  const credentials = new Map((await everyPage<ListedCredential>(api, '/credentials')).map((one) => [one.id, one]))
  const now = Date.now()
  const bound = new Map(
    (await everyPage<ListedBinding>(api, '/bindings'))
      .filter(({ from, to }) => (from === null || Date.parse(from) <= now) && (to === null || now < Date.parse(to)))
      .map(({ device, machine }) => [device, machine]),
  )
  const row = (id: string, machine?: ListedMachine) => rowOf(id, machine, credentials.get(id), bound.get(id))
  const rows = machines.map((machine) => row(machine.id, machine))
  const known = new Set(machines.map(({ id }) => id))
  for (const id of credentials.keys()) if (!known.has(id)) rows.push(row(id))
  rows.sort((a, b) => (a.id < b.id ? -1 : 1))

  if (json) return console.log(JSON.stringify({ items: rows }, undefined, 2))
  if (rows.length === 0) return console.log('There are no machines and no credentials yet.')
  const ago = (at: string | null) => (at === null ? '–' : `${age(now - Date.parse(at))} ago`)
  printTable([
    ['ID', 'KIND', 'TYPE', 'STATE', 'CREDENTIALS', 'SPEAKS FOR', 'LOGGED IN', 'HEARD'],
    ...rows.map((row) => [
      row.id,
      row.kind,
      row.type ?? '–',
      row.state ?? '–',
      row.credentials,
      shortened(row.speaksFor),
      ago(row.lastLoginAt),
      ago(row.lastSeenAt),
    ]),
  ])
}

function rowOf(
  id: string,
  machine: ListedMachine | undefined,
  credential: ListedCredential | undefined,
  bound: string | undefined,
): ListedRow {
  const device = credential?.kind === 'machine' ? 'device' : (credential?.kind ?? '')
  return {
    id,
    kind: machine ? 'machine' : device,
    type: machine?.type ?? null,
    state: machine?.state ?? null,
    credentials: credential?.revokedAt ? 'revoked' : (credential?.proof ?? 'none'),
    speaksFor: bound === undefined ? (credential?.machines ?? []) : [bound],
    lastLoginAt: credential?.lastUsedAt ?? null,
    lastSeenAt: machine?.lastSeenAt ?? null,
  }
}

function shortened(machines: readonly string[]): string {
  if (machines.length === 0) return '–'
  const shown = machines.slice(0, 3).join(' ')
  return machines.length > 3 ? `${shown} and ${machines.length - 3} more` : shown
}
