import { byQuarter, instantsOf, zoneOffset } from '../time-zone.ts'

/** What somebody knows of a device's clock. */
export type ClockPolicy =
  | { readonly kind: 'offset'; readonly offsetMs: number } // ahead by so much; negative: behind
  | { readonly kind: 'zone'; readonly zone: string } // shows the local time of an IANA zone as if it were UTC
  | { readonly kind: 'no_clock' } // of no use: the time of receipt is taken

const DAY_MS = 86_400_000

/**
 * What a policy makes of a time as its device states it.
 *
 * @param stated epoch ms, within what a Date can be
 * @param latest epoch ms: of two instants that a local time can mean, the later one is taken unless it lies behind this
 * @returns epoch ms
 */
export type ClockMend = (stated: number, latest: number) => number

/** @throws {RangeError} the zone is unknown */
export function clockMend(policy: Exclude<ClockPolicy, { kind: 'no_clock' }>): ClockMend {
  if (policy.kind === 'offset') return (stated) => stated - policy.offsetMs
  const offset = byQuarter(zoneOffset(policy.zone))
  return (stated, latest) => {
    const instants = instantsOf(stated, offset)
    // a clock that shows an hour which its zone skips was not put forward yet
    if (instants.length === 0) return stated - offset(stated - DAY_MS)
    return instants.findLast((instant) => instant <= latest) ?? (instants[0] as number)
  }
}
