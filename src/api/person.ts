import { text } from './text.ts'

/** Who does it, for the audit log. */
export const user = text.trim().min(1).max(100).describe('Who does it')

/** As `user`, where a program may leave it out. */
export const optionalUser = user.default('api')

/** Why, in their words. */
export const reason = text.trim().max(1000).optional()

/** As `reason`, where nobody may leave it out. */
export const neededReason = text.trim().min(1).max(1000)
