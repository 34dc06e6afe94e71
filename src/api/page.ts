import { z } from 'zod'
import { ApiProblem } from './problem.ts'

/** What every list takes. */
export const pageQuery = z.object({
  cursor: z.string().max(200).optional().describe('Where the page before ended; opaque.'),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
})

/** What every list answers. */
export function page<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), next: z.string().nullable().describe('The cursor of the next page; null at the end.') })
}

/** A sort key as an opaque, URL-safe cursor. */
export function toCursor(key: string | number): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url')
}

/** @throws {ApiProblem} 400, when it is no cursor of ours */
export function fromCursor(cursor: string | undefined): string | number | undefined {
  if (cursor === undefined) return undefined
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (typeof key === 'string' || (typeof key === 'number' && Number.isFinite(key))) return key
  } catch {
    // answered below, as every other cursor that is none
  }
  throw new ApiProblem(400, `'${cursor}' is no cursor of this list`)
}
