import { expect, test } from 'vitest'
import { type ConnectionEvent, openConnectionLog } from '../../src/acquire/connection-log.ts'

function event(at: number, facts: Partial<ConnectionEvent> = {}): ConnectionEvent {
  return { at, event: 'connected', clientId: 'modem', address: '10.0.0.1', ...facts }
}

test('the last 20 events of a device are kept, oldest first', () => {
  const log = openConnectionLog()
  for (let at = 0; at < 50; at++) log.note(['pump-1'], event(at))
  expect(log.of('pump-1').map(({ at }) => at)).toEqual(Array.from({ length: 20 }, (_, i) => i + 30))
  expect(log.of('pump-2')).toEqual([])
})

test('an event is found under the identity and under the client id, once under each', () => {
  const log = openConnectionLog()
  log.note(['pump-1', undefined, 'modem', 'pump-1'], event(1))
  expect(log.of('pump-1')).toHaveLength(1)
  expect(log.of('modem')).toHaveLength(1)
})

test('of more devices than are remembered, the one is forgotten that was longest silent', () => {
  const log = openConnectionLog(2)
  for (const id of ['a', 'b', 'a', 'c']) log.note([id], event(1))
  expect([log.of('a').length, log.of('b').length, log.of('c').length]).toEqual([2, 0, 1])
})

test('what is no id of a device takes no room, nor does a text that goes on and on', () => {
  const log = openConnectionLog()
  const long = 'x'.repeat(60_000)
  log.note([long, '', 'a/b', 'pump-1'], event(1, { clientId: long, detail: long }))
  expect([log.of(long), log.of(''), log.of('a/b')]).toEqual([[], [], []])
  expect(JSON.stringify(log.of('pump-1')).length).toBeLessThan(1_000)
})
