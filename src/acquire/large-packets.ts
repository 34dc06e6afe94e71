import type { MqttConnection } from './mqtt-connection.ts'

/**
 * Large packets take their turn: a write of megabytes to the disk holds up every acknowledgement behind it. One passes at
 * a time, and then none for a while, so that all of them together take a small part of the disk's time; and only so many
 * bytes of them are gathered in memory. A connection that has to wait is not read meanwhile.
 */
export interface LargePackets {
  /** Before the body of a packet is gathered. @returns false: the connection waits, and is told when it may */
  reserve(connection: MqttConnection, bytes: number): boolean
  /** Before a packet that is whole goes to the disk. @returns false: as above */
  pass(connection: MqttConnection): boolean
  /** It went there; its memory is free. */
  passed(connection: MqttConnection, durable: Promise<void>): void
  /** The connection has ended. */
  leave(connection: MqttConnection): void
  /** Ends connections that hold memory and send nothing while others wait for it. */
  endIdle(now: number): void
}

/** From here on a packet is large. */
export const LARGE_BYTES = 256 << 10

const MAX_GATHERED_BYTES = 128 << 20
const IDLE_MS = 10_000
/** So many times the time that the last one took; then they take a two-hundredth of all time. */
const REST = 200
/** And so many times where nobody else sends anything. */
const SHORT_REST = 2
const LONGEST_REST_MS = 10_000

/** @param othersSend whether anything came of late on other connections than this one */
export function openLargePackets(othersSend: (but: MqttConnection) => boolean): LargePackets {
  const reserved = new Map<MqttConnection, number>()
  let reservedBytes = 0
  const waitForMemory = new Set<MqttConnection>() // in order of arrival
  const waitToPass = new Set<MqttConnection>()
  let passing: MqttConnection | 'rest' | undefined

  const wakeFirst = (waiting: Set<MqttConnection>) => {
    const [first] = waiting
    first?.takeTurn()
  }

  const free = (connection: MqttConnection) => {
    const bytes = reserved.get(connection)
    if (bytes === undefined) return
    reserved.delete(connection)
    reservedBytes -= bytes
    wakeFirst(waitForMemory)
  }

  const end = () => {
    passing = undefined
    wakeFirst(waitToPass)
  }

  const rest = (connection: MqttConnection, tookMs: number) => {
    passing = 'rest'
    const short = Math.min(tookMs * SHORT_REST, LONGEST_REST_MS)
    const long = Math.min(tookMs * REST, LONGEST_REST_MS)
    setTimeout(() => {
      if (othersSend(connection)) setTimeout(end, long - short).unref()
      else end()
    }, short).unref()
  }

  return {
    reserve(connection, bytes) {
      if (reserved.has(connection)) return true
      const [first = connection] = waitForMemory
      const fits = reservedBytes === 0 || reservedBytes + bytes <= MAX_GATHERED_BYTES
      if (first !== connection || !fits) {
        waitForMemory.add(connection)
        return false
      }
      waitForMemory.delete(connection)
      reserved.set(connection, bytes)
      reservedBytes += bytes
      wakeFirst(waitForMemory)
      return true
    },
    pass(connection) {
      if (passing !== undefined && passing !== connection) {
        waitToPass.add(connection)
        return false
      }
      waitToPass.delete(connection)
      passing = connection
      return true
    },
    passed(connection, durable) {
      const begun = performance.now()
      free(connection)
      const settle = () => rest(connection, performance.now() - begun)
      durable.then(settle, settle)
    },
    leave(connection) {
      free(connection)
      if (waitForMemory.delete(connection)) wakeFirst(waitForMemory)
      if (passing === connection) passing = undefined
      if (waitToPass.delete(connection) || passing === undefined) wakeFirst(waitToPass)
    },
    endIdle(now) {
      if (waitForMemory.size === 0) return
      for (const connection of reserved.keys()) if (connection.silentMs(now) > IDLE_MS) connection.cut('too_slow')
    },
  }
}
