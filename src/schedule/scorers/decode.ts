import type { Scorer } from '../situation.ts'

/** Seconds to generate the expected answer beside the sequences that run there now. */
export function decodeScorer(
  ledger: { runningCount(backendIndex: number): number },
  latency: { stepSeconds(others: number, backendIndex: number, model: string): number },
): Scorer {
  return {
    name: 'decode',
    prepare: ({ modelAt, expectedOutputTokens }) => (backend, position) =>
      expectedOutputTokens * latency.stepSeconds(ledger.runningCount(backend.index), backend.index, modelAt(position)),
  }
}
