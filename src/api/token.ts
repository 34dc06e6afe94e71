import { createHash, timingSafeEqual } from 'node:crypto'

/** Whether a request carries the API token: `Authorization: Bearer …`. */
export function carriesToken(header: string | undefined, token: string): boolean {
  const given = header?.match(/^Bearer\s+(\S+)$/i)?.[1]
  return given !== undefined && timingSafeEqual(digest(given), digest(token))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
