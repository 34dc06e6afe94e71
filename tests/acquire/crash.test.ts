import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { bundled } from '../bundled.ts'
import { client } from './broker-case.ts'
import { readAll, spoolIn, temporaryFolder, texts } from './spool-case.ts'

async function startBroker(program: string, folder: string): Promise<{ process: ChildProcess; address: string }> {
  const child = spawn(process.execPath, [program, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return { process: child, address: line.toString().trim() }
}

test('kill -9 at any moment: every acknowledged message is in the spool', async () => {
  const program = await bundled(join(import.meta.dirname, 'crash-broker.ts'))
  const folder = temporaryFolder()
  const acknowledged: string[] = []
  let sent = 0

  for (const killAfter of [1, 37, 400, 1_500]) {
    const broker = await startBroker(program, folder)
    const machines = await Promise.all([client(broker), client(broker), client(broker)])
    const target = acknowledged.length + killAfter
    const publishing = machines.map(async (machine) => {
      for (;;) {
        const texts = Array.from({ length: 10 }, () => String(sent++))
        await Promise.all(
          texts.map(async (text) => {
            await machine.publishAsync('machines/m/telemetry', text, { qos: 1 })
            acknowledged.push(text)
            if (acknowledged.length === target) broker.process.kill('SIGKILL')
          }),
        )
      }
    })
    await once(broker.process, 'exit')
    for (const machine of machines) machine.end(true)
    await Promise.allSettled(publishing)
  }

  const spool = await spoolIn(folder)
  const { messages, damaged } = readAll(folder, spool.committed)
  expect(damaged).toBe(0)
  const kept = new Set(texts(messages))
  expect(acknowledged.length).toBeGreaterThan(1_900)
  expect(acknowledged.filter((text) => !kept.has(text))).toEqual([])
})
