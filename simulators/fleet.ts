import { setTimeout as sleep } from 'node:timers/promises'
import { connectMachine, type Login, type MachineClient, type Tally } from './machine-client.ts'
import { type Label, type MachineModel, type MachineOptions, machineModel } from './machine-model.ts'
import { drawMessyParts, type MessyPart, messySender, plainSender, type Sender } from './messy.ts'
import { seededRandom } from './random.ts'

export interface FleetMachine extends Omit<MachineOptions, 'startAt' | 'reportEverySeconds'> {
  readonly id: string
  /** How its telematics unit spoils the readings; `some`: drawn from the whole profile. */
  readonly messy?: 'some' | ReadonlySet<MessyPart> | undefined
}

export interface FleetOptions {
  readonly machines: readonly FleetMachine[]
  readonly connect: {
    readonly url: string
    readonly login?: Login | undefined
    /** Before each topic, with its final slash. Default none. */
    readonly prefix?: string | undefined
  }
  /** Simulated seconds per second, until the simulated clock has caught up with the wall clock. */
  readonly speed: number
  /** Where the simulated clock begins, epoch milliseconds. */
  readonly startAt: number
  /** Where it ends; without it, when `signal` says so. */
  readonly endAt?: number | undefined
  /** Shortest time between two sets of a machine; default: the speed / 20, so at most twenty sets a second of wall time. */
  readonly reportEverySeconds?: number | undefined
  readonly signal: AbortSignal
  /** Called once a second. */
  readonly onProgress?: ((progress: FleetProgress) => void) | undefined
  /** The truth, at each change of mode (at most once a minute) and every ten minutes of simulated time. */
  readonly onLabel?: ((label: Label & { readonly machine: string; readonly type: string }) => void) | undefined
}

export interface FleetProgress extends Readonly<Tally> {
  /** The simulated clock, epoch milliseconds. */
  readonly clock: number
  readonly machines: number
  readonly connected: number
}

const labelEveryMs = 600_000
const labelAtMostEveryMs = 60_000

/**
 * The start that brings the simulated clock to the wall clock after so much simulated time.
 *
 * @param wallMs the wall clock now
 * @param simulatedMs how much simulated time is to pass until then
 */
export function startFor(wallMs: number, speed: number, simulatedMs: number): number {
  return wallMs - simulatedMs * (1 - 1 / speed)
}

/**
 * Lets machines publish over MQTT, each with its own connection. When the broker is slow, simulated time waits for its
 * acknowledgements: nothing is left out.
 *
 * @returns when `endAt` is reached or `signal` is aborted and all connections are closed
 * @throws {BrokerUnreachable} the broker cannot be reached at the start
 * @throws {RangeError} a machine that cannot be, or a start in the future
 */
export async function simulateFleet(options: FleetOptions): Promise<FleetProgress> {
  const { machines, connect, speed, startAt, endAt = Number.POSITIVE_INFINITY, signal, onProgress, onLabel } = options
  if (!(speed > 0)) throw new RangeError('the speed has to be more than 0')
  if (startAt > Date.now()) throw new RangeError('a simulation starts in the past')
  const reportEverySeconds = options.reportEverySeconds ?? Math.max(1, Math.round(speed / 20))
  const prefix = connect.prefix ?? ''
  const tally: Tally = { published: 0, acknowledged: 0, sets: 0 }

  let begunAt: number | undefined
  const clock = () => {
    const passed = begunAt === undefined ? 0 : (performance.now() - begunAt) * speed
    return Math.min(startAt + passed, Date.now(), endAt)
  }

  const parts = machines.map((machine) => {
    const model = machineModel({ ...machine, startAt, reportEverySeconds })
    return { machine, model, sender: senderOf(machine, model, prefix, startAt) }
  })
  const clients: MachineClient[] = []
  const progress = (): FleetProgress => ({
    ...tally,
    clock: clock(),
    machines: machines.length,
    connected: clients.filter((client) => client.connected()).length,
  })

  async function live(index: number) {
    const { machine, model, sender } = parts[index] as (typeof parts)[number]
    const client = clients[index] as MachineClient
    let labelled = { at: Number.NEGATIVE_INFINITY, mode: '' }
    let online = true

    function noteLabel() {
      const label = model.label()
      const since = label.ts - labelled.at
      const changed = label.mode !== labelled.mode && since >= labelAtMostEveryMs
      if (!changed && since < labelEveryMs) return
      labelled = { at: label.ts, mode: label.mode }
      onLabel?.({ machine: machine.id, type: machine.type, ...label })
    }

    for (;;) {
      const now = clock()
      for (const set of model.advance(now)) {
        if (signal.aborted) return
        const messages = sender.take(set)
        if (!online && sender.connected()) await client.comeBack()
        for (const message of messages) await client.publish(message)
        if (online && !sender.connected()) await client.lose()
        online = sender.connected()
        if (onLabel) noteLabel()
      }
      if (now >= endAt) break
      await sleep(speed > 5 ? 50 : 200, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
    }
    if (online) for (const message of sender.flush()) await client.publish(message)
  }

  const timer = onProgress && setInterval(() => onProgress(progress()), 1000)
  try {
    for (const { id } of machines) {
      if (signal.aborted) break
      clients.push(await connectMachine({ ...connect, prefix, id, now: clock, tally, signal }))
    }
    begunAt = performance.now()
    await Promise.all(clients.map((_, index) => live(index)))
  } finally {
    clearInterval(timer)
    await Promise.all(clients.map((client) => client.close()))
  }
  return progress()
}

function senderOf(machine: FleetMachine, model: MachineModel, prefix: string, startAt: number): Sender {
  if (!machine.messy) return plainSender(prefix, machine.id)
  const random = seededRandom(`${machine.type}/${machine.seed}/messy`)
  const parts = machine.messy === 'some' ? drawMessyParts(random.stream('parts')) : machine.messy
  return messySender({ id: machine.id, prefix, parts, random, startAt, siteOffsetMs: model.siteOffsetMs })
}
