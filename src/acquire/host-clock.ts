import { median } from './median.ts'

/** What a device's clock says of ours. */
export interface ClockVote {
  /** How far it is ahead of ours, ms. */
  readonly offset: number
  /** Whether it has ever agreed with ours. */
  readonly wasRight: boolean
}

/** What the devices together say of our clock. */
export interface HostVerdict {
  readonly devices: number
  /** How far we are ahead of their median, ms; negative: behind. undefined: none was heard. */
  readonly offsetMs: number | undefined
  /** How far we are behind, ms, where that is certain enough that no device is to blame; 0: it is not. */
  readonly behindMs: number
  /** In words, where somebody should look at it. */
  readonly warning: string | undefined
}

/** The median of fewer means nothing. */
export const LEAST_DEVICES = 3
/** Clocks that agree differ by less, and so much we may differ from them without anybody asking why. */
const AGREEMENT_MS = 60_000
/** All zones are whole quarters of an hour from UTC. */
const QUARTER_MS = 15 * 60_000
/** So much ahead of them we may be: what arrives may have come slowly. */
const SLOW_MS = 5 * 60_000

/**
 * Judges our own clock by those of the devices that are heard. Most of them have to agree before we are held to be wrong. Where they
 * differ by what a zone makes and most of them never agreed with us, it is they who send local time.
 */
export function judgeHost(votes: readonly ClockVote[]): HostVerdict {
  const devices = votes.length
  if (devices === 0) return { devices, offsetMs: undefined, behindMs: 0, warning: undefined }
  const ahead = median(votes.map(({ offset }) => offset))
  const agreeing = votes.filter(({ offset }) => Math.abs(offset - ahead) <= AGREEMENT_MS)
  const verdict = { devices, offsetMs: -ahead, behindMs: 0, warning: undefined }
  if (devices < LEAST_DEVICES || agreeing.length * 2 <= devices || (ahead <= AGREEMENT_MS && ahead >= -SLOW_MS))
    return verdict

  const most = `most of ${devices} devices agree that`
  const by = (ms: number) => `${Math.round(ms / 1_000)} s`
  if (ahead < 0) return { ...verdict, warning: `${most} this host's clock is ${by(-ahead)} ahead` }
  const proven = agreeing.filter(({ wasRight }) => wasRight)
  if (isZoneLike(ahead) && proven.length * 2 <= agreeing.length) {
    const minutes = Math.round(ahead / 60_000)
    return { ...verdict, warning: `most of ${devices} devices are ${minutes} min ahead: do they send local time?` }
  }
  return {
    ...verdict,
    behindMs: ahead,
    warning: `${most} this host's clock is ${by(ahead)} behind: no reading is refused for it`,
  }
}

function isZoneLike(ms: number): boolean {
  const quarters = Math.round(ms / QUARTER_MS)
  return quarters > 0 && Math.abs(ms - quarters * QUARTER_MS) <= AGREEMENT_MS
}
