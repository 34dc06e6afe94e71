/** With the token, where the service wants one. */
export function headers(): Record<string, string> {
  const token = process.env.OUTRIGGER_API_TOKEN
  return { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) }
}

/** @throws when the answer is not 2xx */
export async function get<T>(api: string, path: string): Promise<T> {
  const response = await fetch(`${api}/api/v1/${path}`, { headers: headers() })
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`)
  return (await response.json()) as T
}
