import { userInfo } from 'node:os'
import { text as textOf } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import pino from 'pino'
import { type FleetApi, type FleetApiOptions, reachFleetApi } from './fleet-api.ts'
import { openSecretsFile, type SecretsFile } from './secrets-file.ts'

/** The command cannot be understood. */
export class CommandUnclear extends Error {}

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
export type Values = ReturnType<typeof readArguments>['values']

/** @throws {CommandUnclear} */
export function readArguments() {
  try {
    return parseArgs({ allowPositionals: true, options })
  } catch (error) {
    throw new CommandUnclear((error as Error).message)
  }
}

/** Who does it and why, as the API wants it. */
export function decision({ user, reason }: Values): { user: string; reason?: string } {
  return { user: user ?? accountName(), ...(reason !== undefined && { reason }) }
}

function accountName(): string {
  try {
    return userInfo().username
  } catch {
    return 'command' // an account without a name
  }
}

/** Asks the API, and leaves it. @throws {ApiRefused} */
export async function withApi<T>(
  { url }: Values,
  needs: FleetApiOptions['needs'],
  use: (api: FleetApi) => Promise<T>,
): Promise<T> {
  const api = await reachFleetApi({ url, needs, log })
  return use(api).finally(() => api.leave())
}

/** Prints the object, or the lines for people. */
export function say(values: Values, object: object, lines: readonly string[]): void {
  if (values.json) console.log(JSON.stringify(object, undefined, 2))
  else for (const line of lines) console.log(line)
}

/** `--machines`, taken apart. */
export function machinesOf({ machines }: Values): string[] | undefined {
  return machines?.split(',').map((each) => each.trim())
}

/** The password on standard input, where one was announced. */
export async function passwordOf(values: Values): Promise<string | undefined> {
  if (!values['password-stdin']) return undefined
  return (await textOf(process.stdin)).replace(/\r?\n$/, '')
}

/**
 * The file of `--credentials`, made before anything is issued.
 *
 * @throws {CommandUnclear} it is there already
 */
export async function secretsFileOf({ credentials }: Values): Promise<SecretsFile | undefined> {
  if (credentials === undefined) return undefined
  return openSecretsFile(credentials).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
    throw new CommandUnclear(`${credentials} is there already and may be the only copy of other secrets`)
  })
}
