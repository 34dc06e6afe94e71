import type { MessageKind } from './message.ts'

/** A topic of the contract with the machines, taken apart. */
export type Topic =
  | { readonly kind: 'telemetry' | 'faults' | 'status' | 'advice'; readonly device: string }
  | { readonly kind: 'gateway'; readonly gateway: string }

const ID = /^[A-Za-z0-9._-]{1,64}$/

/** Whether this may be the id of a machine, device or gateway: 1–64 of `A–Z a–z 0–9 . _ -`. */
export function isId(text: unknown): text is string {
  return typeof text === 'string' && ID.test(text)
}

/**
 * @param prefix what stands before `machines/` and `gateways/`, with its own slash at the end; may be empty
 * @returns undefined for a topic that is not of the contract, or whose id is none
 */
export function parseTopic(topic: string, prefix: string): Topic | undefined {
  if (!topic.startsWith(prefix)) return undefined
  const rest = topic.slice(prefix.length)
  if (rest.startsWith('machines/')) {
    const slash = rest.indexOf('/', 9)
    if (slash < 0) return undefined
    const device = rest.slice(9, slash)
    const kind = rest.slice(slash + 1)
    if (kind !== 'telemetry' && kind !== 'faults' && kind !== 'status' && kind !== 'advice') return undefined
    return isId(device) ? { kind, device } : undefined
  }
  if (!rest.startsWith('gateways/') || !rest.endsWith('/telemetry')) return undefined
  const gateway = rest.slice(9, -10)
  return isId(gateway) ? { kind: 'gateway', gateway } : undefined
}

/**
 * The device that a topic names, of the contract or not: who misspells what follows is named all the same.
 *
 * @returns undefined where it names none
 */
export function deviceOfTopic(topic: string, prefix: string): string | undefined {
  const [kind, device] = topic.slice(prefix.length).split('/', 2)
  const isNamed = topic.startsWith(prefix) && (kind === 'machines' || kind === 'gateways') && isId(device)
  return isNamed ? device : undefined
}

/** What a message counts as at receipt, before anybody looks inside. */
export function messageKind(topic: string, prefix: string): MessageKind {
  const parsed = parseTopic(topic, prefix)
  if (!parsed || parsed.kind === 'advice') return 'other' // advice goes out, nobody sends it to us
  return parsed.kind === 'gateway' ? 'telemetry' : parsed.kind
}

/** The topic on which a machine, its cab or its gateway hears of alarms, jobs and operator tasks. */
export function adviceTopic(machine: string, prefix: string): string {
  return `${prefix}machines/${machine}/advice`
}

/** Filters that cover what machines and gateways send, and not what goes out to them. */
export function inboundFilters(prefix: string): string[] {
  return [
    `${prefix}machines/+/telemetry`,
    `${prefix}machines/+/faults`,
    `${prefix}machines/+/status`,
    `${prefix}gateways/+/telemetry`,
  ]
}
