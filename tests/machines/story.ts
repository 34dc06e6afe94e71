import { join } from 'node:path'
import { loadCatalogue } from '../../src/catalogue/load.ts'
import type { HistoryMove } from '../../src/machines/history-moves.ts'
import type { Decision } from '../../src/records/audit.ts'
import { projectRoot } from '../../src/root.ts'

export const catalogue = loadCatalogue(join(projectRoot, 'catalogue'))

export const now = Date.UTC(2026, 0, 1)
export const decision: Decision = { user: 'li.wei', reason: 'as agreed', now }

/** Notes which history it was asked to move. */
export function noteMoves() {
  const moves: HistoryMove[] = []
  return { moves, moveHistory: async (move: HistoryMove) => moves.push(move) }
}
