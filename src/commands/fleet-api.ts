import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Logger } from 'pino'
import type { Problem } from '../api/problem.ts'
import { readConfig } from '../config.ts'
import { readHolder } from '../records/data-folder.ts'

/** The API for what concerns machines and who may log in. */
export interface FleetApi {
  /**
   * @param path below `/api/v1`
   * @param body JSON; bytes are a CSV
   * @throws {ApiRefused} the answer is not what was asked for
   */
  ask<T>(method: 'GET' | 'POST' | 'PATCH', path: string, body?: object | Buffer): Promise<T>
  leave(): Promise<void>
}

/** The API has answered with a problem, or not at all; the message is for people. */
export class ApiRefused extends Error {
  override readonly name = 'ApiRefused'
  /** undefined: nobody answered. */
  readonly status: number | undefined
  readonly errors: NonNullable<Problem['errors']>

  constructor(message: string, status?: number, errors: Problem['errors'] = []) {
    super(message)
    this.status = status
    this.errors = errors
  }
}

export interface FleetApiOptions {
  /** Of a service anywhere; undefined: of the one that works on OUTRIGGER_DATA, and where none does, made here. */
  readonly url: string | undefined
  /** What has to be there: a service that runs, records of one that ran, or nothing, and they are made. */
  readonly needs: 'service' | 'records' | 'nothing'
  readonly log: Logger
}

/**
 * Reaches the API: of a running service, or of the records themselves while no service runs on them, which then does
 * the same and ends with `leave()`.
 *
 * @throws {ApiRefused} there is no service, or nothing to look at
 */
export async function reachFleetApi({ url, needs, log }: FleetApiOptions): Promise<FleetApi> {
  if (url) return remoteApi(url)
  const folder = resolve(readConfig(process.env).OUTRIGGER_DATA)
  const holder = await readHolder(folder)
  if (holder?.address) return remoteApi(holder.address)
  if (holder) throw new ApiRefused(`process ${holder.pid} works on ${folder} and has no API yet: try again in a moment`)
  if (needs === 'service') throw new ApiRefused(`no service runs on ${folder} (OUTRIGGER_DATA), and only it knows that`)
  if (needs === 'records' && !existsSync(folder))
    throw new ApiRefused(`nothing has run in ${folder} yet (OUTRIGGER_DATA)`)
  const { openFleetRecords } = await import('./fleet-records.ts') // a server and a database, which few calls need
  return openFleetRecords(folder, log)
}

type Payload = { readonly 'content-type': string; readonly bytes: string | Buffer } | undefined

export function payloadOf(body: object | Buffer | undefined): Payload {
  if (body === undefined) return undefined
  if (Buffer.isBuffer(body)) return { 'content-type': 'text/csv', bytes: body }
  return { 'content-type': 'application/json', bytes: JSON.stringify(body) }
}

/** @throws {ApiRefused} */
export function answerOf<T>(status: number, text: string): T {
  const isJson = text.startsWith('{')
  if (status < 300 && isJson) return JSON.parse(text) as T
  if (status === 401) throw new ApiRefused('the service wants its API token: set OUTRIGGER_API_TOKEN', status)
  const { title, detail, errors } = (isJson ? JSON.parse(text) : {}) as Partial<Problem>
  throw new ApiRefused(detail ?? title ?? `the service answered HTTP ${status}`, status, errors)
}

function remoteApi(address: string): FleetApi {
  const base = address.replace(/\/$/, '')
  const token = process.env.OUTRIGGER_API_TOKEN
  return {
    async ask(method, path, body) {
      const payload = payloadOf(body)
      const headers = {
        ...(payload && { 'content-type': payload['content-type'] }),
        ...(token && { authorization: `Bearer ${token}` }),
      }
      const request = { method, headers, body: payload ? new Uint8Array(Buffer.from(payload.bytes)) : null }
      const response = await fetch(`${base}/api/v1${path}`, request).catch((error: Error) => {
        const { cause = error } = error as { cause?: unknown }
        throw new ApiRefused(`${base} does not answer: ${cause instanceof Error ? cause.message : cause}`)
      })
      return answerOf(response.status, await response.text())
    },
    leave: async () => {},
  }
}

/** Every page of a list. @param path with its filters, where it has any */
export async function everyPage<T>(api: FleetApi, path: string): Promise<T[]> {
  const items: T[] = []
  const first = `${path}${path.includes('?') ? '&' : '?'}limit=1000`
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: { items: T[]; next: string | null } = await api.ask('GET', `${first}${cursor && `&cursor=${cursor}`}`)
    items.push(...page.items)
    cursor = page.next
  }
  return items
}
