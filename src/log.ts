import pino from 'pino'

export type Log = pino.Logger

/** Log lines of one part of the service, as JSON on standard output; written at once, so that the last words of a thread are seen. */
export function openLog(part: string, level: string): Log {
  return pino({ level, base: { part }, serializers: { err: shownError } }, pino.destination({ fd: 1, sync: true }))
}

/** Errors carry what their libraries hang on them, whole connections with their settings too: only what says why is shown. */
function shownError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { type, message, stack } = pino.stdSerializers.err(error)
  return { type, message, stack, ...('code' in error && { code: error.code }) }
}
