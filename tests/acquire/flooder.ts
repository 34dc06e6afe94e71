/** A machine that has gone mad, for a test to stop: `PORT garbage|arrays`. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connectPacket, publishPacket } from './mqtt-bytes.ts'

const MESSAGES_PER_SECOND = 10_000
const TURN_MS = 20
const topic = 'machines/flooder/telemetry'

const [port, kind] = process.argv.slice(2)
const socket = connect(Number(port), '127.0.0.1')
socket.write(connectPacket('flooder'))
await once(socket, 'data')
socket.resume()
process.stdout.write('flooding\n')

const set = '{"ts":1767225600000,"signals":{"hyd_oil_temp_c":63.5,"main_pressure_bar":182.1}}'
const array = Buffer.from(`[${Array.from({ length: (15.5 * 2 ** 20) / (set.length + 1) }, () => set).join()}]`)
const garbage = Buffer.from('\0garbage, garbage, garbage')
let id = 0
const next = (payload: Buffer) => {
  id = (id % 65_535) + 1
  return publishPacket(topic, payload, { id })
}

let sent = 0
const begun = performance.now()
for (;;) {
  if (kind === 'arrays') socket.write(next(array))
  else {
    const due = ((performance.now() - begun) / 1000) * MESSAGES_PER_SECOND
    const some: Buffer[] = []
    for (; sent < due; sent++) some.push(next(garbage))
    socket.write(Buffer.concat(some))
  }
  if (socket.writableNeedDrain) await once(socket, 'drain')
  else await delay(TURN_MS)
}
