import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { rssMb } from '../../src/commands/bench/process-figures.ts'
import { openDuckdb, rowsOf } from '../../src/store/duckdb-engine.ts'
import { madeUpPayloads } from '../acquire/made-up-payloads.ts'
import { answersIn, FAULTS, makeStream, randomCuts, sendStream, spoilt } from '../acquire/made-up-streams.ts'
import { seeded } from '../acquire/seeded.ts'
import { testRecords } from '../records/test-records.ts'
import { runningPipeline } from '../running-pipeline.ts'
import { dataFolder, startService, until } from '../service/running-service.ts'
import { settledCounts } from '../service/set-counts.ts'

const records = await testRecords()
const PAYLOADS = Number(process.env.FUZZ_PAYLOADS ?? 1_000_000)
const SOUND_EVERY = 20
const AT_ONCE = 2_000
const STREAMS = Number(process.env.FUZZ_STREAMS ?? 100_000)
const SPOILT_SHARE = 0.2
const CLIENTS = 100
const CLIENT = 'client-'
const START = Date.UTC(2026, 0, 1)
/** What a process may grow by after its first fifth. */
const GROWTH_MB = 150

const seed = Number(process.env.FUZZ_SEED ?? Date.now())
const told = `FUZZ_SEED=${seed}`

test(`${PAYLOADS} payloads: each is counted, the sound ones between them are stored, nothing grows (${told})`, async () => {
  const random = seeded(seed)
  const payload = madeUpPayloads(random, START)
  const { pipeline, store, receive } = await runningPipeline(records)
  const sound = `sound-${randomUUID()}`
  const topics = ['machines/m/telemetry', 'machines/n/telemetry', 'machines/m/faults', 'machines/m/status']
  const others = [...topics, 'gateways/g/telemetry', 'x/y']
  let soundSent = 0
  let grownFrom = 0

  const settled = () =>
    until(async () => {
      const { received, stored, duplicate, quarantined, waiting } = pipeline.counts()
      expect(stored + duplicate + quarantined + waiting, told).toBe(received)
      return waiting < AT_ONCE * 5 ? true : undefined
    }, 120_000)
  const receivedAt = START + 86_400_000
  for (let sent = 0; sent < PAYLOADS; sent += AT_ONCE) {
    const appended: Promise<void>[] = []
    for (let i = 0; i < AT_ONCE; i++) {
      const topic = others[Math.floor(random() * others.length)] as string
      if (i % SOUND_EVERY > 0) appended.push(receive(topic, '', { payload: payload(), receivedAt }))
      else {
        const text = JSON.stringify({ ts: START + soundSent * 50, signals: { hyd_oil_temp_c: soundSent % 90 } })
        soundSent++
        appended.push(receive(`machines/${sound}/telemetry`, text, { receivedAt }))
      }
    }
    await Promise.all(appended)
    await settled()
    if (grownFrom === 0 && sent >= PAYLOADS / 5) grownFrom = process.memoryUsage().rss
  }
  await until(async () => (pipeline.counts().waiting === 0 ? true : undefined), 120_000)
  await settled()
  const grownMb = (process.memoryUsage().rss - grownFrom) / 2 ** 20

  const { messages, stored, quarantined, received } = pipeline.counts()
  expect(
    messages.reduce((sum, { count }) => sum + count, 0),
    told,
  ).toBe(PAYLOADS)
  expect(pipeline.trouble(), told).toBeUndefined()
  const points = await store.range(
    { machine: sound, signal: 'hyd_oil_temp_c', from: START, to: 2 * START },
    soundSent + 1,
  )
  const wanted = Array.from({ length: soundSent }, (_, i) => [START + i * 50, i % 90])
  expect(points, told).toEqual(wanted)
  const { rows } = await records.pool.query(`select count(*)::int as held from quarantine where reason = 'failed'`)
  expect(rows, told).toEqual([{ held: 0 }])
  console.log(`${received} sets: ${stored} stored, ${quarantined} in quarantine; grown by ${grownMb.toFixed(0)} MiB`)
  expect(grownMb, told).toBeLessThan(GROWTH_MB)
})

test(`${STREAMS} streams of packets: what is sound in them is stored and acknowledged, every fault is counted, nothing grows (${told})`, async () => {
  const random = seeded(seed + 1)
  const service = await startService(await dataFolder(), { LOG_LEVEL: 'fatal' })
  const port = Number(new URL(service.broker).port)
  const faults = Object.keys(FAULTS)
  const memory = () => rssMb(service.process.pid as number) ?? 0
  const expected: number[] = []
  let grownFrom = 0
  let faulty = 0
  let started = 0

  /** Sends one that means something, and checks what is answered. */
  const sendMeant = async (machine: string, number: number) => {
    const name = `${machine} ${number}`
    const times: number[] = []
    const payloadOf = (message: number, bytes: number) => {
      times[message] = START + number * 100 + message
      return `{"ts":${times[message]},"signals":{"a":1},"note":"${'x'.repeat(Math.floor(bytes / 10))}"}`
    }
    const topic = `machines/${machine}/telemetry`
    const stream = makeStream(random, name, random() < 0.4 ? faults : [], { topic, payloadOf })
    if (stream.fault) faulty++
    const { ids } = answersIn(await sendStream(port, stream, randomCuts(random, stream)))
    const told = `FUZZ_SEED=${seed}, stream ${number}, ${stream.fault ?? 'sound'}`
    const order = (all: readonly number[]) => [...all].sort((a, b) => a - b)
    if (stream.fault === undefined) expect(order(ids), told).toEqual(order(stream.acknowledged))
    else for (const id of ids) expect(stream.acknowledged, told).toContain(id)
    expected.push(...times.slice(0, stream.arrive.length))
  }
  const sendSpoilt = async (machine: string, number: number) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {}).resume()
    await once(socket, 'connect')
    socket.end(spoilt(random, makeStream(random, `spoilt ${machine} ${number}`, faults)))
  }
  const client = async (machine: string) => {
    while (started < STREAMS) {
      const number = started++
      if (number >= STREAMS / 5) grownFrom ||= memory()
      if (random() < SPOILT_SHARE) await sendSpoilt(machine, number)
      else await sendMeant(machine, number)
      await nextTurn()
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(`${CLIENT}${i}`)))
  await settledCounts(service, 120_000)
  const grownMb = memory() - grownFrom
  const refused = await refusals(service)
  expect(refused, told).toBeGreaterThanOrEqual(faulty)
  expect(await service.stop(), told).toBe(0)

  const stored = await timesIn(join(service.folder, 'telemetry.duckdb'))
  expect(stored.length, told).toBe(expected.length)
  expect(stored, told).toEqual(expected.sort((a, b) => a - b))
  console.log(`${stored.length} messages of ${STREAMS} streams are stored; grown by ${grownMb.toFixed(0)} MiB`)
  expect(grownMb, told).toBeLessThan(GROWTH_MB)
})

/** How many connections were ended for what they sent. */
async function refusals(service: Parameters<typeof settledCounts>[0]): Promise<number> {
  const { body } = await service.request('GET', '/metrics')
  let sum = 0
  for (const [, count] of body.matchAll(/^outrigger_refused_total\{reason="(?:protocol|packet_too_large)"\} (\d+)/gm))
    sum += Number(count)
  return sum
}

/** Times of all readings of the clients' machines, in order. */
async function timesIn(file: string): Promise<number[]> {
  const engine = await openDuckdb({ file, memoryLimitMb: 1_024, threads: 2 })
  try {
    const sql = `
      SELECT measured_at::DOUBLE FROM reading JOIN machine ON machine.id = reading.machine
      WHERE machine.name LIKE '${CLIENT}%' ORDER BY measured_at`
    return (await rowsOf<readonly [number]>(engine.writer, sql)).map(([at]) => at)
  } finally {
    engine.close()
  }
}
