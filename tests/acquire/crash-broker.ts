/** A process that takes in and acknowledges, for a test to kill: prints where its broker is. */
import { startEmbeddedBroker } from '../../src/acquire/embedded-broker.ts'
import { openSpool } from '../../src/acquire/spool.ts'
import { staticAccess } from '../../src/acquire/static-access.ts'
import { messageKind } from '../../src/acquire/topics.ts'
import { openLog } from '../../src/log.ts'

const log = openLog('crash', 'silent')
const folder = process.argv[2] ?? ''
const spool = await openSpool({ folder, segmentBytes: 65_536, kindOf: (topic) => messageKind(topic, ''), log })
const broker = await startEmbeddedBroker({
  host: '127.0.0.1',
  port: 0,
  prefix: '',
  access: staticAccess(undefined),
  log,
  accept: (message) => spool.append({ ...message, origin: 'mqtt' }),
})
console.log(broker.address)
