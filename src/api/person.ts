import { z } from 'zod'

/** Who does it, for the audit log. */
export const user = z.string().trim().min(1).max(100).describe('Who does it')

/** Why, in their words. */
export const reason = z.string().trim().max(1000).optional()
