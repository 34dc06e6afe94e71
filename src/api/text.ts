import { z } from 'zod'

/** Text that the records can hold: PostgreSQL has no NUL. */
export const text = z.string().regex(/^[^\0]*$/, 'text without NUL')

/** The id in a path, of whatever the path is about. */
export const idInPath = z.object({ id: text })

/** As `idInPath`, for what is numbered. */
export const numberInPath = z.object({ id: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER) })
