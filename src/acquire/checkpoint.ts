import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDiskFull } from './spool-disk.ts'

/** Where the checkpoint of a spool stands. */
export function checkpointPath(folder: string): string {
  return join(folder, 'checkpoint.json')
}

/**
 * How far the spool is judged, recorded and stored. It is forced to disk only before files of the spool are deleted:
 * an older one after a power cut only means that some messages are read again, and they are recognised.
 *
 * @returns 0 where there is none that can be read: then everything that the spool still holds is read again
 */
export function readCheckpoint(folder: string): number {
  try {
    const { position } = JSON.parse(readFileSync(checkpointPath(folder), 'utf8')) as { position?: unknown }
    return Number.isSafeInteger(position) && (position as number) >= 0 ? (position as number) : 0
  } catch {
    return 0
  }
}

/** Replaces the checkpoint as a whole: a reader finds the old one or the new one. One call at a time. */
export async function writeCheckpoint(folder: string, position: number): Promise<void> {
  const path = checkpointPath(folder)
  const text = `${JSON.stringify({ position })}\n`
  try {
    await writeFile(`${path}.next`, text)
    await rename(`${path}.next`, path)
  } catch (error) {
    if (!isDiskFull(error)) throw error
    // no room for a second file, and none will come before this is known. It fits into one sector, and never gets shorter
    await writeFile(path, text, { flag: 'r+' })
  }
}
