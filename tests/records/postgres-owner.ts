import { once } from 'node:events'
import pino from 'pino'
import { startEmbeddedPostgres } from '../../src/records/embedded-postgres.ts'

/** Runs the embedded PostgreSQL on a folder until its input ends; Ctrl-C is for others. */
const [folder = '', stateFolder = ''] = process.argv.slice(2)
process.on('SIGINT', () => {})
const { connection, pid, where, stop } = await startEmbeddedPostgres({
  folder,
  stateFolder,
  log: pino({ level: 'silent' }),
})
console.log(JSON.stringify({ connection, pid, where }))
process.stdin.resume()
await once(process.stdin, 'end')
await stop()
process.exit()
