/**
 * Published costs of what is cached and what is queued: Dynamo's linear sum, LMetric's product, Mooncake's minimum
 * predicted time to first token. What is cached comes from the board: in the gateway by history, in the laboratory
 * exactly.
 */
import { leastOf, type Rule, type RulePorts } from './rule.ts'

type Prompt = { readonly promptTokens: number }

/** 1.0 (queued + prompt - cached) + context in flight, the turn's own included (Dynamo KV router); there in blocks. */
export const dynamoLinear = ({ ledger, random }: RulePorts): Rule<Prompt> => ({
  choose: ({ promptTokens }, candidates, { cachedTokens }) =>
    leastOf(candidates.length, random, (position) => {
      const { index } = candidates[position]!
      const prefill = ledger.queuedPrefillTokens(index) + promptTokens - cachedTokens[position]!
      return prefill + ledger.contextTokens(index) + promptTokens
    }),
})

/** (queued + prompt - cached) x (requests in flight + 1): LMetric, arXiv 2603.15202. */
export const lmetric = ({ ledger, random }: RulePorts): Rule<Prompt> => ({
  choose: ({ promptTokens }, candidates, { cachedTokens }) =>
    leastOf(candidates.length, random, (position) => {
      const { index } = candidates[position]!
      const prefill = ledger.queuedPrefillTokens(index) + promptTokens - cachedTokens[position]!
      return prefill * (ledger.runningCount(index) + 1)
    }),
})

/** Least wait + prefill of the uncached part: Mooncake, FAST 2025, Alg. 1 without transfer. */
export const mooncakeMinTtft = ({ random }: RulePorts): Rule<unknown> => ({
  choose: (_turn, candidates, { waitSeconds, prefillSeconds }) =>
    leastOf(candidates.length, random, (position) => waitSeconds[position]! + prefillSeconds[position]!),
})
