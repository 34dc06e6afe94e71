import type { SwaggerTransformObject } from '@fastify/swagger'
import { z } from 'zod'
import { problemSchema } from './problem.ts'

type Description = Exclude<ReturnType<SwaggerTransformObject>, { swagger?: string }>

/** Adds to the OpenAPI document what holds for every operation: errors, the token, and the group it is shown in. */
export function completeDescription(document: Parameters<SwaggerTransformObject>[0], needsToken: boolean) {
  if (!('openapiObject' in document)) throw new Error('the description has to be an OpenAPI document')
  const { openapiObject: description } = document
  const { $schema, ...problem } = z.toJSONSchema(problemSchema)
  for (const [path, operations] of Object.entries(description.paths ?? {})) {
    const isResource = path.startsWith('/api/v1/')
    for (const operation of Object.values(operations ?? {})) {
      if (typeof operation !== 'object' || !('responses' in operation)) continue
      operation.tags = [isResource ? (path.split('/')[3] ?? '') : 'service']
      if (isResource) operation.security = needsToken ? [{ token: [] }] : [{}, { token: [] }]
      operation.responses.default = {
        description: 'What is wrong (RFC 9457)',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      }
    }
  }
  return {
    ...description,
    components: { ...description.components, schemas: { ...description.components?.schemas, Problem: problem } },
  } as Description
}
