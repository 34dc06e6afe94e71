import { severityRank } from '../catalogue/schema.ts'
import type { Episode, Transition } from './transition.ts'

export interface EpisodeSpan {
  /** Only episodes that reach into [from, to] are of interest, epoch ms. */
  readonly from: number
  readonly to: number
  /** Newest reading that took part. */
  readonly until: number
}

/**
 * Puts the transitions of one machine together to whole episodes.
 *
 * @param transitions per key in order of time
 */
export function assembleEpisodes(transitions: readonly Transition[], { from, to, until }: EpisodeSpan): Episode[] {
  const open = new Map<string, { raised: Transition; worst: Transition }>()
  const episodes: Episode[] = []
  for (const transition of transitions) {
    const { key, kind } = transition
    const episode = open.get(key)
    if (kind === 'raised') open.set(key, { raised: transition, worst: transition })
    if (episode === undefined) continue
    if (kind === 'severity' && severityRank[transition.severity] > severityRank[episode.worst.severity])
      episode.worst = transition
    if (kind !== 'cleared') continue
    episodes.push({ ...episode, cleared: transition, until })
    open.delete(key)
  }
  for (const episode of open.values()) episodes.push({ ...episode, cleared: null, until })
  return episodes
    .filter(({ raised, cleared }) => raised.since <= to && (cleared?.at ?? until) >= from)
    .sort((a, b) => a.raised.at - b.raised.at || (a.raised.key < b.raised.key ? -1 : 1))
}
