/**
 * Loaded into every thread of a service before its own code: its clock shows as many ms more than the host's as stand in
 * the file SKEW_FILE, which may change while it runs.
 */
import { readFileSync } from 'node:fs'

const now = Date.now
let skew = 0
const read = () => {
  skew = Number(readFileSync(process.env.SKEW_FILE ?? '', 'utf8')) || 0
}
read()
setInterval(read, 20).unref()
Date.now = () => now() + skew
