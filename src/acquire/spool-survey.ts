import { closeSync, fstatSync, openSync } from 'node:fs'
import { addTally, bearingSets, lifetimeTally, placeBearsSets, tallyPlace } from './message-tally.ts'
import { openCursor } from './spool-cursor.ts'
import { headTally, isHead, nextOrdinal, recordKind, recordOrdinal, type Segment } from './spool-format.ts'

/** What stands in a stretch of one segment. */
interface SegmentSurvey {
  /** Position behind the last whole message. */
  readonly end: number
  /** Of everything that the spool ever held before `end`; undefined where no head says so. */
  readonly tally: Float64Array | undefined
  /** Of the stretch alone. */
  readonly counted: Float64Array
  /** Ordinal of what comes next; −1: not known. */
  readonly expected: number
}

/** What is lost is known by its number alone, and counted as what most messages are. */
const LOST_PLACE = tallyPlace('telemetry', 1)

/**
 * Counts the messages of a segment by kind and QoS, with those that were lost to damage as far as their number is known.
 *
 * @param from position of a record
 * @param to position up to which is counted; without it, the end of the file
 * @param expected ordinal of the first record, where it is known
 */
function surveySegment(
  { path, base }: Segment,
  { from = base, to = Number.POSITIVE_INFINITY, expected = -1 } = {},
): SegmentSurvey {
  const fd = openSync(path, 'r')
  try {
    const cursor = openCursor({ fd, base }, from, base + fstatSync(fd).size)
    const counted = lifetimeTally()
    let tally: Float64Array | undefined
    let end = from
    const count = (place: number, messages: number) => {
      counted[place] = (counted[place] ?? 0) + messages
      if (tally) tally[place] = (tally[place] ?? 0) + messages
    }

    while (cursor.next()) {
      const { buffer, offset } = cursor
      if (cursor.position > to) break
      const head = isHead(buffer, offset)
      const ordinal = recordOrdinal(buffer, offset)
      count(LOST_PLACE, lostBetween(expected, ordinal))
      if (head) tally = headTally(buffer, offset)
      if (cursor.position === to) {
        expected = ordinal
        break
      }
      expected = ordinal < 0 ? -1 : nextOrdinal(buffer, offset, ordinal)
      if (head) continue
      const { kind, qos } = recordKind(buffer, offset)
      count(tallyPlace(kind, qos), 1)
      end = cursor.position + cursor.size
    }
    return { end, tally, counted, expected }
  } finally {
    closeSync(fd)
  }
}

/**
 * How many messages that bear sets are missing before a record.
 *
 * @param expected its ordinal if nothing were; −1: not known
 * @param ordinal −1 in a record of an old spool
 */
export function lostBetween(expected: number, ordinal: number): number {
  if (expected < 0 || ordinal < 0) return 0
  const lost = (ordinal - expected) >>> 0
  return lost < 2 ** 31 ? lost : 0 // a spool put together from two
}

/** What a spool holds when it is opened. */
interface SpoolSurvey {
  /** Position behind the last whole message; 0 where there is none. */
  readonly end: number
  /** Of everything before `end`, since the spool began or since it was first counted. */
  readonly tally: Float64Array
  /** Of what stands between the checkpoint and `end`. */
  readonly waiting: Float64Array
}

/**
 * Looks at the segment of the checkpoint and at the last one; at those between only where heads are missing: in spools
 * from before there were heads, and after damage.
 */
export function surveySpool(segments: readonly Segment[], checkpoint: number): SpoolSurvey {
  const { end, tally } = surveyEnd(segments)
  const first = Math.max(
    0,
    segments.findLastIndex(({ base }) => base <= checkpoint),
  )
  const from = Math.max(checkpoint, segments[first]?.base ?? 0)
  if (from >= end) return { end, tally: tally ?? lifetimeTally(), waiting: lifetimeTally() }
  const before = surveySegment(segments[first] as Segment, { to: from })
  const waiting =
    tally && before.tally ? difference(tally, before.tally) : countFrom(segments.slice(first), from, before.expected)
  return { end, tally: tally ?? waiting.slice(), waiting }
}

/** The last segment may have no head that can be read: a crash has cut it, or it is damaged. */
function surveyEnd(segments: readonly Segment[]): { end: number; tally: Float64Array | undefined } {
  const last = segments.at(-1)
  if (!last) return { end: 0, tally: undefined }
  const { end, tally } = surveySegment(last)
  if (tally) return { end, tally }
  for (let index = segments.length - 2; index >= 0; index--) {
    const segment = segments[index] as Segment
    const before = surveySegment(segment, { to: segments[index + 1]?.base ?? end })
    if (!before.tally) continue
    addTally(before.tally, countFrom(segments.slice(index + 1), before.end, before.expected))
    return { end, tally: before.tally }
  }
  return { end, tally: undefined }
}

/** What came between two tallies; exact in the messages that bear sets, although nobody knows of which kind lost ones were. */
function difference(later: Float64Array, earlier: Float64Array): Float64Array {
  const between = later.map((count, place) => Math.max(0, count - (earlier[place] ?? 0)))
  let tooMany = bearingSets(between) - (bearingSets(later) - bearingSets(earlier))
  for (const [place, count] of between.entries()) {
    if (!placeBearsSets(place)) continue
    const less = Math.min(count, tooMany)
    between[place] = count - less
    tooMany -= less
  }
  return between
}

/** @param ordinal of the message at `from`; −1: not known */
function countFrom(segments: readonly Segment[], from: number, ordinal: number): Float64Array {
  const counted = lifetimeTally()
  let expected = ordinal
  for (const [index, segment] of segments.entries()) {
    const to = segments[index + 1]?.base ?? Number.POSITIVE_INFINITY
    const survey = surveySegment(segment, { from: Math.max(from, segment.base), to, expected })
    addTally(counted, survey.counted)
    expected = survey.expected
  }
  return counted
}

/** How many messages that bear sets stand before a position, the lowest 32 bits; −1 where nothing says so. */
export function ordinalAt(segment: Segment, position: number): number {
  return surveySegment(segment, { to: position }).expected
}
