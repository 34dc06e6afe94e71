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
        const states = await parts()
        const ready = states.every((state) => state.ready)
        return reply.code(ready ? 200 : 503).send({ ready, parts: [...states] })
      },
    )
    app.get('/metrics', { schema: { summary: 'Metrics for Prometheus', produces: ['text/plain'] } }, async (_, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    )
  }
}
