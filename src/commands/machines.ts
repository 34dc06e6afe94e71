import { ConfigInvalid } from '../config.ts'
import { DataFolderHeld } from '../records/data-folder.ts'
import { ApiRefused } from './fleet-api.ts'
import { CommandUnclear, readArguments, type Values, withApi } from './machines-arguments.ts'
import { add, assign, revoke, rotate } from './machines-credentials.ts'
import { importFile } from './machines-import.ts'
import { listFleet } from './machines-list.ts'
import { showTail } from './machines-tail.ts'

const help = `Machines, and who may log in at the broker.

  npm run machines -- import FILE.csv [--dry-run] [--keep-going] [--credentials OUT.csv]
      Brings machines, devices, meter readings to what a table says; '-' reads it from standard input. Columns, by
      their header: device, machine, type, model, serial, customer, site, region, zone, delivered at, hours, hours at,
      language. Where a line is wrong nothing is written, with --keep-going the others are. Done again, it changes
      nothing. --credentials issues a secret to every device that has none, into a file for your eyes only.
  npm run machines -- add ID [--type TYPE] [--model M] [--serial S] [--customer C] [--site S] [--region R] [--zone Z]
                          [--delivered DATE] [--hours H] [--device DEVICE] [--password-stdin | --no-credentials]
      One machine, and the secret of its device; with an ID alone, the secret alone. A new machine needs its type.
  npm run machines -- add ID --gateway | --bridge [--machines A,B,…] [--password-stdin]
      Somebody who publishes for others: a gateway on its own topic, a bridge on theirs.
  npm run machines -- assign ID --machines A,B,… ; unassign ID --machines A,B,…
      For whom a bridge or gateway speaks.
  npm run machines -- rotate ID … | --all | --unused [--credentials OUT.csv] [--password-stdin]
      A new secret; who is connected by the old one is cut off. --all: everybody who has an issued one, --unused: those
      of them who never logged in.
  npm run machines -- revoke ID … [--reason WHY]
      Ends credentials, and connections.
  npm run machines -- list [--json]
      Machines and credentials: who logged in, who was heard, when.
  npm run machines -- tail ID [--json]
      The last messages of a machine or device and what became of each: why is it not showing?

For all of them: --json (one object on standard output), --user NAME (for the audit log), --reason WHY,
--url http://HOST:PORT (of a service elsewhere; OUTRIGGER_API_TOKEN where it wants one). Without --url, the service that
runs on OUTRIGGER_DATA is asked; where none runs, its records are opened, and its next start knows what was changed.

Ends with 0; with 1 where it could not be done; with 2 where the command cannot be understood.

  npm run machines -- import fleet.csv --dry-run
  npm run machines -- import fleet.csv --credentials secrets.csv
  npm run machines -- add pump-17 --type boom_pump --site Hafen
  npm run machines -- add site-4 --bridge --machines pump-17,crane-2
`

process.exitCode = await main().catch((error: unknown) => {
  if (error instanceof CommandUnclear) {
    console.error(`${error.message}; see --help`)
    return 2
  }
  // what a person can mend says so itself; everything else is ours and comes with its stack
  const known = [ApiRefused, ConfigInvalid, DataFolderHeld].some((kind) => error instanceof kind)
  console.error(error instanceof Error && (known || 'code' in error) ? error.message : error)
  return 1
})

/** @returns the exit code */
async function main(): Promise<number> {
  const { positionals, values } = readArguments()
  const [command, ...names] = positionals
  if (values.help || command === undefined) {
    console.log(help)
    return values.help ? 0 : 2
  }
  const commands: Readonly<Record<string, (names: readonly string[], values: Values) => Promise<number>>> = {
    import: importFile,
    add,
    assign: (names, values) => assign('assign', names, values),
    unassign: (names, values) => assign('unassign', names, values),
    rotate,
    revoke,
    list,
    tail,
  }
  const run = Object.hasOwn(commands, command) ? commands[command] : undefined
  if (!run) throw new CommandUnclear(`there is no '${command}': ${Object.keys(commands).join(', ')}`)
  return run(names, values)
}

async function list(names: readonly string[], values: Values): Promise<number> {
  if (names.length > 0) throw new CommandUnclear(`'${names.join(' ')}' is too much`)
  await withApi(values, 'records', (api) => listFleet(api, values.json))
  return 0
}

async function tail(names: readonly string[], values: Values): Promise<number> {
  const [id, ...more] = names
  if (id === undefined || more.length > 0) throw new CommandUnclear('tail needs one id, of a machine or device')
  await withApi(values, 'service', (api) => showTail(api, id, values.json))
  return 0
}
