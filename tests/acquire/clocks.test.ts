import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { replayFromQuarantine } from '../../src/acquire/quarantine.ts'
import { type ClockPolicyDraft, listClockPolicies, setClockPolicy } from '../../src/machines/clock-policies.ts'
import { testRecords } from '../records/test-records.ts'
import { runningPipeline } from '../running-pipeline.ts'

const records = await testRecords()
const { db } = records
const second = 1_000
const minute = 60_000
const hour = 3_600_000
const tenYears = 3_653 * 24 * hour
const start = Math.floor((Date.now() - 3 * hour) / minute) * minute
const decision = { user: 'li.wei', reason: 'looked at the machine', now: start }

type Running = Awaited<ReturnType<typeof runningPipeline>>

const unique = (name: string) => `${name}-${randomUUID().slice(0, 8)}`
const telemetry = (device: string) => `machines/${device}/telemetry`
const say = (ts: number | string, value = 1) => JSON.stringify({ ts, signals: { hyd_oil_temp_c: value } })

/** A device that sends every ten seconds. */
async function send({ receive }: Running, device: string, from: number, to: number, ahead = 0): Promise<number> {
  const sent: Promise<void>[] = []
  for (let at = from; at < to; at += 10 * second) {
    sent.push(receive(telemetry(device), say(at + ahead), { receivedAt: at + 300 }))
  }
  await Promise.all(sent)
  return sent.length
}

async function pointsOf({ store }: Running, machine: string, signal = 'hyd_oil_temp_c') {
  const points = await store.range({ machine, signal, from: 0, to: Date.now() + tenYears * 2 }, 10_000)
  return points.map(([at]) => at)
}

const held = async (topic: string) =>
  (await db.selectFrom('quarantine').select(['id', 'reason']).where('topic', '=', topic).orderBy('id').execute()) ?? []

/** Says what is known of a clock, as the API does. */
async function know(
  { pipeline }: Running,
  draft: Pick<ClockPolicyDraft, 'device' | 'policy'> & Partial<ClockPolicyDraft>,
) {
  await setClockPolicy(db, { from: null, to: null, ...draft }, decision)
  await pipeline.refresh()
}

async function replayAll(running: Running, topic: string): Promise<number> {
  const entries = await held(topic)
  for (const { id } of entries)
    await replayFromQuarantine(db, id, decision, (name, bytes, receivedAt) =>
      running.receive(name, bytes.toString(), { receivedAt, origin: 'replay' }),
    )
  return entries.length
}

for (const jump of [hour, -hour, tenYears, -tenYears]) {
  test(`a clock that jumps by ${jump / hour} h is recorded, shown, and mended by what is known of it`, async () => {
    const running = await runningPipeline(records)
    const { clocks, settled } = running
    const device = unique('jumps')
    const at = start + 10 * minute
    let sets = await send(running, device, start, at)
    sets += await send(running, device, at, at + 10 * minute, jump)
    await settled(sets)
    await clocks.keep()

    const [clock] = clocks.view({ device, limit: 1, now: at })
    expect(clock).toMatchObject({ state: jump > 0 ? 'ahead' : 'behind', jumps: 1 })
    expect(Math.round((clock?.offsetMs ?? 0) / second)).toBe(jump / second)
    const [event] = await db.selectFrom('data_quality_events').selectAll().where('machine', '=', device).execute()
    expect(event).toMatchObject({ kind: 'clock_jump', signal: null, detail: expect.stringContaining(device) })
    expect(Math.round((event?.value ?? 0) - (event?.previous ?? 0))).toBe(jump / second)

    const refused = await held(telemetry(device))
    expect(refused.map(({ reason }) => reason)).toEqual(jump > 0 ? Array(60).fill('clock') : [])
    await know(running, { device, policy: { kind: 'offset', offsetMs: jump }, from: new Date(at) })
    sets += await replayAll(running, telemetry(device))
    sets += await send(running, device, at + 10 * minute, at + 20 * minute, jump)
    await settled(sets)
    const mended = (await pointsOf(running, device)).filter((point) => point >= start)
    expect(mended).toHaveLength(jump > 0 ? 180 : 120)
    expect(clocks.view({ device, limit: 1, now: at + 20 * minute })).toMatchObject([{ state: 'right', jumps: 1 }])
  })
}

test('a device on local time is mended by its zone over the change to winter time, also where it names none', async () => {
  const running = await runningPipeline(records)
  const device = unique('berlin')
  const change = Date.UTC(2025, 9, 26, 1) // 03:00 in summer becomes 02:00 in winter
  const local = (at: number) => new Date(at + (at < change ? 2 : 1) * hour).toISOString()
  const times = Array.from({ length: 25 }, (_, i) => change - 2 * hour + i * 10 * minute)
  const sendAll = async () => {
    for (const [i, at] of times.entries()) {
      const ts = i % 2 === 0 ? local(at).replace('Z', '') : local(at)
      await running.receive(telemetry(device), say(ts), { receivedAt: at + 300 })
    }
  }
  await sendAll()
  await running.settled(25)
  expect(new Set((await held(telemetry(device))).map(({ reason }) => reason))).toEqual(new Set(['time', 'clock']))
  await know(running, { device, policy: { kind: 'zone', zone: 'Europe/Berlin' } })
  expect(await replayAll(running, telemetry(device))).toBe(25)
  await running.settled(50)
  expect(await pointsOf(running, device)).toEqual(times)
  await sendAll()
  await running.settled(75)
  expect(running.pipeline.counts()).toMatchObject({ stored: 25, duplicate: 25, quarantined: 25 })
})

test('of a device without a clock the time of receipt is taken, marked so, and put in again it is the same', async () => {
  const running = await runningPipeline(records)
  const { receive, settled, store } = running
  const device = unique('no-clock')
  const three = JSON.stringify([{ signals: { a: 1 } }, { ts: 0, signals: { a: 2 } }, { ts: 'soon', signals: { a: 3 } }])
  await receive(telemetry(device), three, { receivedAt: start })
  await settled(3)
  expect((await held(telemetry(device))).map(({ reason }) => reason)).toEqual(['time', 'time', 'time'])

  await know(running, { device, policy: { kind: 'no_clock' }, to: new Date(start + hour) })
  await receive(telemetry(device), three, { receivedAt: start + minute })
  expect(await replayAll(running, telemetry(device))).toBe(3)
  await settled(9)
  const times = [start, start + 1, start + 2, start + minute, start + minute + 1, start + minute + 2]
  expect(await pointsOf(running, device, 'a')).toEqual(times)
  expect(await pointsOf(running, device, 'time_is_arrival')).toEqual(times)

  await receive(telemetry(device), JSON.stringify({ ts: start + hour, signals: { a: 4 } }), {
    receivedAt: start + hour,
  })
  await settled(10)
  expect(await store.latest(device)).toContainEqual({ signal: 'a', measuredAt: start + hour, value: 4 })
  expect(await pointsOf(running, device, 'time_is_arrival')).toEqual(times)
})

test('policies give way to one another in time, and each stays written down with who said it', async () => {
  const device = unique('history')
  const span = (from: number | null, to: number | null) => ({
    from: from === null ? null : new Date(start + from),
    to: to === null ? null : new Date(start + to),
  })
  const offset = (offsetMs: number) => ({ kind: 'offset', offsetMs }) as const
  await setClockPolicy(db, { device, policy: offset(1), ...span(null, null) }, decision)
  await setClockPolicy(
    db,
    { device, policy: { kind: 'zone', zone: 'Asia/Shanghai' }, ...span(hour, 2 * hour) },
    decision,
  )
  const holding = await setClockPolicy(db, { device, policy: { kind: 'as_sent' }, ...span(3 * hour, null) }, decision)
  expect(holding).toMatchObject([
    { policy: offset(1), ...span(null, hour) },
    { policy: { kind: 'zone' }, ...span(hour, 2 * hour) },
    { policy: offset(1), ...span(2 * hour, 3 * hour), setBy: 'li.wei', reason: decision.reason },
  ])
  expect(await listClockPolicies(db, device)).toHaveLength(5)
  const { items = [] } = { items: await db.selectFrom('audit').selectAll().where('subject', '=', device).execute() }
  expect(items.map(({ action, by }) => [action, by])).toEqual(Array(3).fill(['device.clock', 'li.wei']))
})

for (const { name, draft } of [
  { name: 'a zone that there is not', draft: { policy: { kind: 'zone', zone: 'Mars/Olympus' } as const } },
  { name: 'a span that ends before it begins', draft: { from: new Date(start), to: new Date(start) } },
  { name: 'a device that can be none', draft: { device: 'a/b' } },
  { name: 'an offset of centuries', draft: { policy: { kind: 'offset', offsetMs: 1e13 } as const } },
]) {
  test(`a policy is refused: ${name}`, async () => {
    const whole = { device: 'd', policy: { kind: 'no_clock' } as const, from: null, to: null, ...draft }
    await expect(setClockPolicy(db, whole, decision)).rejects.toMatchObject({ name: 'ClockPolicyRefused' })
  })
}

test('a fleet whose readings seem to come from the future is not refused: it is our clock that is behind', async () => {
  const running = await runningPipeline(records)
  const devices = Array.from({ length: 6 }, () => unique('fleet'))
  const behind = 10 * minute
  await Promise.all(devices.map((device) => send(running, device, start, start + minute, behind)))
  await running.settled(36)
  expect(running.pipeline.counts()).toMatchObject({ stored: 36, quarantined: 0 })
  await running.clocks.keep()
  expect(running.clocks.host()).toMatchObject({ devices: 6, warning: expect.stringContaining('behind') })
  expect(Math.round((running.pipeline.counts().hostClockOffsetMs ?? 0) / minute)).toBe(-10)
})

test('what is known of clocks outlives a restart', async () => {
  const device = unique('lasting')
  const first = await runningPipeline(records)
  await first.settled(await send(first, device, start, start + 10 * minute, -2 * minute))
  await first.pipeline.stop()
  const [before] = first.clocks.view({ device, limit: 1, now: start })
  const second = await runningPipeline(records)
  const [after] = second.clocks.view({ device, limit: 1, now: start })
  expect(before).toMatchObject({ state: 'behind', readings: { live: 60 } })
  expect(after).toEqual(before)
})

test('backlog newest first and mixed with what is live is stored whole, and the clock stays right', async () => {
  const running = await runningPipeline(records)
  const device = unique('backlog')
  let sets = await send(running, device, start, start + 10 * minute)
  const back = start + hour
  const sent: Promise<void>[] = []
  for (let i = 0; i < 300; i++) {
    const old = back - 10 * second * (i + 1)
    const now = back + i * 100
    sent.push(running.receive(telemetry(device), say(old, i % 100), { receivedAt: now + 50 }))
    if (i % 10 === 0) sent.push(running.receive(telemetry(device), say(now), { receivedAt: now + 60 }))
  }
  await Promise.all(sent)
  sets += sent.length
  await running.settled(sets)
  expect(running.pipeline.counts()).toMatchObject({ stored: sets, duplicate: 0, quarantined: 0 })
  const [clock] = running.clocks.view({ device, limit: 1, now: back + 30 * second })
  expect(clock).toMatchObject({ state: 'right', jumps: 0, backlog: { isUnderWay: true, order: 'newest_first' } })
  expect(clock?.backlog?.live).toBeGreaterThan(20)
})
