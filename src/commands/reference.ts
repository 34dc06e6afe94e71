import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspectionReminderJsonSchema } from '../advise/inspection-reminder.ts'
import { maintenanceJobJsonSchema } from '../advise/maintenance-job.ts'
import { settingsTable } from '../config.ts'
import { projectRoot } from '../root.ts'

/** What `docs/reference/` holds: made from the schemas, checked in, and checked to be up to date. */
const pages: Readonly<Record<string, () => string>> = {
  'settings.md': () => `# Settings

From the environment; \`npm start -- --help\` shows the same. An empty variable counts as not set.

${settingsTable()}
`,
  'maintenance-job.schema.json': () => json(maintenanceJobJsonSchema()),
  'inspection-reminder.schema.json': () => json(inspectionReminderJsonSchema()),
}

function json(schema: object): string {
  return `${JSON.stringify(schema, undefined, 2)}\n`
}

const folder = join(projectRoot, 'docs', 'reference')
const stale: string[] = []
await mkdir(folder, { recursive: true })
for (const [name, content] of Object.entries(pages)) {
  const file = join(folder, name)
  if (!process.argv.includes('--check')) await writeFile(file, content())
  else if ((await readFile(file, 'utf8').catch(() => '')) !== content()) stale.push(name)
}
if (stale.length > 0) {
  console.error(`docs/reference is not up to date: ${stale.join(', ')}; run: npm run reference`)
  process.exitCode = 1
}
