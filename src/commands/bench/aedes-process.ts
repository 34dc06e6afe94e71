import { createServer } from 'node:net'
import { Aedes } from 'aedes'

/** Aedes without us: default options, nobody subscribes. Says where it listens. */
const broker = await Aedes.createBroker()
const server = createServer({ noDelay: true }, (socket) => broker.handle(socket))
server.listen(0, '127.0.0.1', () => process.send?.(server.address()))
process.on('disconnect', () => process.exit())
