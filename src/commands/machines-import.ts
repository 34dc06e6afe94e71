import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { ApiRefused } from './fleet-api.ts'
import { CommandUnclear, decision, say, secretsFileOf, type Values, withApi } from './machines-arguments.ts'
import type { ToldSecret } from './secrets-file.ts'

/** What the API says of an import. */
export interface ImportReport {
  readonly outcome: 'written' | 'unchanged' | 'dry_run'
  readonly lines: number
  readonly created: readonly string[]
  readonly changed: readonly string[]
  readonly unchanged: number
  readonly bound: number
  readonly meterReadings: number
  readonly withoutCredentials: number
  readonly credentials: readonly ToldSecret[]
  readonly ignoredColumns: readonly string[]
  readonly faults: readonly { readonly line: number; readonly column: string | null; readonly detail: string }[]
}

/** Imports the table of a file. @returns the exit code */
export async function importFile(names: readonly string[], values: Values): Promise<number> {
  const [file, ...more] = names
  if (file === undefined || more.length > 0) throw new CommandUnclear('import needs one file')
  const bytes = file === '-' ? await buffer(process.stdin) : await readFile(file)
  const isDry = values['dry-run']
  const secrets = isDry ? undefined : await secretsFileOf(values)
  const query = new URLSearchParams({
    ...decision(values),
    dryRun: String(isDry),
    keepGoing: String(values['keep-going']),
    credentials: String(values.credentials !== undefined),
  })
  try {
    const report = await withApi(values, 'nothing', (api) =>
      api.ask<ImportReport>('POST', `/machines/import?${query}`, bytes),
    )
    const { credentials, ...rest } = report
    if (credentials.length > 0) await secrets?.write(credentials)
    for (const { line, column, detail } of report.faults) complain(file, line, column ?? undefined, detail)
    say(values, { ...rest, issued: credentials.length }, imported(report, values.credentials))
    return report.faults.length > 0 ? 1 : 0
  } catch (error) {
    if (!(error instanceof ApiRefused)) throw error
    for (const { pointer, detail } of error.errors) {
      const [, line = '', column] = pointer.split('/')
      complain(file, Number(line), column, detail)
    }
    throw error
  } finally {
    await secrets?.close()
  }
}

function complain(file: string, line: number, column: string | undefined, detail: string): void {
  console.error([`${file}:${line}`, column, detail].filter((part) => part !== undefined).join(': '))
}

function imported(report: ImportReport, secretsFile: string | undefined): string[] {
  const { outcome, created, changed, unchanged, bound, meterReadings, credentials, withoutCredentials } = report
  const issued = outcome === 'dry_run' ? withoutCredentials : credentials.length
  const counts = [
    [created.length, 'machines new'],
    [changed.length, 'changed'],
    [unchanged, 'as they were'],
    [bound, 'devices bound'],
    [meterReadings, 'meter readings'],
    [issued, 'secrets issued'],
  ] as const
  const said = counts.filter(([count]) => count > 0).map(([count, what]) => `${count.toLocaleString('en')} ${what}`)
  const title = { written: 'Imported', unchanged: 'Nothing to do', dry_run: 'Would import' }[outcome]
  return [
    `${title}: ${said.join(', ') || 'no lines'}.`,
    ...(report.ignoredColumns.length > 0 ? [`Columns left out: ${report.ignoredColumns.join(', ')}.`] : []),
    ...(secretsFile !== undefined && credentials.length > 0
      ? [`The secrets are in ${secretsFile} and nowhere else.`]
      : []),
  ]
}
