import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyPluginAsyncZod } from '@fastify/type-provider-zod'
import { z } from 'zod'
import type { PartState } from '../threads.ts'

export interface HealthParts {
  /** The state of every part, as each says it of itself. */
  readonly parts: () => Promise<readonly PartState[]>
  readonly metrics: { readonly contentType: string; text(): Promise<string> }
}

const readinessSchema = z.object({
  ready: z.boolean(),
  parts: z.array(z.object({ part: z.string(), ready: z.boolean(), note: z.string().optional() })),
})

/** A part that is silent for so long is not ready. */
const ANSWER_MS = 5_000

/** For probes and Prometheus; no token needed. */
export function healthRoutes({ parts, metrics }: HealthParts): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/healthz',
      { schema: { summary: 'The process lives', response: { 200: z.object({ status: z.literal('ok') }) } } },
      async () => ({ status: 'ok' as const }),
    )
    app.get(
      '/readyz',
      {
        schema: {
          summary: 'Every part can do its work; warnings stand in the notes',
          response: { 200: readinessSchema, 503: readinessSchema },
        },
      },
      async (_, reply) => {
        const states = await statesOf(parts)
        const ready = states.every((state) => state.ready)
        return reply.code(ready ? 200 : 503).send({ ready, parts: [...states] })
      },
    )
    app.get(
      '/metrics',
      { schema: { summary: 'Metrics for Prometheus', produces: ['text/plain'], response: { 200: z.string() } } },
      async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()),
    )
  }
}

/** Never throws, never keeps a probe waiting. */
async function statesOf(parts: HealthParts['parts']): Promise<readonly PartState[]> {
  const notReady = (note: string) => [{ part: 'service', ready: false, note }]
  const answered = new AbortController()
  const silent = delay(ANSWER_MS, notReady(`a part did not answer within ${ANSWER_MS / 1000} s`), {
    signal: answered.signal,
  })
  silent.catch(() => {})
  return Promise.race([parts(), silent])
    .catch((error: unknown) => notReady(String(error)))
    .finally(() => answered.abort())
}
