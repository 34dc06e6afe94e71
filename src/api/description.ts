import { STATUS_CODES } from 'node:http'
import type { SwaggerTransformObject } from '@fastify/swagger'
import { createJsonSchemaTransform } from '@fastify/type-provider-zod'
import { z } from 'zod'
import { problemSchema } from './problem.ts'

/** Zod shapes as JSON Schema. An answer may have more fields one day: only what is strict here is closed there. */
export const describeShapes = createJsonSchemaTransform({
  zodToJsonConfig: {
    override({ zodSchema, jsonSchema }) {
      const { def } = zodSchema._zod
      if (def.type === 'object' && def.catchall === undefined) delete jsonSchema.additionalProperties
    },
  },
})

/** Adds to the OpenAPI document what holds for every operation: errors, the token, and the group it is shown in. */
export function completeDescription(
  document: Parameters<SwaggerTransformObject>[0],
  { needsToken }: { readonly needsToken: boolean },
): ReturnType<SwaggerTransformObject> {
  if (!('openapiObject' in document)) throw new Error('the description has to be an OpenAPI document')
  const { openapiObject: description } = document
  for (const [path, operations] of Object.entries(description.paths ?? {})) {
    const isResource = path.startsWith('/api/v1/')
    for (const operation of Object.values(operations ?? {})) {
      if (typeof operation !== 'object' || !('responses' in operation)) continue
      operation.tags = [isResource ? (path.split('/')[3] ?? '') : 'service']
      if (isResource) operation.security ??= [{ token: [] }]
      if (isResource && !needsToken) operation.security = [{}, ...(operation.security ?? [])]
      for (const [status, response] of Object.entries(operation.responses)) {
        if ('$ref' in response) continue
        if (status === '204') delete response.content
        response.description = STATUS_CODES[status] ?? ''
      }
      operation.responses.default = {
        description: 'What is wrong (RFC 9457)',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      }
    }
  }
  const { $schema, ...problem } = z.toJSONSchema(problemSchema, { io: 'input' })
  const schemas = { ...description.components?.schemas, Problem: problem }
  return { ...description, components: { ...description.components, schemas } } as typeof description
}
