/**
 * Loaded before the service (`node --import`), in each of its threads: a host clock that can be put forward and back
 * while it runs. So many milliseconds it is ahead stand in the file that SHIFTED_CLOCK names.
 */
import { readFileSync } from 'node:fs'

const LOOK_AGAIN_MS = 20
const HostDate = Date
let lookedAt = Number.NEGATIVE_INFINITY
let ahead = 0

function now() {
  const monotonic = performance.now()
  if (monotonic - lookedAt > LOOK_AGAIN_MS) {
    lookedAt = monotonic
    ahead = Number(readFileSync(process.env.SHIFTED_CLOCK, 'utf8'))
  }
  return HostDate.now() + ahead
}

globalThis.Date = class extends HostDate {
  static now() {
    return now()
  }
  constructor(...given) {
    if (given.length === 0) super(now())
    else super(...given)
  }
}
