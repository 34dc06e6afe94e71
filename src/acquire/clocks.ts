import { judgeTime } from './judge-time.ts'
import type { Refusal, SpooledMessage, StatedTime } from './message.ts'

/** What is known of the clocks of devices, and of our own. */
export interface Clocks {
  /**
   * When something was measured. Never throws.
   * @param item place of the set in its message
   * @returns epoch ms, or why it cannot be used
   */
  judge(device: string, stated: StatedTime, message: SpooledMessage, item: number): number | Refusal
}

export function openClocks(): Clocks {
  return {
    judge: (_device, stated, { receivedAt }) => judgeTime(stated, undefined, receivedAt),
  }
}
