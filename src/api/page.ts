import { z } from 'zod'
import { ApiProblem } from './problem.ts'

/** What every list takes. */
export const pageQuery = z.object({
  cursor: z.string().max(200).optional().describe('`next` of the page before'),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})

/** What every list answers. */
export function page<T extends z.ZodType>(item: T) {
  return z.object({
    items: z.array(item),
    next: z.string().nullable().describe('The cursor of the next page; null at the end'),
  })
}

/** A page of a stage, with its key of the next page made opaque and URL-safe. */
export function toPage<T, K extends string | number>({ items, next }: { items: readonly T[]; next: K | null }) {
  return { items: [...items], next: next === null ? null : Buffer.from(JSON.stringify(next)).toString('base64url') }
}

/** @throws {ApiProblem} 400, when it is no cursor of a list that is ordered by number */
export function numberCursor(cursor: string | undefined): number | undefined {
  const key = decode(cursor)
  if (key === undefined || typeof key === 'number') return key
  throw noCursor(cursor)
}

/** @throws {ApiProblem} 400, when it is no cursor of a list that is ordered by name */
export function textCursor(cursor: string | undefined): string | undefined {
  const key = decode(cursor)
  if (key === undefined || typeof key === 'string') return key
  throw noCursor(cursor)
}

function decode(cursor: string | undefined): unknown {
  if (cursor === undefined) return undefined
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    throw noCursor(cursor)
  }
}

function noCursor(cursor: string | undefined): ApiProblem {
  return new ApiProblem(400, `'${cursor}' is no cursor of this list`)
}

/** A page out of a list that was asked for one more than `limit`, to see whether there is more. */
export function cutPage<T>(items: readonly T[], limit: number, key: (item: T) => string | number) {
  const last = items[limit - 1]
  return toPage({ items: items.slice(0, limit), next: items.length > limit && last !== undefined ? key(last) : null })
}
