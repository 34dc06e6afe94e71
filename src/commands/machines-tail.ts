import type { FleetApi } from './fleet-api.ts'
import { age, printTable } from './table.ts'

interface TailedMessage {
  readonly device: string
  readonly receivedAt: string
  readonly measuredAt: string | null
  readonly topic: string | null
  readonly qos: number | null
  readonly size: number | null
  readonly outcome: string
  readonly stored: number
  readonly duplicate: number
  readonly quarantined: number
  readonly quarantine: readonly { readonly id: number; readonly reason: string; readonly detail: string }[]
  readonly rejected: readonly { readonly signal: string; readonly reason: string }[] | null
  readonly payload: string | null
  readonly isCut: boolean | null
}

interface Tail {
  readonly id: string
  readonly machine: { readonly id: string; readonly type: string; readonly state: string } | null
  readonly diagnosis: readonly { readonly text: string }[]
  readonly connections: readonly {
    readonly at: string
    readonly event: string
    readonly reason: string | null
    readonly detail: string | null
    readonly clientId: string
    readonly address: string
  }[]
  readonly messages: readonly TailedMessage[]
}

const SHOWN_PAYLOAD = 120
const SHOWN_CONNECTIONS = 10
/** A payload may hold anything: what moves the cursor of a terminal is not shown. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Prints why a machine may not show, its connections, and its last messages, the newest last. */
export async function showTail(api: FleetApi, id: string, json: boolean): Promise<void> {
  const tail = await api.ask<Tail>('GET', `/machines/${encodeURIComponent(id)}/tail`)
  if (json) return console.log(JSON.stringify(tail, undefined, 2))
  const { machine, diagnosis, connections, messages } = tail
  const now = Date.now()
  const ago = (at: string) => `${age(now - Date.parse(at))} ago`

  console.log(machine ? `${id} speaks for ${machine.id}, ${machine.type}, ${machine.state}.` : `${id} is no machine.`)
  for (const { text } of diagnosis) console.log(`  ${printable(text)}`)
  if (connections.length > 0) {
    console.log('')
    const shown = connections.slice(-SHOWN_CONNECTIONS)
    printTable([
      ['CONNECTION', 'EVENT', 'REASON', 'CLIENT', 'ADDRESS', ''],
      ...shown.map(({ at, event, reason, detail, clientId, address }) => [
        ago(at),
        event,
        reason ?? '–',
        printable(clientId),
        address,
        printable(detail ?? ''),
      ]),
    ])
  }
  if (messages.length === 0) return
  console.log('')
  const newestLast = [...messages].reverse()
  printTable([
    ['RECEIVED', 'TOPIC', 'QOS', 'BYTES', 'OUTCOME', 'PAYLOAD'],
    ...newestLast.map((message) => [
      ago(message.receivedAt),
      printable(message.topic ?? '–'),
      String(message.qos ?? '–'),
      String(message.size ?? '–'),
      outcome(message),
      payload(message),
    ]),
  ])
}

function outcome({ outcome: what, stored, duplicate, quarantined, quarantine, rejected }: TailedMessage): string {
  const counts = [`${stored} stored`, `${duplicate} duplicate`, `${quarantined} quarantined`]
  const why = quarantine.map(({ id, reason, detail }) => `${reason} (${detail}, no. ${id})`)
  const values = (rejected ?? []).map(({ signal, reason }) => `${signal} ${reason}`)
  return printable([what === 'mixed' ? counts.join(', ') : what, ...why, ...values].join('; '))
}

function payload({ payload: text, isCut }: TailedMessage): string {
  if (text === null) return '(not kept)'
  const shown = printable(text)
  return shown.length > SHOWN_PAYLOAD || isCut ? `${shown.slice(0, SHOWN_PAYLOAD)}…` : shown
}

function printable(text: string): string {
  return text.replace(UNPRINTABLE, ' ')
}
