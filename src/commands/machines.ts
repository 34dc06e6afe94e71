import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { text as textOf } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import pino from 'pino'
import { ConfigInvalid } from '../config.ts'
import { DataFolderHeld } from '../records/data-folder.ts'
import { ApiRefused, everyPage, type FleetApi, type FleetApiOptions, reachFleetApi } from './fleet-api.ts'
import { listFleet } from './machines-list.ts'
import { showTail } from './machines-tail.ts'
import { openSecretsFile, type ToldSecret } from './secrets-file.ts'

const help = `Machines, and who may log in at the broker.

  npm run machines -- import FILE.csv [--dry-run] [--keep-going] [--credentials OUT.csv]
      Brings machines, devices, meter readings to what a table says; '-' reads it from standard input. Columns, by
      their header: device, machine, type, model, serial, customer, site, region, zone, delivered at, hours, hours at,
      language. Where a line is wrong nothing is written, with --keep-going the others are. Done again, it changes
      nothing. --credentials issues a secret to every device that has none, into a file for your eyes only.
  npm run machines -- add ID [--type TYPE] [--model M] [--serial S] [--customer C] [--site S] [--region R] [--zone Z]
                          [--delivered DATE] [--hours H] [--device DEVICE] [--password-stdin | --no-credentials]
      One machine, and the secret of its device; with an ID alone, the secret alone. A new machine needs its type.
  npm run machines -- add ID --gateway | --bridge [--machines A,B,…] [--password-stdin]
      Somebody who publishes for others: a gateway on its own topic, a bridge on theirs.
  npm run machines -- assign ID --machines A,B,… ; unassign ID --machines A,B,…
      For whom a bridge or gateway speaks.
  npm run machines -- rotate ID … | --all | --unused [--credentials OUT.csv] [--password-stdin]
      A new secret; who is connected by the old one is cut off. --all: everybody who has an issued one, --unused: those
      of them who never logged in.
  npm run machines -- revoke ID … [--reason WHY]
      Ends credentials, and connections.
  npm run machines -- list [--json]
      Machines and credentials: who logged in, who was heard, when.
  npm run machines -- tail ID [--json]
      The last messages of a machine or device and what became of each: why is it not showing?

For all of them: --json (one object on standard output), --user NAME (for the audit log), --reason WHY,
--url http://HOST:PORT (of a service elsewhere; OUTRIGGER_API_TOKEN where it wants one). Without --url, the service that
runs on OUTRIGGER_DATA is asked; where none runs, its records are opened, and its next start knows what was changed.

Ends with 0; with 1 where it could not be done; with 2 where the command cannot be understood.

  npm run machines -- import fleet.csv --dry-run
  npm run machines -- import fleet.csv --credentials secrets.csv
  npm run machines -- add pump-17 --type boom_pump --site Hafen
  npm run machines -- add site-4 --bridge --machines pump-17,crane-2
`

/** The command cannot be understood. */
class CommandUnclear extends Error {}

const log = pino({ level: 'warn' }, pino.destination({ fd: 2, sync: true }))

const options = {
  help: { type: 'boolean', short: 'h', default: false },
  json: { type: 'boolean', default: false },
  url: { type: 'string' },
  user: { type: 'string' },
  reason: { type: 'string' },
  'dry-run': { type: 'boolean', default: false },
  'keep-going': { type: 'boolean', default: false },
  credentials: { type: 'string' },
  'no-credentials': { type: 'boolean', default: false },
  'password-stdin': { type: 'boolean', default: false },
  all: { type: 'boolean', default: false },
  unused: { type: 'boolean', default: false },
  gateway: { type: 'boolean', default: false },
  bridge: { type: 'boolean', default: false },
  machines: { type: 'string' },
  device: { type: 'string' },
  type: { type: 'string' },
  model: { type: 'string' },
  serial: { type: 'string' },
  customer: { type: 'string' },
  site: { type: 'string' },
  region: { type: 'string' },
  zone: { type: 'string' },
  delivered: { type: 'string' },
  hours: { type: 'string' },
} as const
/** What says more of a machine than that it may log in. */
const FACTS = ['device', 'type', 'model', 'serial', 'customer', 'site', 'region', 'zone', 'delivered', 'hours'] as const
type Values = ReturnType<typeof readArguments>['values']

process.exitCode = await main().catch((error: unknown) => {
  if (error instanceof CommandUnclear) {
    console.error(`${error.message}; see --help`)
    return 2
  }
  // what a person can mend says so itself; everything else is ours and comes with its stack
  const known = [ApiRefused, ConfigInvalid, DataFolderHeld].some((kind) => error instanceof kind)
  console.error(error instanceof Error && (known || 'code' in error) ? error.message : error)
  return 1
})

/** @returns the exit code */
async function main(): Promise<number> {
  const { positionals, values } = readArguments()
  const [command, ...names] = positionals
  if (values.help || command === undefined) {
    console.log(help)
    return values.help ? 0 : 2
  }
  const commands: Readonly<Record<string, (names: readonly string[], values: Values) => Promise<number>>> = {
    import: importFile,
    add,
    assign: (names, values) => assign('assign', names, values),
    unassign: (names, values) => assign('unassign', names, values),
    rotate,
    revoke,
    list,
    tail,
  }
  const run = Object.hasOwn(commands, command) ? commands[command] : undefined
  if (!run) throw new CommandUnclear(`there is no '${command}': ${Object.keys(commands).join(', ')}`)
  return run(names, values)
}

function readArguments() {
  try {
    return parseArgs({ allowPositionals: true, options })
  } catch (error) {
    throw new CommandUnclear((error as Error).message)
  }
}

/** Who does it and why, as the API wants it. */
function decision({ user, reason }: Values): { user: string; reason?: string } {
  return { user: user ?? accountName(), ...(reason !== undefined && { reason }) }
}

function accountName(): string {
  try {
    return userInfo().username
  } catch {
    return 'command' // an account without a name
  }
}

async function withApi<T>(
  { url }: Values,
  needs: FleetApiOptions['needs'],
  use: (api: FleetApi) => Promise<T>,
): Promise<T> {
  const api = await reachFleetApi({ url, needs, log })
  return use(api).finally(() => api.leave())
}

function say(values: Values, object: object, lines: readonly string[]): void {
  if (values.json) console.log(JSON.stringify(object, undefined, 2))
  else for (const line of lines) console.log(line)
}

interface ImportReport {
  readonly outcome: 'written' | 'unchanged' | 'dry_run'
  readonly lines: number
  readonly created: readonly string[]
  readonly changed: readonly string[]
  readonly unchanged: number
  readonly bound: number
  readonly meterReadings: number
  readonly withoutCredentials: number
  readonly credentials: readonly ToldSecret[]
  readonly ignoredColumns: readonly string[]
  readonly faults: readonly { readonly line: number; readonly column: string | null; readonly detail: string }[]
}

async function importFile(names: readonly string[], values: Values): Promise<number> {
  const [file, ...more] = names
  if (file === undefined || more.length > 0) throw new CommandUnclear('import needs one file')
  const bytes = file === '-' ? Buffer.from(await textOf(process.stdin)) : await readFile(file)
  const isDry = values['dry-run']
  const secrets =
    values.credentials === undefined || isDry ? undefined : await openSecretsFile(values.credentials).catch(refuseFile)
  const query = new URLSearchParams({
    ...decision(values),
    dryRun: String(isDry),
    keepGoing: String(values['keep-going']),
    credentials: String(values.credentials !== undefined),
  })
  try {
    const report = await withApi(values, 'nothing', (api) =>
      api.ask<ImportReport>('POST', `/machines/import?${query}`, bytes),
    )
    const { credentials, ...rest } = report
    if (credentials.length > 0) await secrets?.write(credentials)
    for (const { line, column, detail } of report.faults) complain(file, line, column ?? undefined, detail)
    say(values, { ...rest, issued: credentials.length }, imported(report, values.credentials))
    return report.faults.length > 0 ? 1 : 0
  } catch (error) {
    if (!(error instanceof ApiRefused)) throw error
    for (const { pointer, detail } of error.errors) {
      const [, line = '', column] = pointer.split('/')
      complain(file, Number(line), column, detail)
    }
    throw error
  } finally {
    await secrets?.close()
  }
}

function complain(file: string, line: number, column: string | undefined, detail: string): void {
  console.error([`${file}:${line}`, column, detail].filter((part) => part !== undefined).join(': '))
}

function imported(report: ImportReport, secretsFile: string | undefined): string[] {
  const { outcome, created, changed, unchanged, bound, meterReadings, credentials, withoutCredentials } = report
  const issued = outcome === 'dry_run' ? withoutCredentials : credentials.length
  const counts = [
    [created.length, 'machines new'],
    [changed.length, 'changed'],
    [unchanged, 'as they were'],
    [bound, 'devices bound'],
    [meterReadings, 'meter readings'],
    [issued, 'secrets issued'],
  ] as const
  const said = counts.filter(([count]) => count > 0).map(([count, what]) => `${count.toLocaleString('en')} ${what}`)
  const title = { written: 'Imported', unchanged: 'Nothing to do', dry_run: 'Would import' }[outcome]
  return [
    `${title}: ${said.join(', ') || 'no lines'}.`,
    ...(report.ignoredColumns.length > 0 ? [`Columns left out: ${report.ignoredColumns.join(', ')}.`] : []),
    ...(secretsFile !== undefined && credentials.length > 0
      ? [`The secrets are in ${secretsFile} and nowhere else.`]
      : []),
  ]
}

function refuseFile(error: NodeJS.ErrnoException): never {
  if (error.code !== 'EEXIST') throw error
  throw new CommandUnclear(`${error.path} is there already and may be the only copy of other secrets`)
}

/** A credential as the API tells it when it is issued. */
interface Issued {
  readonly kind: string
  readonly id: string
  readonly secret: string | null
}

async function add(names: readonly string[], values: Values): Promise<number> {
  const [id, ...more] = names
  if (id === undefined || more.length > 0) throw new CommandUnclear('add needs one id')
  if (values.gateway && values.bridge) throw new CommandUnclear('it is a gateway or a bridge')
  const password = await passwordOf(values)
  if (values.gateway) return issue('gateway', id, password, values)
  if (values.bridge) return issue('bridge', id, password, values)
  const isBare = FACTS.every((fact) => values[fact] === undefined) && !values['no-credentials']
  return isBare ? issue('machine', id, password, values) : addMachine(id, password, values)
}

function machinesOf({ machines }: Values): string[] | undefined {
  return machines?.split(',').map((each) => each.trim())
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

async function passwordOf(values: Values): Promise<string | undefined> {
  if (!values['password-stdin']) return undefined
  return (await textOf(process.stdin)).replace(/\r?\n$/, '')
}

async function assign(what: 'assign' | 'unassign', [id, ...more]: readonly string[], values: Values): Promise<number> {
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

async function rotate(ids: readonly string[], values: Values): Promise<number> {
  const isMany = values.all || values.unused
  if ((ids.length === 0) !== isMany) throw new CommandUnclear('rotate needs ids, or --all, or --unused')
  if (isMany && values.credentials === undefined) throw new CommandUnclear('many secrets need --credentials OUT.csv')
  if (values['password-stdin']) return changePassword(ids, values)
  const secrets =
    values.credentials === undefined ? undefined : await openSecretsFile(values.credentials).catch(refuseFile)
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

async function revoke(ids: readonly string[], values: Values): Promise<number> {
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

async function list(names: readonly string[], values: Values): Promise<number> {
  if (names.length > 0) throw new CommandUnclear(`'${names.join(' ')}' is too much`)
  await withApi(values, 'records', (api) => listFleet(api, values.json))
  return 0
}

async function tail(names: readonly string[], values: Values): Promise<number> {
  const [id, ...more] = names
  if (id === undefined || more.length > 0) throw new CommandUnclear('tail needs one id, of a machine or device')
  await withApi(values, 'service', (api) => showTail(api, id, values.json))
  return 0
}
