/**
 * A process that takes in for a fleet, for a test to kill: `FOLDER PORT ADVICES`. It has published so many retained
 * advices before it prints where its broker is, and goes on publishing.
 */
import { startEmbeddedBroker } from '../../src/acquire/embedded-broker.ts'
import { openSpool } from '../../src/acquire/spool.ts'
import { messageKind } from '../../src/acquire/topics.ts'
import { openLog } from '../../src/log.ts'
import { brokerDefaults } from './broker-defaults.ts'

const [folder = '', port, advices] = process.argv.slice(2)
const log = openLog('crash', 'silent')
const spool = await openSpool({ folder, kindOf: (topic) => messageKind(topic, ''), log })
const broker = await startEmbeddedBroker({
  ...brokerDefaults(),
  port: Number(port),
  full: () => spool.full(),
  onRoom: (listener) => spool.onRoom(listener),
  accept: (message) => spool.append({ ...message, origin: 'mqtt' }),
})
const advice = JSON.stringify({ alarms: 'x'.repeat(1_000) })
const advise = (machine: number) => broker.publish(`machines/machine-${machine}/advice`, advice, { retain: true })
for (let machine = 0; machine < Number(advices); machine++) await advise(machine)
console.log(broker.address)
let machine = 0
if (Number(advices) > 0) setInterval(() => void advise(machine++ % Number(advices)).catch(() => {}), 10)
