import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import { expect, onTestFinished, test } from 'vitest'
import { machineTypes } from '../../simulators/faults.ts'
import { type FleetMachine, type FleetOptions, simulateFleet, startFor } from '../../simulators/fleet.ts'

interface Received {
  readonly topic: string
  readonly payload: string
  readonly qos: number
  readonly retain: boolean
}

async function broker() {
  const aedes = await Aedes.createBroker()
  const server = createServer(aedes.handle)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    await new Promise<void>((resolve) => aedes.close(resolve))
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  let mute = false
  aedes.authorizePublish = (_client, _packet, done) => {
    if (!mute) done(null)
  }
  const received: Received[] = []
  aedes.on('publish', ({ topic, payload, qos, retain }) => {
    if (!topic.startsWith('$SYS')) received.push({ topic, payload: String(payload), qos, retain })
  })
  const { port } = server.address() as AddressInfo
  const goMute = () => {
    mute = true
  }
  return { received, sockets, goMute, url: `mqtt://127.0.0.1:${port}`, telemetry: () => received.filter(isTelemetry) }
}

const isTelemetry = ({ topic }: Received) => topic.endsWith('/telemetry')

/** So many simulated minutes that end at the wall clock. */
function run(machines: readonly FleetMachine[], url: string, minutes: number, more: Partial<FleetOptions> = {}) {
  const { speed = 600 } = more
  const startAt = startFor(Date.now(), speed, minutes * 60_000)
  const endAt = startAt + minutes * 60_000
  return simulateFleet({
    ...{ machines, connect: { url }, speed, startAt, endAt, reportEverySeconds: 10 },
    signal: new AbortController().signal,
    ...more,
  })
}

test('a mixed fleet publishes with QoS 1, all of it is acknowledged, and no clock passes the wall clock', async () => {
  const { received, telemetry, url } = await broker()
  const machines = machineTypes.map((type) => ({ id: type.replaceAll('_', '-'), type, seed: 1 }))
  const result = await run(machines, url, 15)

  expect(result.acknowledged).toBe(result.published)
  expect(received.length).toBe(result.published)
  expect(result.sets).toBe(telemetry().length)
  for (const { id } of machines) {
    const own = telemetry().filter(({ topic }) => topic === `machines/${id}/telemetry`)
    const sets = own.map(({ payload }) => JSON.parse(payload) as { ts: number; seq: number })
    expect(sets.map(({ seq }) => seq)).toEqual(sets.map((_, index) => index))
    expect(sets.length).toBeGreaterThan(80)
    for (const { ts } of sets) expect(ts).toBeLessThanOrEqual(Date.now())
    const status = received.filter(({ topic }) => topic === `machines/${id}/status`)
    expect(status.map(({ payload }) => JSON.parse(payload).online)).toEqual([true, false])
    for (const { retain, qos } of status) expect({ retain, qos }).toEqual({ retain: true, qos: 1 })
  }
})

test('a machine whose connection is cut leaves its will, comes back, and loses nothing', async () => {
  const { received, sockets, telemetry, url } = await broker()
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  const startAt = Date.now() - 3_600_000
  const machines = [{ id: 'ex-1', type: 'excavator', seed: 1 }] as const
  const online = () =>
    received.filter(({ topic }) => topic === 'machines/ex-1/status').map(({ payload }) => JSON.parse(payload).online)
  const done = simulateFleet({
    ...{ machines, connect: { url }, speed: 60, startAt, reportEverySeconds: 1, signal: stop.signal },
  })
  await expect.poll(() => telemetry().length, { timeout: 10_000 }).toBeGreaterThan(50)
  for (const socket of sockets) socket.destroy()
  await expect.poll(online, { timeout: 10_000 }).toEqual([true, false, true])
  const before = telemetry().length
  await expect.poll(() => telemetry().length, { timeout: 10_000 }).toBeGreaterThan(before + 50)
  stop.abort()
  const result = await done
  expect(result.acknowledged).toBe(result.published)
  const seqs = new Set(telemetry().map(({ payload }) => JSON.parse(payload).seq as number))
  expect(seqs.size).toBe(Math.max(...seqs) + 1)
})

test('in a dead zone the broker publishes the will, then the machine brings its backlog, newest first', async () => {
  const { received, telemetry, url } = await broker()
  const machines = [{ id: 'mc-1', type: 'mobile_crane', seed: 2, messy: new Set(['offline'] as const) }] as const
  const result = await run(machines, url, 8 * 60, { speed: 12_000, reportEverySeconds: 60 })
  expect(result.acknowledged).toBe(result.published)
  const status = received
    .filter(({ topic }) => topic.endsWith('/status'))
    .map(({ payload }) => JSON.parse(payload).online)
  expect(status.slice(0, 3)).toEqual([true, false, true])
  const times = telemetry().map(({ payload }) => JSON.parse(payload).ts as number)
  expect(times.filter((ts, index) => ts < (times[index - 1] ?? 0)).length).toBeGreaterThan(50)
})

test('labels tell mode and damage of the faulty machine', async () => {
  const { url } = await broker()
  const labels: { machine: string; d: number; failureMode: string | null }[] = []
  const fault = { code: 'CP-05', onsetHours: -1, lifeHours: 10 } as const
  const machines = [
    { id: 'bp-1', type: 'boom_pump', seed: 1, fault },
    { id: 'bp-2', type: 'boom_pump', seed: 2 },
  ] as const
  await run(machines, url, 12, { onLabel: (label) => labels.push(label) })
  const of = (machine: string) => labels.filter((label) => label.machine === machine)
  expect(of('bp-1').at(-1)).toMatchObject({ failureMode: 'CP-05' })
  expect(of('bp-1').at(-1)?.d).toBeGreaterThan(0.1)
  expect(of('bp-2').at(-1)).toMatchObject({ failureMode: null, d: 0 })
})

test('no broker is a clear error, at once', async () => {
  const machines = [{ id: 'bp-1', type: 'boom_pump', seed: 1 }] as const
  await expect(run(machines, 'mqtt://127.0.0.1:1', 1)).rejects.toThrow(/no MQTT broker at mqtt:\/\/127\.0\.0\.1:1/)
})

test('an abort ends a fleet whose broker no longer answers', async () => {
  const { goMute, telemetry, url } = await broker()
  const stop = new AbortController()
  const machines = [{ id: 'tc-1', type: 'tower_crane', seed: 1 }] as const
  const startAt = Date.now() - 3_600_000
  let unanswered = 0
  const done = simulateFleet({
    ...{ machines, connect: { url }, speed: 60, startAt, signal: stop.signal },
    onProgress: ({ published, acknowledged }) => {
      unanswered = published - acknowledged
    },
  })
  await expect.poll(() => telemetry().length, { timeout: 10_000 }).toBeGreaterThan(10)
  goMute()
  await expect.poll(() => unanswered, { timeout: 10_000 }).toBeGreaterThan(0)
  stop.abort()
  const result = await done
  expect(result.published).toBeGreaterThan(result.acknowledged)
})
