import { join, resolve } from 'node:path'
import type { Environment } from '../config.ts'
import { projectRoot } from '../root.ts'
import type { Catalogue } from './catalogue.ts'
import { loadCatalogue } from './load.ts'

/**
 * The catalogue that the settings name, or the one that comes with Outrigger.
 *
 * @throws {CatalogueInvalid}
 */
export function openCatalogue(config: Pick<Environment, 'OUTRIGGER_CATALOGUE'>): Catalogue {
  return loadCatalogue(
    config.OUTRIGGER_CATALOGUE ? resolve(config.OUTRIGGER_CATALOGUE) : join(projectRoot, 'catalogue'),
  )
}
