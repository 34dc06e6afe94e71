/** A process that turns alarms into tickets, for a test to kill: says what it has just done. */
import { setTimeout as delay } from 'node:timers/promises'
import { advise } from '../../src/advise/advisor.ts'
import { builtinDesk } from '../../src/advise/builtin-desk.ts'
import { startDeskWorker } from '../../src/advise/desk-worker.ts'
import { startOutbox } from '../../src/advise/outbox.ts'
import { openQueue } from '../../src/advise/queue.ts'
import { openLog } from '../../src/log.ts'
import { openRecords } from '../../src/records/records.ts'
import { catalogue } from './story.ts'

const log = openLog('crash', 'silent')
const connection = JSON.parse(process.argv[2] ?? '')
const { db } = await openRecords(connection)
const queue = await openQueue(connection, log)
const outbox = startOutbox({ db, queue, log })
const desk = builtinDesk({ db, now: Date.now })
await startDeskWorker({
  connection,
  log,
  desk: {
    ...desk,
    async take(job) {
      console.log('taking')
      const answer = await desk.take(job)
      console.log('taken')
      return answer
    },
  },
})
for (;;) {
  const { queued } = await advise(db, { catalogue, now: Date.now(), onQueued: outbox.poke })
  if (queued > 0) console.log('advised')
  await delay(20)
}
