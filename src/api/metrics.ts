import { type Kysely, sql } from 'kysely'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { ENTRY_BYTES } from '../acquire/quarantine-budget.ts'
import type { SpoolStatus } from '../acquire/spool-status.ts'
import type { Database } from '../records/tables.ts'
import type { BrokerState, PipelineCounts } from '../threads.ts'

export interface MetricsParts {
  readonly spool: () => Promise<SpoolStatus>
  readonly db: Kysely<Database>
  readonly counts: () => Promise<PipelineCounts>
  readonly broker: () => Promise<BrokerState>
  /** CPU time of each thread, seconds; undefined where the system does not tell. */
  readonly threads: () => Promise<Readonly<Record<string, number | undefined>>>
  /** Jobs on the queue by state. */
  readonly queue: () => Promise<Readonly<Record<string, number>>>
  /** Budget of the quarantine. */
  readonly quarantineBytes: number
}

/** The service's own metrics, read anew for each scrape so that one answer is one snapshot. */
export function openMetrics({ db, counts, spool, broker, threads, queue, quarantineBytes }: MetricsParts): {
  contentType: string
  text(): Promise<string>
} {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name: `outrigger_${name}`, help, labelNames, registers: [registry] })
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `outrigger_${name}`, help, labelNames, registers: [registry] })

  const received = counter('reading_sets_received_total', 'Reading sets received, over any way.')
  const outcomes = counter('reading_sets_total', 'Reading sets by what became of them.', ['outcome'])
  const waiting = gauge('reading_sets_waiting', 'Reading sets in the spool that are not judged yet.')
  const messages = counter('messages_total', 'Messages received.', ['kind', 'qos'])
  const rejected = counter('values_rejected_total', 'Values that count as no value, by reason.', ['reason'])
  const unknown = counter(
    'unknown_signal_values_total',
    'Values stored under a signal that the catalogue does not know.',
  )
  const conflicts = counter(
    'reading_conflicts_total',
    'Readings that came with another value under the same identity; the later one counts.',
  )
  const gaps = counter('sequence_gaps_total', 'Sequence numbers that never came.')
  const repeats = counter('sequence_repeats_total', 'Sequence numbers that came again.')
  const hostClock = gauge(
    'host_clock_offset_seconds',
    "How far the host's clock is ahead of the median of the devices' clocks.",
  )
  const connections = gauge(
    'connections',
    'Clients connected to the built-in broker; with MQTT_URL, our connection to it.',
  )
  const refusals = counter('refused_total', 'Packets and connections that the broker refused, by reason.', ['reason'])
  const damaged = counter('spool_damaged_total', 'Stretches of the spool that could not be read and were skipped.')
  const lost = counter('spool_lost_messages_total', 'Messages lost in them, as far as their number is known.')
  const spoolBytes = gauge('spool_bytes', 'Bytes of the spool that wait to be stored.')
  const spoolHistory = gauge('spool_history_bytes', 'Bytes of the spool that are stored and kept for looking back.')
  const spoolBudget = gauge('spool_budget_bytes', 'Bytes that the spool may hold.')
  const acknowledging = gauge('spool_acknowledging', '0 while the disk fails or the budget is used up, else 1.')
  const cpu = counter(
    'thread_cpu_seconds_total',
    'CPU time by thread; the rest of process_cpu_seconds_total is the store and the runtime.',
    ['thread'],
  )
  const jobs = gauge('queue_jobs', 'Jobs on the queue by state.', ['state'])
  const machines = gauge('machines', 'Machines by state.', ['state'])
  const alarms = gauge('alarms_active', 'Alarms that are not normal, by severity.', ['severity'])
  const tickets = gauge('tickets_open', 'Tickets that are neither closed nor cancelled, by priority.', ['priority'])
  const outbox = gauge('outbox_waiting', 'Queue messages that are written and not delivered yet.')
  const quarantine = gauge('quarantine_held', 'Entries in quarantine that nobody decided on, by reason.', ['reason'])
  const quarantineSize = gauge('quarantine_bytes', 'What the quarantine takes of its budget.')
  const quarantineBudget = gauge('quarantine_budget_bytes', 'What the quarantine may take.')
  const stripped = counter(
    'quarantine_entries_stripped_total',
    'Entries of the quarantine that lost their bytes, because its budget was used up.',
  )
  quarantineBudget.set(quarantineBytes)

  async function collect(): Promise<void> {
    // without its records the service goes on taking in, and that is when these numbers are looked at
    const whereReached = <T>(asked: Promise<T>) => asked.catch(() => undefined)
    const [pipeline, spoolNow, brokerNow, threadsNow, queued = {}, records] = await Promise.all([
      counts(),
      spool(),
      broker(),
      threads(),
      whereReached(queue()),
      whereReached(countRecords(db)),
    ])
    for (const metric of [
      received,
      outcomes,
      messages,
      rejected,
      unknown,
      conflicts,
      gaps,
      repeats,
      refusals,
      stripped,
      damaged,
      lost,
      cpu,
    ])
      metric.reset()
    for (const metric of [jobs, machines, alarms, tickets, quarantine]) metric.reset()
    received.inc(pipeline.received)
    outcomes.inc({ outcome: 'stored' }, pipeline.stored)
    outcomes.inc({ outcome: 'duplicate' }, pipeline.duplicate)
    outcomes.inc({ outcome: 'quarantined' }, pipeline.quarantined)
    waiting.set(pipeline.waiting)
    for (const { kind, qos, count } of pipeline.messages) messages.inc({ kind, qos: String(qos) }, count)
    for (const [reason, count] of Object.entries(pipeline.rejected)) rejected.inc({ reason }, count)
    unknown.inc(pipeline.unknownSignals)
    conflicts.inc(pipeline.conflicts)
    gaps.inc(pipeline.sequenceGaps)
    repeats.inc(pipeline.sequenceRepeats)
    damaged.inc(pipeline.damage.stretches)
    lost.inc(pipeline.damage.lost)
    spoolBytes.set(spoolNow.waitingBytes)
    spoolHistory.set(spoolNow.historyBytes)
    spoolBudget.set(spoolNow.budgetBytes)
    acknowledging.set(spoolNow.acknowledging ? 1 : 0)
    if (pipeline.hostClockOffsetMs === undefined) hostClock.remove()
    else hostClock.set(pipeline.hostClockOffsetMs / 1000)
    connections.set(brokerNow.connections)
    for (const [reason, count] of Object.entries(brokerNow.refused)) refusals.inc({ reason }, count)
    for (const [thread, seconds] of Object.entries(threadsNow)) if (seconds !== undefined) cpu.inc({ thread }, seconds)
    for (const [state, count] of Object.entries(queued)) jobs.set({ state }, count)
    if (!records) {
      for (const metric of [outbox, quarantineSize]) metric.remove()
      return
    }
    for (const { state, count } of records.machines) machines.set({ state }, count)
    for (const { severity, count } of records.alarms) alarms.set({ severity }, count)
    for (const { priority, count } of records.tickets) tickets.set({ priority }, count)
    for (const { reason, count } of records.quarantine) quarantine.set({ reason }, count)
    quarantineSize.set(records.quarantineBytes)
    stripped.inc(records.stripped)
    outbox.set(records.outbox)
  }

  // One after another: a second scrape would set the metrics anew while the first reads them.
  let last: Promise<unknown> = Promise.resolve()
  return {
    contentType: registry.contentType,
    text() {
      const text = last.then(collect).then(() => registry.metrics())
      last = text.catch(() => {})
      return text
    },
  }
}

async function countRecords(db: Kysely<Database>) {
  const count = db.fn.countAll<number>().as('count')
  const [machines, alarms, tickets, quarantine, outbox] = await Promise.all([
    db.selectFrom('machines').select(['state', count]).groupBy('state').execute(),
    db.selectFrom('alarms').select(['severity', count]).where('state', '<>', 'normal').groupBy('severity').execute(),
    db
      .selectFrom('tickets')
      .select(['priority', count])
      .where('state', 'not in', ['closed', 'cancelled'])
      .groupBy('priority')
      .execute(),
    sql<{ reason: string; count: number; bytes: number; stripped: number }>`
      select reason, sum(held)::bigint as count, sum(kept_bytes + ${ENTRY_BYTES} * kept_entries)::bigint as bytes,
        sum(stripped)::bigint as stripped
      from quarantine_tallies group by reason`.execute(db),
    db.selectFrom('outbox').select(count).where('published_at', 'is', null).executeTakeFirstOrThrow(),
  ])
  return {
    machines,
    alarms,
    tickets,
    quarantine: quarantine.rows,
    quarantineBytes: quarantine.rows.reduce((sum, { bytes }) => sum + bytes, 0),
    stripped: quarantine.rows.reduce((sum, { stripped }) => sum + stripped, 0),
    outbox: outbox.count,
  }
}
