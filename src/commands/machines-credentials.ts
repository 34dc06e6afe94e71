import { ApiRefused, everyPage, type FleetApi } from './fleet-api.ts'
import {
  CommandUnclear,
  decision,
  machinesOf,
  passwordOf,
  say,
  secretsFileOf,
  type Values,
  withApi,
} from './machines-arguments.ts'
import type { ImportReport } from './machines-import.ts'
import type { ToldSecret } from './secrets-file.ts'

/** What says more of a machine than that it may log in. */
const FACTS = ['device', 'type', 'model', 'serial', 'customer', 'site', 'region', 'zone', 'delivered', 'hours'] as const

/** A credential as the API tells it when it is issued. */
interface Issued {
  readonly kind: string
  readonly id: string
  readonly secret: string | null
}

/** Writes a machine down and issues its secret, or credentials alone. @returns the exit code */
export async function add(names: readonly string[], values: Values): Promise<number> {
  const [id, ...more] = names
  if (id === undefined || more.length > 0) throw new CommandUnclear('add needs one id')
  if (values.gateway && values.bridge) throw new CommandUnclear('it is a gateway or a bridge')
  const password = await passwordOf(values)
  if (values.gateway) return issue('gateway', id, password, values)
  if (values.bridge) return issue('bridge', id, password, values)
  const isBare = FACTS.every((fact) => values[fact] === undefined) && !values['no-credentials']
  return isBare ? issue('machine', id, password, values) : addMachine(id, password, values)
}

async function issue(kind: string, id: string, password: string | undefined, values: Values): Promise<number> {
  const body = { kind, id, machines: machinesOf(values), password, ...decision(values) }
  const issued = await withApi(values, 'nothing', (api) => api.ask<Issued>('POST', '/credentials', body))
  say(values, issued, [`The ${kind} ${id} may log in.`, ...told(issued)])
  return 0
}

async function addMachine(id: string, password: string | undefined, values: Values): Promise<number> {
  const { device = id, type, model, serial, customer, site, region, zone, delivered, hours } = values
  const row = { machine: id, device, type, model, serial, customer, site, region, zone, deliveredAt: delivered, hours }
  const issues = !values['no-credentials'] && password === undefined
  const query = new URLSearchParams({ ...decision(values), credentials: String(issues) })
  const [report, issued] = await withApi(values, 'nothing', async (api) => {
    const imported = await api.ask<ImportReport>('POST', `/machines/import?${query}`, { rows: [row] })
    const [fresh] = imported.credentials
    if (fresh) return [imported, { kind: 'machine', ...fresh }] as const
    // a table leaves out who was revoked; who names it alone means it
    const isMissing = password !== undefined || (issues && (await knownCredential(api, device))?.revokedAt)
    if (!isMissing) return [imported, undefined] as const
    const body = { kind: 'machine', id: device, password, ...decision(values) }
    return [imported, await api.ask<Issued>('POST', '/credentials', body)] as const
  }).catch((error: unknown) => {
    if (!(error instanceof ApiRefused) || error.errors.length === 0) throw error
    throw new ApiRefused(error.errors.map(({ detail }) => detail).join('; '), error.status)
  })
  const said = { written: `${id} is written down.`, unchanged: `${id} is there as you say already.` }
  const kept = `${device} has credentials already: rotate gives a new secret.`
  const lines = issued ? told(issued) : issues ? [kept] : []
  const { outcome, bound, meterReadings } = report
  say(values, { id, device, outcome, bound, meterReadings, secret: issued?.secret ?? null }, [
    outcome === 'written' ? said.written : said.unchanged,
    ...lines,
  ])
  return 0
}

function told({ id, secret }: Pick<Issued, 'id' | 'secret'>): string[] {
  if (secret === null) return [`User name ${id}, with the password that you gave.`]
  return [`User name ${id}, password ${secret} (shown this once).`]
}

/** Says for whom a bridge or gateway speaks. @returns the exit code */
export async function assign(
  what: 'assign' | 'unassign',
  [id, ...more]: readonly string[],
  values: Values,
): Promise<number> {
  const machines = machinesOf(values)
  if (id === undefined || more.length > 0 || !machines) throw new CommandUnclear(`${what} needs one id and --machines`)
  const changed = await withApi(values, 'records', async (api) => {
    const { kind } = await credentialOf(api, id)
    const body = { [what]: machines, ...decision(values) }
    return api.ask<{ machines: string[] }>('PATCH', `/credentials/${kind}/${id}`, body)
  })
  say(values, { id, machines: changed.machines }, [`${id} speaks for ${changed.machines.join(', ') || 'no machine'}.`])
  return 0
}

/** Replaces secrets. @returns the exit code */
export async function rotate(ids: readonly string[], values: Values): Promise<number> {
  const isMany = values.all || values.unused
  if ((ids.length === 0) !== isMany) throw new CommandUnclear('rotate needs ids, or --all, or --unused')
  if (isMany && values.credentials === undefined) throw new CommandUnclear('many secrets need --credentials OUT.csv')
  if (values['password-stdin']) return changePassword(ids, values)
  const secrets = await secretsFileOf(values)
  try {
    const rotated = await withApi(values, 'records', async (api) => {
      const chosen = isMany ? await rotatable(api, values.unused) : ids
      if (chosen.length === 0) return []
      const body = { ids: chosen, ...decision(values) }
      return (await api.ask<{ credentials: ToldSecret[] }>('POST', '/credentials/rotate', body)).credentials
    })
    if (rotated.length > 0) await secrets?.write(rotated)
    const shown = rotated.map(({ id, secret }) => ({ id, ...(secrets ? {} : { secret }) }))
    const lines = secrets ? [`${rotated.length} new secrets are in ${values.credentials}.`] : rotated.flatMap(told)
    say(values, { rotated: shown }, rotated.length > 0 ? lines : ['Nobody needs a new secret.'])
    return 0
  } finally {
    await secrets?.close()
  }
}

async function changePassword([id, ...more]: readonly string[], values: Values): Promise<number> {
  if (id === undefined || more.length > 0) throw new CommandUnclear('a password is for one id')
  const password = await passwordOf(values)
  const changed = await withApi(values, 'records', async (api) => {
    const { kind } = await credentialOf(api, id)
    return api.ask<Issued>('POST', `/credentials/${kind}/${id}/rotate`, { password, ...decision(values) })
  })
  say(values, { rotated: [{ id }] }, told(changed))
  return 0
}

/** Ends credentials. @returns the exit code */
export async function revoke(ids: readonly string[], values: Values): Promise<number> {
  if (ids.length === 0) throw new CommandUnclear('revoke needs the id of whoever is to stay out')
  await withApi(values, 'records', async (api) => {
    for (const id of ids) {
      const { kind = 'machine' } = (await knownCredential(api, id)) ?? {} // one that shows a certificate has none
      await api.ask('POST', `/credentials/${kind}/${id}/revoke`, decision(values))
    }
  })
  say(
    values,
    { revoked: ids },
    ids.map((id) => `${id} may not log in any more.`),
  )
  return 0
}

interface KnownCredential {
  readonly kind: string
  readonly id: string
  readonly proof: string
  readonly revokedAt: string | null
  readonly lastUsedAt: string | null
}

async function rotatable(api: FleetApi, unusedOnly: boolean): Promise<string[]> {
  const all = await everyPage<KnownCredential>(api, '/credentials?revoked=false')
  return all.filter(({ proof, lastUsedAt }) => proof === 'secret' && !(unusedOnly && lastUsedAt)).map(({ id }) => id)
}

/** @throws {ApiRefused} it has none */
async function credentialOf(api: FleetApi, id: string): Promise<KnownCredential> {
  const known = await knownCredential(api, id)
  if (!known) throw new ApiRefused(`'${id}' has no credentials: add issues them`)
  return known
}

async function knownCredential(api: FleetApi, id: string): Promise<KnownCredential | undefined> {
  const path = `/credentials?id=${encodeURIComponent(id)}`
  const { items } = await api.ask<{ items: KnownCredential[] }>('GET', path)
  return items[0]
}
