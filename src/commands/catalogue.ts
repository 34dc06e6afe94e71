import { join } from 'node:path'
import type { Profile } from '../catalogue/catalogue.ts'
import { CatalogueInvalid, loadCatalogue } from '../catalogue/load.ts'
import { projectRoot } from '../root.ts'

const USAGE = `usage: catalogue check [FOLDER]        reads every file and names every fault
       catalogue show TYPE|MODEL       what holds for machines of it, inheritance resolved`

const [command, argument] = process.argv.slice(2)
process.exitCode = run(command, argument)

function run(command: string | undefined, argument: string | undefined): number {
  if (command === '--help' || command === 'help') return say(USAGE)
  if (command === 'check') return check(argument ?? join(projectRoot, 'catalogue'))
  if (command === 'show' && argument) return show(argument)
  console.error(USAGE)
  return 2
}

function check(folder: string): number {
  try {
    const { types, models } = loadCatalogue(folder)
    const profiles = [...types.values(), ...models.values()]
    const distinct = (keys: (profile: Profile) => Iterable<string>) =>
      new Set(profiles.flatMap((p) => [...keys(p)])).size
    return say(
      `catalogue: ${types.size} types, ${models.size} models, ${distinct((p) => p.signals.keys())} signals, ` +
        `${distinct((p) => p.rules.keys())} rules, ${distinct((p) => p.failureModes.keys())} failure modes, ` +
        `${distinct((p) => p.tasks.keys())} tasks: ok`,
    )
  } catch (error) {
    if (!(error instanceof CatalogueInvalid)) throw error
    console.error(error.message)
    console.error(`catalogue: ${error.faults.length} ${error.faults.length === 1 ? 'fault' : 'faults'}`)
    return 1
  }
}

function show(id: string): number {
  const { types, models } = loadCatalogue(join(projectRoot, 'catalogue'))
  const profile = models.get(id) ?? types.get(id)
  if (profile) return say(summary(profile).join('\n'))
  console.error(`no type or model '${id}'; there are: ${[...types.keys(), ...models.keys()].join(', ')}`)
  return 1
}

function* section(title: string, lines: Iterable<string>) {
  yield ''
  yield title
  for (const line of lines) yield `  ${line}`
}

function summary(profile: Profile): string[] {
  const { serviceCounter: counter } = profile
  return [
    `${profile.model ?? profile.type}: ${profile.name.en} (${profile.name.zh})`,
    `service counter: ${counter.signals.join(', else ')}${counter.volume ? `; volume ${counter.volume}` : ''}`,
    `modes: ${[...profile.modes].map(([mode, { code }]) => `${mode} ${code}`).join(', ')}`,
    ...section(
      'signals',
      [...profile.signals].map(
        ([name, s]) => `${name} [${s.unit}] ${s.plausible.join(' to ')}, ${s.sent}, ${s.component}`,
      ),
    ),
    ...section(
      'rules',
      [...profile.rules.values()].map((rule) => {
        const levels = (['warn', 'critical'] as const).flatMap((key) => {
          const level = rule[key]
          return level
            ? [`${key} ${sign(rule.direction, rule.inclusive)} ${level.limit} for ${level.onDelaySeconds} s`]
            : []
        })
        const measure = rule.measure ? ` of ${JSON.stringify(rule.measure)}` : ''
        return `${rule.id}${measure}: ${levels.join(', ')}${rule.failureMode ? ` → ${rule.failureMode}` : ''}`
      }),
    ),
    ...section(
      'failure modes',
      [...profile.failureModes].map(
        ([code, mode]) => `${code} ${mode.name.en} (${mode.name.zh}), ${mode.severity.critical}`,
      ),
    ),
    ...section(
      'tasks',
      [...profile.tasks].map(([id, task]) => {
        const due = [...task.points, task.every, task.calendar].filter((span) => span !== undefined)
        return `${id} (${task.performer}): ${due.map((span) => JSON.stringify(span)).join(' ')}`
      }),
    ),
  ]
}

function sign(direction: 'high' | 'low', inclusive: boolean): string {
  if (direction === 'high') return inclusive ? '≥' : '>'
  return inclusive ? '≤' : '<'
}

function say(text: string): number {
  console.log(text)
  return 0
}
