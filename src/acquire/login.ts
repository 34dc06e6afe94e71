import type { Access, ConnectionAttempt, Identity, RefusedLogin } from './access.ts'

/** What becomes of an attempt; `dropped` gets no answer, its connection just ends. */
export type LoginVerdict = Identity | RefusedLogin | 'dropped'

/** Asks who it is, and answers later where that takes its time. Calls back once. */
export type Login = (attempt: ConnectionAttempt, settle: (verdict: LoginVerdict) => void) => void

/** A check that takes longer is given up. */
const LONGEST_CHECK_MS = 10_000
/** Checks that may be under way; whoever comes then has to come again. */
const MAX_CHECKS = 1_000
/** Whoever guesses learns slowly that it was wrong. */
const REFUSAL_MS = 500
/** Refusals that wait to be told; more of them end without a word, so that guessing costs us next to nothing. */
const MAX_REFUSALS = 200

/** Failed log-ins take nothing from good ones: those are answered at once, whatever comes from the same address. */
export function openLogin(access: Access): Login {
  let checks = 0
  let refusals = 0

  const answer = (verdict: Identity | RefusedLogin, settle: (verdict: LoginVerdict) => void) => {
    if (typeof verdict !== 'string') return settle(verdict)
    if (refusals >= MAX_REFUSALS) return settle('dropped')
    refusals++
    setTimeout(() => {
      refusals--
      settle(verdict)
    }, REFUSAL_MS)
  }

  async function check(verdict: Promise<Identity | RefusedLogin>): Promise<Identity | RefusedLogin> {
    checks++
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'busy'>((done) => {
      timer = setTimeout(() => done('busy'), LONGEST_CHECK_MS)
    })
    try {
      return await Promise.race([verdict, late])
    } finally {
      clearTimeout(timer)
      checks--
    }
  }

  return (attempt, settle) => {
    const verdict = access.identify(attempt)
    if (!(verdict instanceof Promise)) return answer(verdict, settle)
    if (checks >= MAX_CHECKS) return answer('busy', settle)
    void check(verdict).then((checked) => answer(checked, settle))
  }
}
