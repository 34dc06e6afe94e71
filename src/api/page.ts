import { z } from 'zod'
import { pageOf } from '../records/page.ts'
import { ApiProblem } from './problem.ts'

/** What every list takes; a parameter that a list does not know is refused, for a filter that is misspelt would let all through. */
export const pageQuery = z.strictObject({
  cursor: z.string().max(400).optional().describe('`next` of the page before'),
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
  if (cursor === undefined) return undefined
  const key = decode(cursor)
  if (typeof key === 'number' && Number.isSafeInteger(key)) return key
  throw noCursor(cursor)
}

/**
 * @param shape what the keys of this list look like
 * @throws {ApiProblem} 400, when it is no cursor of this list
 */
export function textCursor(cursor: string | undefined, shape: RegExp): string | undefined {
  if (cursor === undefined) return undefined
  const key = decode(cursor)
  if (typeof key === 'string' && shape.test(key)) return key
  throw noCursor(cursor)
}

function decode(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    return undefined
  }
}

function noCursor(cursor: string): ApiProblem {
  return new ApiProblem(400, `'${cursor}' is no cursor of this list`)
}

/** A page out of a list that was asked for one more than `limit`, to see whether there is more. */
export function cutPage<T>(items: readonly T[], limit: number, key: (item: T) => string | number) {
  return toPage(pageOf(items, limit, (item) => item, key))
}
