import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { projectRoot } from '../../src/root.ts'

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function catalogue(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(projectRoot, 'bin/run.mjs'), 'catalogue', ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })
}

test('check counts what it found in the shipped files', async () => {
  const { code, stdout } = await catalogue('check')
  expect(stdout).toMatch(/^catalogue: 6 types, 6 models, \d+ signals, \d+ rules, 56 failure modes, \d+ tasks: ok\n$/)
  expect(code).toBe(0)
})

test('check names every fault and fails', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-catalogue-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'a.yaml'), 'name: { en: A, zh: A }\n')
  writeFileSync(join(folder, 'b.yaml'), 'type: b\ntype: c\n')
  const { code, stderr } = await catalogue('check', folder)
  expect(stderr).toBe(
    `${basename(folder)}/a.yaml:1: expected exactly one of type and model, got neither\n` +
      `${basename(folder)}/b.yaml:2: expected each key once, got a key that stands there already\n` +
      'catalogue: 2 faults\n',
  )
  expect(code).toBe(1)
})

test('show tells what holds for a model', async () => {
  const { code, stdout } = await catalogue('show', 'bp-52')
  expect(code).toBe(0)
  expect(stdout).toContain(
    'service counter: pumping_hours_h, else pto_hours_h, else engine_hours_h; volume pumped_volume_m3\n',
  )
  expect(stdout).toContain('  hyd_oil_temp_c.high: warn > 80 for 60 s, critical > 90 for 30 s → CP-05\n')
})

test('show of what is not there names what is', async () => {
  const { code, stderr } = await catalogue('show', 'boat')
  expect(code).toBe(1)
  expect(stderr).toMatch(/^no type or model 'boat'; there are: boom_pump, .*, tc-6015\n$/)
})
