import type { Scorer } from '../situation.ts'

/** Seconds of prefill work before this turn at the backend. Sequences that only decode do not delay a first token. */
export function waitScorer(ledger: { waitSeconds(backendIndex: number): number }): Scorer {
  return { name: 'wait', prepare: () => (backend) => ledger.waitSeconds(backend.index) }
}
