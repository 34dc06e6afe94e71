import type { Figures } from './figures.ts'

type Value = number | null | undefined
/** What has to hold. */
type Budget = readonly [sign: '≥' | '≤' | '<' | '=', limit: number]
/** Without a budget a figure is only told. */
type Line = readonly [name: string, value: Value, unit: string, budget?: Budget]

/** The figures beside what is promised, for people. */
export function figuresTable(figures: Figures): string {
  const { thousand_connections: many, ack_ms: ack, rss_mb: rss } = figures
  const parts: [title: string, lines: Line[]][] = [
    [
      `${counted(figures.connections, 'connection')}, ${figures.run.window} messages in flight each`,
      [
        ['acknowledged', figures.messages_per_s, 'messages/s', ['≥', 40_000]],
        ['', figures.values_per_s, 'values/s'],
        ['waiting when full load ended', figures.backlog_s, 's', ['<', 2]],
        ['ratio to bare Mosquitto', figures.ratio_to_mosquitto, '', ['≥', 0.5]],
        ['ratio to bare Aedes', figures.ratio_to_bare_broker, ''],
        ['acknowledgement p50, full load', ack.full_load.p50, 'ms'],
        ['acknowledgement p99, full load', ack.full_load.p99, 'ms'],
        ['acknowledgement p50, half load', ack.half_load.p50, 'ms'],
        ['acknowledgement p99, half load', ack.half_load.p99, 'ms', ['<', 50]],
      ],
    ],
    [
      `${counted(many.connections, 'connection')}, one message in flight each`,
      [
        ['acknowledged', many.messages_per_s, 'messages/s'],
        ['ratio to bare Aedes', many.ratio_to_bare_broker, '', ['≥', 0.9]],
        ['ratio to bare Mosquitto', many.ratio_to_mosquitto, ''],
        ['acknowledgement p99, full load', many.ack_ms.full_load.p99, 'ms'],
        ['acknowledgement p99, half load', many.ack_ms.half_load.p99, 'ms', ['<', 50]],
      ],
    ],
    [
      'Store',
      [
        ['acknowledged and not in it', figures.lost, 'messages', ['=', 0]],
        ['twice in it', figures.duplicated, 'values', ['=', 0]],
        ['on disk per message', figures.bytes_per_message, 'bytes', ['≤', 40]],
        ['left in the spool', figures.spool_left_mb, 'MB'],
        ['the store alone', figures.raw_store_messages_per_s, 'messages/s'],
        ['ratio to the store alone', figures.ratio_to_raw_store, ''],
      ],
    ],
    [
      'Memory, with PostgreSQL, and start',
      [
        ...Object.entries(rss).map(([machines, value]): Line => {
          const budget = machines === '10000' ? (['<', 512] as const) : undefined
          return [`${counted(Number(machines), 'machine')} with state`, value, 'MB', budget]
        }),
        ['under full load', figures.rss_full_load_mb, 'MB'],
        ['ready after kill -9', figures.restart_ready_s, 's', ['<', 5]],
      ],
    ],
    [
      'CPU per million messages',
      Object.entries(figures.cpu_s_per_million ?? {}).map(([part, value]): Line => [part, value, 's']),
    ],
  ]
  return [...parts.flatMap(([title, lines]) => [title, ...lines.map(written), '']), ...remarks(figures)].join('\n')
}

function written([name, value, unit, budget]: Line): string {
  const known = value !== null && value !== undefined
  const shown = known ? value.toLocaleString('en') : '–'
  const mark = !known ? '?' : budget && keeps(value, budget) ? '✓' : '✗'
  const verdict = budget ? `${mark} ${budget[0]} ${budget[1].toLocaleString('en')}` : ''
  return `  ${name.padEnd(32)}${shown.padStart(10)} ${(known ? unit : '').padEnd(12)}${verdict}`.trimEnd()
}

function counted(count: number, thing: string): string {
  return `${count.toLocaleString('en')} ${thing}${count === 1 ? '' : 's'}`
}

function keeps(value: number, [sign, limit]: Budget): boolean {
  if (sign === '≥') return value >= limit
  if (sign === '≤') return value <= limit
  return sign === '<' ? value < limit : value === limit
}

function remarks({ machine, run, failures, alarms, ...figures }: Figures): string[] {
  const voids = [...figures.void_reasons, ...figures.thousand_connections.void_reasons]
  return [
    ...voids.map((reason) => `Void, ${reason}`),
    ...failures.map(({ phase, reason }) => `Failed: ${phase}: ${reason}`),
    ...(alarms ? [`The load raised ${alarms} alarms, although its values are healthy.`] : []),
    ...(run.quick ? ['A quick run shows that all parts work; its figures mean little.'] : []),
    ...(machine
      ? [
          `${machine.cpu}, ${machine.cores} cores, ${machine.memory_mb.toLocaleString('en')} MB, ${machine.system}, load ${machine.load_average} before the run`,
          `4 KiB forced to disk: p50 ${machine.fsync_ms.p50} ms, p99 ${machine.fsync_ms.p99} ms`,
          `Node ${machine.node}, Aedes ${machine.aedes}, DuckDB ${machine.duckdb}, Mosquitto ${machine.mosquitto ?? 'not installed'}`,
        ]
      : []),
    `${run.seconds} s of full load, ${run.took_s} s in all`,
  ]
}
