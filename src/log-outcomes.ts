import type { SpooledMessage } from './acquire/message.ts'
import type { LoggedKind, MessageLog } from './acquire/message-log.ts'
import type { NewnessOfBatch } from './acquire/newness.ts'
import { deviceOfTopic } from './acquire/topics.ts'
import type { DecodedBatch } from './batch.ts'

/**
 * Notes what became of each message of a batch with the devices that it names; what came through a gateway with the
 * gateway too.
 */
export function logOutcomes(log: MessageLog, batch: DecodedBatch, judged: NewnessOfBatch, prefix: string): void {
  const { sets, notices, quarantine } = batch
  const gateways = `${prefix}gateways/`
  let set = 0
  let notice = 0
  let entry = 0
  for (const message of batch.messages) {
    const { position, topic } = message
    const gateway = topic.startsWith(gateways) ? deviceOfTopic(topic, prefix) : undefined
    const kind = kindOf(message, gateway)
    for (let next = sets[set]; next?.position === position; next = sets[++set]) {
      const { device, measuredAt } = next.set
      const outcome = judged.sets[set]?.outcome ?? 'duplicate'
      log.note(device, message, kind, outcome, measuredAt)
      if (gateway !== undefined) log.note(gateway, message, kind, outcome, measuredAt)
    }
    for (let next = quarantine[entry]; next?.position === position; next = quarantine[++entry]) {
      const { device, reason } = next
      if (device !== undefined) log.note(device, message, kind, 'quarantined', reason)
      if (gateway !== undefined && gateway !== device) log.note(gateway, message, kind, 'quarantined', reason)
    }
    if (notices[notice]?.position === position) log.note(notices[notice++]?.device ?? '', message, kind, 'taken')
  }
}

function kindOf({ kind }: SpooledMessage, gateway: string | undefined): LoggedKind {
  return kind === 'telemetry' && gateway !== undefined ? 'gateway' : kind
}
