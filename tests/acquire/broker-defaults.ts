import { type AccessBook, type AccessBookOptions, openAccessBook } from '../../src/acquire/access-book.ts'
import type { EmbeddedBrokerOptions } from '../../src/acquire/embedded-broker.ts'
import { openLog } from '../../src/log.ts'

/** Key of the secrets in tests. */
export const accessKey = new Uint8Array(32).fill(1)

/** Nobody has credentials yet, so anybody may come in. */
export function accessBook(options: Partial<AccessBookOptions> = {}): AccessBook {
  return openAccessBook({
    key: accessKey,
    prefix: '',
    service: undefined,
    certificates: false,
    now: () => performance.now(),
    ...options,
  })
}

/** A broker on a free port without bounds; made anew for each. */
export function brokerDefaults(): Omit<EmbeddedBrokerOptions, 'accept'> {
  return {
    host: '127.0.0.1',
    port: 0,
    prefix: '',
    access: accessBook(),
    maxPacketBytes: 16 << 20,
    connectTimeoutMs: 10_000,
    limits: {
      connections: 20_000,
      addressConnections: undefined,
      machineConnections: undefined,
      machineMessagesPerSecond: undefined,
    },
    full: () => false,
    onRoom() {},
    log: openLog('test', 'silent'),
  }
}
