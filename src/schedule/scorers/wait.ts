import type { Backend } from '../../model/backend.ts'
import type { Scorer } from '../situation.ts'
import { tokensOverCeiling, type InFlightTokens } from '../token-ceiling.ts'

/**
 * Seconds before the backend turns to this one: the prefill work in front of it, and the rest of an average answer until
 * there is room, where the engine runs no more sequences at once than `slots` or the backend's token ceiling is reached.
 * Sequences that only decode do not delay a first token otherwise.
 */
export function waitScorer(
  ledger: InFlightTokens & {
    waitSeconds(backendIndex: number): number
    decodeTokens(backendIndex: number): number
  },
  latency: { stepSeconds(others: number, backendIndex: number, model: string): number },
): Scorer {
  /** Turns that must end before this one may begin. */
  const endsAhead = (backend: Backend, running: number, turnTokens: number): number => {
    const forSlot = backend.slots === null ? 0 : Math.max(0, 1 + running - backend.slots)
    const over = tokensOverCeiling(backend, turnTokens, ledger)
    if (over === 0) return forSlot
    return Math.max(forSlot, Math.min(running, Math.ceil((over * running) / ledger.inFlightTokens(backend.index))))
  }
  return {
    name: 'wait',
    prepare: ({ request, modelAt, expectedOutputTokens }) => {
      const turnTokens = request.promptTokens + expectedOutputTokens
      return (backend, position) => {
        const prefill = ledger.waitSeconds(backend.index)
        if (backend.slots === null && backend.config.maxInFlightTokens === null) return prefill
        const running = ledger.runningCount(backend.index)
        const ahead = running === 0 ? 0 : endsAhead(backend, running, turnTokens)
        if (ahead === 0) return prefill
        // Answers are anywhere between begun and done; of `together` of them the next to end has about 1/together left.
        const together = Math.min(running, backend.slots ?? running)
        const tokens = ledger.decodeTokens(backend.index) / running / together
        return prefill + ahead * tokens * latency.stepSeconds(running - 1, backend.index, modelAt(position))
      }
    },
  }
}
