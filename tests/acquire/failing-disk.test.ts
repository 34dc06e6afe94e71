import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { client, embeddedBroker } from './broker-case.ts'
import { crashDisk, seeded } from './crash-disk.ts'
import { readAll, spoolIn, temporaryFolder, texts } from './spool-case.ts'

test('syncs that fail (EIO): machines get no acknowledgement and stay connected, and get it when the disk goes on', async () => {
  const folder = temporaryFolder()
  const disk = crashDisk(seeded(1))
  const spool = await spoolIn(folder, { disk })
  const broker = await embeddedBroker({
    accept: (message) => spool.append({ ...message, origin: 'mqtt' }),
    full: spool.full,
    onRoom: spool.onRoom,
  })
  const machine = await client(broker)
  await machine.publishAsync('machines/m/telemetry', 'before', { qos: 1 })
  let closed = 0
  machine.on('close', () => closed++)

  disk.failSyncs(5)
  const acknowledged: string[] = []
  const published = ['one', 'two', 'three'].map((text) =>
    machine.publishAsync('machines/m/telemetry', text, { qos: 1 }).then(() => acknowledged.push(text)),
  )
  await vi.waitFor(() => expect(spool.status().note).toContain('EIO'))
  expect(acknowledged).toEqual([])
  // it is still served
  machine.sendPing()
  await new Promise((done) => machine.once('packetreceive', done))

  await Promise.all(published)
  expect(closed).toBe(0)
  expect(spool.status()).toMatchObject({ acknowledging: true, note: undefined })
  expect(texts(readAll(folder, spool.committed).messages)).toEqual(['before', 'one', 'two', 'three'])
  const left = join(temporaryFolder(), 'left')
  disk.leave(left, () => 1) // of what is not on the medium, nothing
  expect(texts(readAll(left, spool.committed).messages)).toEqual(['before', 'one', 'two', 'three'])
})
