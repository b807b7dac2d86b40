import type { Scorer } from '../situation.ts'

/**
 * Seconds before the backend turns to this one: the prefill work in front of it, and where the engine runs no more
 * sequences at once than `slots`, the rest of an average answer until one is free. Sequences that only decode do not
 * delay a first token otherwise.
 */
export function waitScorer(
  ledger: {
    waitSeconds(backendIndex: number): number
    runningCount(backendIndex: number): number
    decodeTokens(backendIndex: number): number
  },
  latency: { stepSeconds(others: number, backendIndex: number, model: string): number },
): Scorer {
  return {
    name: 'wait',
    prepare: ({ request }) => (backend) => {
      const prefill = ledger.waitSeconds(backend.index)
      const running = ledger.runningCount(backend.index)
      if (backend.slots === null || running < backend.slots) return prefill
      // Answers are anywhere between begun and done; of `slots` of them the next to end has about 1/slots left.
      const tokens = ledger.decodeTokens(backend.index) / running / backend.slots
      const ahead = 1 + running - backend.slots
      return prefill + ahead * tokens * latency.stepSeconds(running - 1, backend.index, request.model)
    },
  }
}
