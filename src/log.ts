import pino from 'pino'

export type Log = pino.Logger

/** Log lines of one part of the service, as JSON on standard output; written at once, so that the last words of a thread are seen. */
export function openLog(part: string, level: string): Log {
  return pino({ level, base: { part } }, pino.destination({ fd: 1, sync: true }))
}
