import { expect, test } from 'vitest'
import { runningApi } from './running-api.ts'

const { app } = await runningApi()
const document = (await app.inject('/openapi.json')).json()
const operations = Object.entries<Record<string, any>>(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

test('the description is OpenAPI 3.1 and its references lead somewhere', () => {
  expect(document.openapi).toBe('3.1.0')
  expect(document.info).toMatchObject({ title: 'Outrigger', version: expect.stringMatching(/^\d+\.\d+\.\d+/) })
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path = '']) => path)
  expect(references.length).toBeGreaterThan(0)
  for (const path of new Set(references)) {
    expect(
      path.split('/').reduce((node, key) => node?.[key], document),
      path,
    ).toBeTypeOf('object')
  }
})

test('each operation is a route, described once', () => {
  const routes = operations.map(({ method, path }) => ({
    method: method.toUpperCase() as 'GET',
    url: path.replace(/\{(\w+)\}/g, ':$1'),
  }))
  for (const route of routes) expect(app.hasRoute(route), `${route.method} ${route.url}`).toBe(true)
  expect(new Set(routes.map(({ method, url }) => `${method} ${url}`)).size).toBe(routes.length)
})

for (const { path, method, operation } of operations) {
  test(`${method} ${path} has a summary, its parameters, an answer and its errors`, () => {
    expect(operation.summary).toMatch(/^[A-Z].{5,}[^.]$/)
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    const parameters: { in: string; name: string; required: boolean }[] = operation.parameters ?? []
    expect(parameters.filter((one) => one.in === 'path').map(({ name }) => name)).toEqual(inPath)
    expect(Object.keys(operation.responses).some((status) => /^2\d\d$/.test(status))).toBe(true)
    expect(operation.responses.default.content).toHaveProperty(['application/problem+json'])
    expect(operation.tags).toHaveLength(1)
    if (method === 'get' && parameters.some(({ name }) => name === 'cursor')) {
      const list = operation.responses[200].content['application/json'].schema
      expect(Object.keys(list.properties)).toEqual(['items', 'next'])
    }
  })
}

test('a person can read it', async () => {
  const page = await app.inject('/docs/')
  expect(page.statusCode).toBe(200)
  expect(page.headers['content-type']).toContain('text/html')
})
