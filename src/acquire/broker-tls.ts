import { readFile } from 'node:fs/promises'
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from 'node:tls'
import type { Log } from '../log.ts'

/** The listener that speaks TLS. Paths are of PEM files. */
export interface TlsOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly certFile: string
  readonly keyFile: string
  /** Who signs the clients' certificates; without it none is asked for. */
  readonly caFile: string | undefined
  /** Whether a client without a certificate is turned away; otherwise it may log in by a secret. */
  readonly clientCertificate: 'optional' | 'required'
  /** So often the files are looked at for a new certificate. */
  readonly reloadMs?: number
}

export interface BrokerTls {
  readonly server: Server
  close(): void
}

const HANDSHAKE_MS = 10_000
const RELOAD_MS = 10_000

/**
 * A server that is not listening yet. A renewed certificate is taken over while connections go on; files that do not fit
 * together, which may be a renewal half done, leave the old one in use.
 *
 * @param taken called with each connection whose handshake is done, and with the common name of its certificate
 * @param refused called where a handshake failed or a certificate is not trusted
 * @throws {Error} the files cannot be used; the message names the settings
 */
export async function openBrokerTls(
  options: TlsOptions & { readonly connections: number },
  taken: (socket: TLSSocket, certificate: string | undefined) => void,
  refused: (address: string, detail: string) => void,
  log: Log,
): Promise<BrokerTls> {
  const { caFile, clientCertificate, reloadMs = RELOAD_MS } = options
  const asked = caFile !== undefined
  const required = asked && clientCertificate === 'required'
  let files = await readFiles(options).catch((error: Error) => {
    throw new Error(`MQTT_TLS_CERT, MQTT_TLS_KEY or MQTT_TLS_CA cannot be read: ${error.message}`)
  })
  const server = newServer(files, { requestCert: asked, rejectUnauthorized: required, handshakeTimeout: HANDSHAKE_MS })

  server.maxConnections = options.connections // also of those whose handshake is not done
  server.on('secureConnection', (socket) => {
    const { subject } = socket.getPeerCertificate()
    if (!asked || !subject) return taken(socket, undefined)
    const name: unknown = subject.CN // its types know of one only
    if (socket.authorized && typeof name === 'string') return taken(socket, name)
    refused(
      socket.remoteAddress ?? '',
      `a client certificate is not trusted: ${socket.authorizationError ?? 'no name'}`,
    )
    socket.destroy()
  })
  server.on('tlsClientError', (error, socket) => refused(socket.remoteAddress ?? '', error.message))

  const reload = async () => {
    const found = await readFiles(options)
    if (found.text === files.text) return
    server.setSecureContext(found.context)
    files = found
    log.info({ file: options.certFile }, 'new certificate in use')
  }
  let failed = ''
  const timer = setInterval(() => {
    reload().then(
      () => {
        failed = ''
      },
      (error: Error) => {
        if (failed !== error.message) log.warn({ err: error }, 'a new certificate cannot be used, the old one stays')
        failed = error.message
      },
    )
  }, reloadMs)
  timer.unref()
  return { server, close: () => clearInterval(timer) }
}

interface TlsFiles {
  readonly context: SecureContextOptions
  /** To see whether anything has changed. */
  readonly text: string
}

async function readFiles({ certFile, keyFile, caFile }: TlsOptions): Promise<TlsFiles> {
  const [cert, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')])
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8')
  return { context: { cert, key, ...(ca !== undefined && { ca }) }, text: `${cert}\0${key}\0${ca}` }
}

function newServer({ context }: TlsFiles, settings: Parameters<typeof createServer>[0]): Server {
  try {
    return createServer({ ...settings, ...context })
  } catch (error) {
    const reason = error instanceof Error ? error.message : error
    throw new Error(`MQTT_TLS_CERT, MQTT_TLS_KEY and MQTT_TLS_CA do not go together: ${reason}`)
  }
}
