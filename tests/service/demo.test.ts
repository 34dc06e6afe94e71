import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { projectRoot } from '../../src/root.ts'
import { dataFolder, startService, until } from './running-service.ts'

test('the demo leads to a ticket and an inspection reminder, stops when told to, and leaves data that can be read', {
  timeout: 150_000,
}, async () => {
  const folder = await dataFolder()
  const child = spawn(process.execPath, [join(projectRoot, 'bin', 'run.mjs'), 'demo'], {
    env: { ...process.env, OUTRIGGER_DATA: folder, PORT: '0', MQTT_PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  onTestFinished(async () => {
    child.kill('SIGINT')
    await ended
  })
  let told = ''
  child.stdout.on('data', (chunk) => {
    told += chunk
  })
  const api = await until(async () => /(http:\S+)\/docs/.exec(told)?.[1], 40_000)
  const items = async (path: string) => {
    const page = (await (await fetch(`${api}/api/v1/${path}`)).json()) as { items: any[] }
    return page.items
  }

  const [ticket] = await until(async () => {
    const tickets = await items('tickets')
    return tickets.length > 0 ? tickets : undefined
  }, 90_000)
  expect(ticket).toMatchObject({ machine: 'pump-1', failureMode: 'CP-05', priority: 'P2' })
  const reminded = (await items('inspections?performer=service')).filter(({ remindedAt }) => remindedAt !== null)
  expect(reminded.map(({ machine }) => machine)).toContain('pump-2')
  await until(async () => (/TICKET\s+pump-1/.test(told) && /INSPECTION\s+pump-2/.test(told) ? true : undefined))

  child.kill('SIGINT')
  expect(await ended).toEqual([0, null])
  const service = await startService(folder)
  expect(await service.get(`/tickets/${ticket.id}`)).toMatchObject({ machine: 'pump-1' })
})
