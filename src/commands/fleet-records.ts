import type { BaseLogger, Logger } from 'pino'
import { openAccessKey } from '../acquire/access-key.ts'
import { credentialRoutes } from '../api/credentials.ts'
import { fleetRoutes } from '../api/fleet.ts'
import { machineRoutes } from '../api/machines.ts'
import { buildServer } from '../api/server.ts'
import { openCatalogue } from '../catalogue/open.ts'
import { readConfig } from '../config.ts'
import { holdDataFolder } from '../records/data-folder.ts'
import { startEmbeddedPostgres } from '../records/embedded-postgres.ts'
import { migrate } from '../records/migrate.ts'
import { openRecords } from '../records/records.ts'
import { version } from '../version.ts'
import { answerOf, type FleetApi, payloadOf } from './fleet-api.ts'

/**
 * The same routes over the same records, without a service around them: the next start takes over what is changed.
 *
 * @throws {DataFolderHeld}
 */
export async function openFleetRecords(folder: string, log: Logger): Promise<FleetApi> {
  const config = readConfig(process.env)
  const hold = await holdDataFolder(folder)
  const ends: (() => Promise<unknown>)[] = [() => hold.release()]
  const leave = async () => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  try {
    const connection = config.DATABASE_URL ?? (await startPostgres(folder, log, ends))
    const records = await openRecords(connection)
    ends.push(() => records.close())
    await migrate(records.pool)
    const parts = {
      db: records.db,
      catalogue: openCatalogue(config),
      accessKey: await openAccessKey(folder),
      refresh: async () => {},
      refreshAccess: async () => {},
      moveHistory: async () => Promise.reject(new Error('only the running service moves history')),
      movesPlanned: () => {},
      changed: () => {},
      now: () => Date.now(),
    }
    const routes = [machineRoutes(parts), fleetRoutes(parts), credentialRoutes(parts)]
    const app = await buildServer({ log, token: undefined, version }, [], routes)
    ends.push(() => app.close())
    return {
      async ask(method, path, body) {
        const payload = payloadOf(body)
        const answer = await app.inject({
          method,
          url: `/api/v1${path}`,
          ...(payload && { headers: { 'content-type': payload['content-type'] }, payload: payload.bytes }),
        })
        return answerOf(answer.statusCode, answer.body)
      },
      leave,
    }
  } catch (error) {
    await leave()
    throw error
  }
}

async function startPostgres(folder: string, log: BaseLogger, ends: (() => Promise<unknown>)[]) {
  const postgres = await startEmbeddedPostgres({ folder, log })
  ends.push(() => postgres.stop())
  return postgres.connection
}
