/** A process that takes in and acknowledges, for a test to kill: prints where its broker is. */
import { startEmbeddedBroker } from '../../src/acquire/embedded-broker.ts'
import { openSpool } from '../../src/acquire/spool.ts'
import { messageKind } from '../../src/acquire/topics.ts'
import { openLog } from '../../src/log.ts'
import { brokerDefaults } from './broker-defaults.ts'

const log = openLog('crash', 'silent')
const folder = process.argv[2] ?? ''
const spool = await openSpool({ folder, segmentBytes: 65_536, kindOf: (topic) => messageKind(topic, ''), log })
const broker = await startEmbeddedBroker({
  ...brokerDefaults(),
  accept: (message) => spool.append({ ...message, origin: 'mqtt' }),
})
console.log(broker.address)
