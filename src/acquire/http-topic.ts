import type { Identity, RefusedLogin } from './access.ts'

/** What a machine, gateway or bridge shows as its credentials. */
export interface HttpLogin {
  readonly username: string
  readonly password: string
  /** Remote address. */
  readonly address: string
}

/** The topic under which a sender may speak, or why it may not. */
export type HttpAdmission = { readonly topic: string } | { readonly refused: RefusedLogin | 'not_authorized' }

/** Under this name comes what names no machine and no gateway itself. */
const NAMELESS = 'http'

/**
 * The topic that a body sent over HTTP stands for: from there on it is a message like any other.
 *
 * @param identity who sends it; undefined: somebody who may do everything
 * @param machine whose sets they are; undefined: each set names its own, unless the sender is a machine
 * @returns undefined: this sender may not speak for that machine, or a bridge has not said for which it speaks
 */
export function httpTopic(
  identity: Pick<Identity, 'kind' | 'id' | 'mayPublish'> | undefined,
  machine: string | undefined,
  prefix: string,
): string | undefined {
  const topic = machine === undefined ? ownTopic(identity, prefix) : `${prefix}machines/${machine}/telemetry`
  return !identity || identity.mayPublish(topic) ? topic : undefined
}

function ownTopic(identity: Pick<Identity, 'kind' | 'id'> | undefined, prefix: string): string {
  if (identity?.kind === 'machine') return `${prefix}machines/${identity.id}/telemetry`
  return `${prefix}gateways/${identity?.kind === 'gateway' ? identity.id : NAMELESS}/telemetry`
}
