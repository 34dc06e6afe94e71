import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/** The account that PostgreSQL runs under; as `spawn` takes it. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

const run = promisify(execFile)

/** `nobody`: PostgreSQL refuses to run as root, and this account exists everywhere. */
export async function unprivilegedAccount(): Promise<Account> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '')
  const fields = passwd
    .split('\n')
    .find((line) => line.startsWith('nobody:'))
    ?.split(':')
  // macOS writes -2, which is 4294967294 to the kernel.
  return { uid: Number(fields?.[2] ?? 65_534) >>> 0, gid: Number(fields?.[3] ?? 65_534) >>> 0 }
}

/**
 * Runs a program under the account, from a folder that everybody can reach.
 *
 * @throws what `execFile` throws, with what the program wrote to stderr as `stderr`
 */
export async function runAs(
  account: Account | undefined,
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; input?: string } = {},
): Promise<void> {
  const running = run(program, args, { cwd: options.cwd ?? '/', env: options.env, encoding: 'utf8', ...account })
  running.child.stdin?.on('error', () => {}) // a program that ends without reading says why by its exit status
  running.child.stdin?.end(options.input)
  await running
}

/** Whether the account can make and remove a file there. It is tried: no rule about paths and modes covers mounts and ACLs. */
export async function canWrite(account: Account | undefined, folder: string): Promise<boolean> {
  try {
    await runAs(account, '/bin/sh', ['-c', 'cd "$1" && : > .try && rm .try', 'sh', folder])
    return true
  } catch {
    return false
  }
}
