import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from './spool-case.ts'

/** Paths of PEM files, for 127.0.0.1 and a client `pump-1`, both signed by the authority `ca`. */
export interface Certificates {
  readonly ca: string
  readonly server: { readonly cert: string; readonly key: string }
  readonly client: { readonly cert: string; readonly key: string }
}

export const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return process.env.OUTRIGGER_REQUIRE_SERVERS === '1'
  }
})()

/** Fresh ones, until the test's end. */
export function certificates(): Certificates {
  const folder = temporaryFolder()
  chmodSync(folder, 0o755) // a broker may run under an account of its own
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl('req', '-x509', ...newKey, '-days', '1', '-subj', '/CN=test authority', '-keyout', 'ca.key', '-out', 'ca.pem')
  const signed = (name: string, subject: string, extension: string) => {
    openssl('req', ...newKey, '-subj', subject, '-keyout', `${name}.key`, '-out', `${name}.csr`)
    writeFileSync(join(folder, `${name}.ext`), extension)
    const signing = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '1', '-extfile', `${name}.ext`]
    openssl('x509', '-req', '-in', `${name}.csr`, ...signing, '-out', `${name}.pem`)
    chmodSync(join(folder, `${name}.key`), 0o644)
    return { cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) }
  }
  return {
    ca: join(folder, 'ca.pem'),
    server: signed('server', '/CN=localhost', 'subjectAltName=IP:127.0.0.1,DNS:localhost'),
    client: signed('client', '/CN=pump-1', 'extendedKeyUsage=clientAuth'),
  }
}
