import type { Generated } from 'kysely'

/** `bridge` publishes for the machines assigned to it, `gateway` on its own topic. */
export const CREDENTIAL_KINDS = ['machine', 'gateway', 'bridge'] as const
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number]

export interface CredentialsTable {
  id: string
  kind: CredentialKind
  verifier: string | null
  connections: number | null
  messages_per_second: number | null
  packet_bytes: number | null
  created_at: Date
  created_by: string
  rotated_at: Date | null
  rotated_by: string | null
  revoked_at: Date | null
  revoked_by: string | null
  last_used_at: Date | null
  revision: Generated<number>
}

interface CredentialMachinesTable {
  credential: string
  machine: string
}

export interface CredentialTables {
  credentials: CredentialsTable
  credential_machines: CredentialMachinesTable
}
