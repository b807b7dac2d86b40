import type { Scorer } from '../situation.ts'

/** Seconds to compute the part of the prompt that the backend is not expected to hold. */
export function prefillScorer(latency: {
  prefillSeconds(uncachedTokens: number, backendIndex: number, model: string): number
}): Scorer {
  return {
    name: 'prefill',
    prepare: ({ request, modelAt, cachedTokens }) => (backend, position) =>
      latency.prefillSeconds(request.promptTokens - cachedTokens[position]!, backend.index, modelAt(position)),
  }
}
