import { z } from 'zod'

/** Who does it, for the audit log. */
export const user = z.string().trim().min(1).max(100).describe('Who does it')

/** As `user`, where a program may leave it out. */
export const optionalUser = user.default('api')

/** Why, in their words. */
export const reason = z.string().trim().max(1000).optional()
