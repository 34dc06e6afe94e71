import { MessageChannel } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import { joinThread } from '../src/rpc.ts'

function joined() {
  const { port1, port2 } = new MessageChannel()
  onTestFinished(() => port1.close())
  const told: string[] = []
  const offered = {
    double: async (value: number) => value * 2,
    fail: () => {
      throw new RangeError('not that one')
    },
    note: (word: string) => void told.push(word),
    sum: (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum + byte, 0),
  }
  joinThread(port2, offered)
  return { peer: joinThread<typeof offered>(port1, {}), told, close: () => port1.close() }
}

test('an answer comes back to the one who asked', async () => {
  const { peer } = joined()
  expect(await Promise.all([peer.ask.double(2), peer.ask.double(21)])).toEqual([4, 42])
})

test('a failure keeps its name and message', async () => {
  const { peer } = joined()
  await expect(peer.ask.fail()).rejects.toMatchObject({ name: 'RangeError', message: 'not that one' })
})

test('memory can be handed over', async () => {
  const { peer } = joined()
  const bytes = new Uint8Array([1, 2, 3])
  expect(await peer.hand([bytes.buffer], 'sum', bytes)).toBe(6)
  expect(bytes.buffer.byteLength).toBe(0)
})

test('what is told arrives in order, before a later question is answered', async () => {
  const { peer, told } = joined()
  peer.tell('note', 'a')
  peer.tell('note', 'b')
  await peer.ask.double(1)
  expect(told).toEqual(['a', 'b'])
})

test('questions to a thread that has ended are refused, not left open', async () => {
  const { peer, close } = joined()
  const question = peer.ask.double(1)
  close()
  await question.catch(() => undefined)
  const { port1, port2 } = new MessageChannel()
  const silent = joinThread<{ never: () => void }>(port1, {})
  const open = silent.ask.never()
  port2.close()
  await expect(open).rejects.toThrow('ended')
  await expect(silent.ask.never()).rejects.toThrow('ended')
})
