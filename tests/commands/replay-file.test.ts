import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Aedes } from 'aedes'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type ReplayOptions, replayFile } from '../../src/commands/replay-file.ts'
import { parseReplayMap } from '../../src/commands/replay-map.ts'

const THREE_ROWS = `time;Oil temp;rpm
2026-01-01 00:00:00;40.125;1800
2026-01-01 00:00:01;41.25;1799.5
2026-01-01 00:00:02.5;;1e3
`

describe('a replay publishes', () => {
  test('each row under the recorded time with the exact values', async () => {
    const { url, received } = await startBroker()
    const { counts, failure } = await replay(url, THREE_ROWS)
    expect(failure).toBeUndefined()
    expect(counts).toEqual({ read: 3, leftOut: 0, bad: 0, published: 3, acknowledged: 3 })
    expect(received).toEqual([
      {
        topic: 'machines/rig-1/telemetry',
        qos: 1,
        ts: Date.UTC(2026, 0, 1),
        signals: { 'Oil temp': 40.125, rpm: 1800 },
      },
      {
        topic: 'machines/rig-1/telemetry',
        qos: 1,
        ts: Date.UTC(2026, 0, 1, 0, 0, 1),
        signals: { 'Oil temp': 41.25, rpm: 1799.5 },
      },
      { topic: 'machines/rig-1/telemetry', qos: 1, ts: Date.UTC(2026, 0, 1, 0, 0, 2, 500), signals: { rpm: 1000 } },
    ])
  })

  test('a packed file, whatever it is called', async () => {
    const { url, received } = await startBroker()
    expect((await replay(url, gzipSync(THREE_ROWS))).counts.acknowledged).toBe(3)
    expect(received.map(({ signals }) => signals.rpm)).toEqual([1800, 1799.5, 1000])
  })

  test('thousands of rows, many under way at a time and in order', async () => {
    const { url, received } = await startBroker()
    const rows = Array.from({ length: 5000 }, (_, index) => `${1_767_225_600 + index},${index}`)
    expect((await replay(url, `ts,a\n${rows.join('\n')}`)).counts).toMatchObject({
      read: 5000,
      published: 5000,
      acknowledged: 5000,
    })
    expect(received.map(({ signals }) => signals.a)).toEqual(rows.map((_, index) => index))
  })

  test('what the map chooses, under its names and in its units', async () => {
    const { url, received } = await startBroker()
    const map = `
      time: { column: when, format: DD.MM.YYYY hh:mm, zone: Asia/Shanghai }
      decimal: ','
      filter: { run: 2 }
      ignore: '*'
      signals:
        temp F: { name: oil_temp_c, scale: 0.5, offset: -16 }
        on: running`
    const csv =
      'run;when;temp F;on;label\n1;01.02.2026 08:00;1;true;x\n2.0;01.02.2026 08:01;100,5;TRUE;y\n2;01.02.2026 08:02;1.000,5;false;z\n'
    expect((await replay(url, csv, { map })).counts).toEqual({
      read: 3,
      leftOut: 1,
      bad: 0,
      published: 2,
      acknowledged: 2,
    })
    expect(received).toMatchObject([
      { ts: Date.parse('2026-02-01T08:01+08:00'), signals: { oil_temp_c: 34.25, running: 1 } },
      { ts: Date.parse('2026-02-01T08:02+08:00'), signals: { oil_temp_c: 484.25, running: 0 } },
    ])
    expect(Object.keys(received[0]?.signals ?? {})).toEqual(['oil_temp_c', 'running'])
  })

  test('rows without a time from a start and by a step, counted among those that pass the filter', async () => {
    const { url, received } = await startBroker()
    const map = `
      time: { start: 2019-09-11 08:30:23, stepSeconds: 0.004, zone: Europe/Berlin }
      filter: { run: 7 }`
    await replay(url, 'run,a\n6,1\n7,2\n6,3\n7,4\n7,5\n', { map })
    const start = Date.parse('2019-09-11T08:30:23+02:00')
    expect(received.map(({ ts, signals }) => [ts, signals.a])).toEqual([
      [start, 2],
      [start + 4, 4],
      [start + 8, 5],
    ])
  })

  test('up to now when it is shifted, the distances kept', async () => {
    const { url, received } = await startBroker()
    const before = Date.now()
    await replay(url, THREE_ROWS, { toNow: true })
    const last = received.at(-1)?.ts as number
    expect(last).toBeGreaterThanOrEqual(before)
    expect(last).toBeLessThanOrEqual(Date.now())
    expect(received.map(({ ts }) => ts - last)).toEqual([-2500, -1500, 0])
  })

  test('from a time of the recording on', async () => {
    const { url, received } = await startBroker()
    const { counts } = await replay(url, THREE_ROWS, { from: Date.UTC(2026, 0, 1, 0, 0, 1) })
    expect(counts).toMatchObject({ read: 3, leftOut: 1, acknowledged: 2 })
    expect(received.map(({ signals }) => signals.rpm)).toEqual([1799.5, 1000])
  })

  test('no faster than the speed that was asked for', async () => {
    const { url } = await startBroker()
    const began = performance.now()
    await replay(url, THREE_ROWS, { speed: 10 })
    expect(performance.now() - began).toBeGreaterThanOrEqual(249)
  })

  test('everything although the connection breaks in between', async () => {
    let messages = 0
    const { url, received } = await startBroker(({ destroyConnections }) => {
      messages += 1
      if (messages % 100 === 50 && messages < 400) destroyConnections()
    })
    const rows = Array.from({ length: 600 }, (_, index) => `${1_767_225_600 + index},${index}`)
    const { counts, failure } = await replay(url, `ts,a\n${rows.join('\n')}`)
    expect(failure).toBeUndefined()
    expect(counts).toMatchObject({ published: 600, acknowledged: 600 })
    expect(new Set(received.map(({ signals }) => signals.a)).size).toBe(600)
  })
})

describe('a row that cannot be published', () => {
  const good = '2026-01-01T00:00:00Z,1\n'
  const cases = [
    { is: 'a column too few', row: '2026-01-01T00:00:01Z', reason: 'has 1 columns, the header 2' },
    { is: 'a column too many', row: '2026-01-01T00:00:01Z,1,2', reason: 'has 3 columns, the header 2' },
    { is: 'no time', row: 'yesterday,1', reason: "'yesterday' is no time of the expected form" },
    {
      is: 'no day of the calendar',
      row: '2026-02-30 00:00:00,1',
      reason: "'2026-02-30 00:00:00' is no time of the calendar",
    },
    { is: 'a counter for a time', row: '17,1', reason: "'17' is no time; for a counter, give start and step in a map" },
    { is: 'text for a number', row: '2026-01-01T00:00:01Z,warm', reason: "column 'a': 'warm' is no number" },
    { is: 'an infinite number', row: '2026-01-01T00:00:01Z,Infinity', reason: "column 'a': 'Infinity' is no number" },
    { is: 'a number beyond range', row: '2026-01-01T00:00:01Z,1e999', reason: "column 'a': '1e999' is no number" },
    { is: 'no value', row: '2026-01-01T00:00:01Z,NaN', reason: 'has no value' },
    { is: 'the future', row: '2999-01-01T00:00:00Z,1', reason: 'lies in the future: 2999-01-01T00:00:00.000Z' },
    {
      is: 'a time that was there',
      row: '2026-01-01T00:00:00.000Z,2',
      reason: 'has the same time as line 2, 2026-01-01T00:00:00.000Z',
    },
  ]
  for (const { is, row, reason } of cases) {
    const csv = `time,a\n${good}\n${row}\n2025-01-01T00:00:02Z,3\n`

    test(`ends the replay with its line: ${is}`, async () => {
      const { url, received } = await startBroker()
      const bad: unknown[] = []
      const { counts, failure } = await replay(url, csv, { onBadRow: (...row) => bad.push(row) })
      expect(bad).toEqual([[4, reason]])
      expect(failure).toBe(`line 4 ${reason}`)
      expect(counts).toEqual({ read: 2, leftOut: 0, bad: 1, published: 1, acknowledged: 1 })
      expect(received.map(({ signals }) => signals.a)).toEqual([1])
    })

    test(`is skipped where that is wanted: ${is}`, async () => {
      const { url, received } = await startBroker()
      const { counts, failure } = await replay(url, csv, { skipBad: true })
      expect(failure).toBeUndefined()
      expect(counts).toEqual({ read: 3, leftOut: 0, bad: 1, published: 2, acknowledged: 2 })
      expect(received.map(({ signals }) => signals.a)).toEqual([1, 3])
    })
  }

  test('because its time comes twice among rows in any order', async () => {
    const { url } = await startBroker()
    const csv = `ts,a\n${[5, 9, 3, 7, 3, 9, 7, 1, 5].map((second) => `${1_767_225_600 + second},1`).join('\n')}`
    const bad: number[] = []
    await replay(url, csv, { skipBad: true, onBadRow: (line) => bad.push(line) })
    expect(bad).toEqual([6, 7, 8, 10])
  })
})

describe('the clock of Europe/Berlin', () => {
  const map = 'time: { column: t, zone: Europe/Berlin }'

  test('in the hour that comes twice, the order of the rows says which one is meant', async () => {
    const { url, received } = await startBroker()
    await replay(
      url,
      't,a\n2025-10-26 01:30,1\n2025-10-26 02:00,2\n2025-10-26 02:30,3\n2025-10-26 02:00,4\n2025-10-26 02:30,5\n2025-10-26 03:00,6\n',
      { map },
    )
    expect(received.map(({ ts }) => new Date(ts).toISOString().slice(11, 16))).toEqual([
      '23:30',
      '00:00',
      '00:30',
      '01:00',
      '01:30',
      '02:00',
    ])
  })

  test('a time that it skips is no time', async () => {
    const { url } = await startBroker()
    const { failure } = await replay(url, 't,a\n2026-03-29 01:59:59,1\n2026-03-29 02:30:00,2\n', { map })
    expect(failure).toBe("line 3 '2026-03-29 02:30:00' does not exist in Europe/Berlin: the clocks skip it")
  })

  test('a time with its own zone keeps it', async () => {
    const { url, received } = await startBroker()
    await replay(url, 't,a\n2026-01-01T10:00:00+08:00,1\n2026-01-01T10:00:00.25Z,2\n', { map })
    expect(received.map(({ ts }) => ts)).toEqual([Date.UTC(2026, 0, 1, 2), Date.UTC(2026, 0, 1, 10, 0, 0, 250)])
  })
})

describe('a replay that cannot be completed says why', () => {
  test('a broker that refuses every message', async () => {
    const { url } = await startBroker(undefined, { refuse: true })
    const { counts, failure } = await replay(url, THREE_ROWS, { attempts: 3 })
    expect(counts).toMatchObject({ read: 3, published: 3, acknowledged: 0 })
    expect(failure).toMatch(/is gone or refuses: 3 connections without an acknowledgement/)
  })

  test('a broker that asks for a password', async () => {
    const { url } = await startBroker(undefined, { password: 'secret' })
    await expect(replay(url, THREE_ROWS)).rejects.toThrow(
      /no connection to the broker at mqtt:\/\/127.0.0.1:\d+: .*Not authorized/,
    )
    expect((await replay(url, THREE_ROWS, { username: 'me', password: 'secret' })).counts.acknowledged).toBe(3)
  })

  test('no broker', async () => {
    const { url, stop } = await startBroker()
    await stop()
    await expect(replay(url, THREE_ROWS)).rejects.toThrow(/no connection to the broker at .*ECONNREFUSED/)
  })

  test.each([
    { is: 'an empty file', csv: '', failure: /does not begin with a header/ },
    { is: 'no time', csv: 'a,b\n1,2\n', failure: /no column is named like a time/ },
    { is: 'a column that comes twice', csv: 'time,a,a\n1,2,3\n', failure: /more than one column 'a'/ },
    { is: 'nothing beside the time', csv: 'time\n1\n', failure: /no column is a signal/ },
  ])('a file that is no recording: $is', async ({ csv, failure }) => {
    const { url } = await startBroker()
    await expect(replay(url, csv)).rejects.toThrow(failure)
  })

  test('a header without rows, a filter that nothing passes', async () => {
    const { url } = await startBroker()
    expect((await replay(url, 'time,a\n')).failure).toBe('the file has no row')
    const map = 'time: { column: time }\nfilter: { a: 9 }'
    expect((await replay(url, 'time,a,b\n2026-01-01,1,1\n', { map })).failure).toBe('no row was left to publish')
  })

  test('a packed file that ends too early, after the rows before', async () => {
    const { url } = await startBroker()
    const rows = Array.from({ length: 20_000 }, (_, index) => `${1_767_225_600 + index},${Math.sin(index)}`)
    const packed = gzipSync(`ts,a\n${rows.join('\n')}`)
    const { counts, failure } = await replay(url, packed.subarray(0, packed.length / 2))
    expect(failure).toMatch(/cannot be read beyond line \d+: unexpected end of file/)
    expect(counts.acknowledged).toBe(counts.published)
    expect(counts.published).toBeGreaterThan(1000)
  })

  test('it was stopped, and what was under way is acknowledged', async () => {
    const stop = new AbortController()
    const { url } = await startBroker(() => stop.abort())
    const rows = Array.from({ length: 20_000 }, (_, index) => `${1_767_225_600 + index},${index}`)
    const { counts, failure } = await replay(url, `ts,a\n${rows.join('\n')}`, { signal: stop.signal })
    expect(failure).toBe('it was stopped')
    expect(counts.published).toBeLessThan(20_000)
    expect(counts.acknowledged).toBe(counts.published)
  })
})

interface Received {
  topic: string
  qos: number
  ts: number
  signals: Record<string, number>
}

async function replay(
  url: string,
  recording: string | Buffer,
  options: Partial<Omit<ReplayOptions, 'map'>> & { map?: string } = {},
) {
  const folder = await mkdtemp(join(tmpdir(), 'outrigger-replay-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'recording.csv')
  await writeFile(file, recording)
  const map = options.map === undefined ? undefined : parseReplayMap(options.map, 'test.map.yaml')
  return replayFile({ reconnectMs: 10, ...options, file, machine: 'rig-1', url, map })
}

async function startBroker(
  onMessage: (broker: { destroyConnections: () => void }) => void = () => {},
  { refuse = false, password }: { refuse?: boolean; password?: string } = {},
) {
  const received: Received[] = []
  const sockets = new Set<Socket>()
  const destroyConnections = () => {
    for (const socket of sockets) socket.destroy()
  }
  const broker = await Aedes.createBroker({
    authenticate: (_client, _username, given, done) =>
      done(null, password === undefined || given?.toString() === password),
    authorizePublish(_client, packet, done) {
      if (refuse) return done(new Error('not you'))
      received.push({ topic: packet.topic, qos: packet.qos, ...JSON.parse(packet.payload.toString()) })
      onMessage({ destroyConnections })
      done(null)
    },
  })
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    broker.handle(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = async () => {
    destroyConnections()
    await new Promise((resolve) => server.close(resolve))
    await new Promise<void>((resolve) => broker.close(() => resolve()))
  }
  onTestFinished(stop)
  return { url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`, received, stop }
}
