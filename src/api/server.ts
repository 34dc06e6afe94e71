import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { type FastifyPluginAsyncZod, serializerCompiler, validatorCompiler } from '@fastify/type-provider-zod'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { Log } from '../log.ts'
import { completeDescription, describeShapes } from './description.ts'
import { ApiProblem, answerNoRequest, answerProblem } from './problem.ts'
import { carriesToken } from './token.ts'

export type Role = 'admin' | 'anonymous'

declare module 'fastify' {
  interface FastifyRequest {
    /** `admin` when the request carries the API token. */
    role: Role
  }
}

export interface ServerSettings {
  readonly log: Log
  /** Bearer token of the role admin; none: requests need none. */
  readonly token: string | undefined
  readonly version: string
}

/**
 * The HTTP server of the API: `resources` under `/api/v1` behind the token; `open` beside it, which see to that themselves.
 * Described at `/openapi.json`, shown at `/docs`; errors are problem details.
 */
export async function buildServer(
  { log, token, version }: ServerSettings,
  open: readonly FastifyPluginAsyncZod[],
  resources: readonly FastifyPluginAsyncZod[],
): Promise<FastifyInstance> {
  const app = Fastify({
    loggerInstance: log as FastifyBaseLogger,
    bodyLimit: 1024 * 1024,
    forceCloseConnections: true,
    frameworkErrors: answerProblem,
    clientErrorHandler: answerNoRequest,
    logController: new LogController({ disableRequestLogging: true }),
  })
  app.removeContentTypeParser('text/plain') // bodies are JSON
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler(answerProblem)
  const allowed = methodsByPath(app)
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?')
    const methods = allowed(path)
    if (methods.length === 0) throw new ApiProblem(404, `nothing is at ${path}`)
    reply.header('allow', methods.join(', '))
    throw new ApiProblem(405, `${path} takes ${methods.join(', ')}, not ${request.method}`)
  })
  app.decorateRequest('role', 'anonymous')

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Outrigger',
        version,
        description: 'Telemetry, alarms, maintenance jobs, tickets and inspections of construction machinery.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: { token: { type: 'http', scheme: 'bearer' }, basic: { type: 'http', scheme: 'basic' } },
      },
    },
    transform: describeShapes,
    transformObject: (document) => completeDescription(document, { needsToken: token !== undefined }),
  })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  for (const routes of open) await app.register(routes)
  await app.register(
    async (api) => {
      api.addHook('onRequest', async (request, reply) => {
        if (token && carriesToken(request.headers.authorization, token)) request.role = 'admin'
        else if (token) {
          reply.header('www-authenticate', 'Bearer')
          throw new ApiProblem(401, 'this needs the API token: Authorization: Bearer …')
        }
      })
      for (const routes of resources) await api.register(routes)
    },
    { prefix: '/api/v1' },
  )
  return app
}

/** Collects the routes from now on; answers which methods a path takes. */
function methodsByPath(app: FastifyInstance): (path: string) => string[] {
  const routes: { method: string; path: RegExp }[] = []
  app.addHook('onRoute', ({ method, url }) => {
    const pattern = url
      .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
      .replace(/:\w+/g, '[^/]+')
      .replace(/\*/g, '.*')
    for (const name of [method].flat()) routes.push({ method: name, path: new RegExp(`^${pattern}$`) })
  })
  return (path) => [...new Set(routes.filter((route) => route.path.test(path)).map(({ method }) => method))].sort()
}
